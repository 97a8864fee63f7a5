"""A layer between SQLite and the files: sees every write and every sync, can hold them,
fail them, or cut the power.

    with file_layer() as layer:
        async with open_sqlite(settings, context, vfs=layer.name): ...
        layer.log     [("write", "spool.sqlite-wal"), ("sync", "spool.sqlite-wal"), ...]
        layer.cut(folder)    the files as a power cut would leave them

It is an SQLite VFS made with ctypes: a copy of the default one whose ``xOpen`` puts our
functions in front of the four methods that change a file. The library is reached
through Python's own module, so that both use the same SQLite; if it does not give its
symbols away, loading fails, and with it every test that relies on this.
"""

import _sqlite3
import ctypes
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_int64,
    c_void_p,
    cast,
    string_at,
)
from pathlib import Path

OK = 0
IOERR_FSYNC = 1034
IOERR_WRITE = 778
IOERR_READ = 266
FULL = 13

Close = CFUNCTYPE(c_int, c_void_p)
Read = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
Sync = CFUNCTYPE(c_int, c_void_p, c_int)
# The path is handed on as the address it came as: SQLite keeps it for as long as the
# file is open.
Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
Delete = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)


class Methods(Structure):
    """sqlite3_io_methods, version 3."""

    _fields_ = [
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        ("rest", c_void_p * 13),
    ]


class File(Structure):
    """sqlite3_file; what follows in memory belongs to the default VFS."""

    _fields_ = [("methods", POINTER(Methods))]


class Vfs(Structure):
    """sqlite3_vfs, version 3."""

    _fields_ = [
        ("version", c_int),
        ("file_size", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        ("rest", c_void_p * 14),
    ]


class Disk:
    """One file: what is on the disk for certain, and what was written since."""

    def __init__(self, path: Path) -> None:
        self.synced = bytearray(path.read_bytes())
        self.pending: list[tuple[int, bytes | None]] = []
        """Offset and bytes; None instead of bytes: cut the file there."""

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.synced, change)
        self.pending.clear()


def _apply(content: bytearray, change: tuple[int, bytes | None]) -> None:
    offset, data = change
    if data is None:
        del content[offset:]
    else:
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data


class FileLayer:
    """What the tests see of the layer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log: list[tuple[str, str]] = []
        self.reads = 0
        self.fail_read = False
        """True: every read fails."""
        self.fail_sync = False
        """True: every sync fails without doing anything."""
        self.fail_database_sync = False
        """True: syncs of the database fail, those of its log do not."""
        self.fail_write = OK
        """Error code that every write returns without doing anything."""
        self.no_growth = False
        """True: no byte is left on the disk; what lies there can be written over."""
        self.full_until_removed: Path | None = None
        """As long as this file exists every write finds the disk full."""
        self.waiting = threading.Event()
        """Set once somebody waits in a held sync."""
        self._go = threading.Event()
        self._go.set()
        self._disks: dict[str, Disk] = {}
        self._paths: dict[int, str] = {}
        self._originals: dict[int, Methods] = {}
        self._ours: dict[int, Methods] = {}

    def hold_syncs(self) -> None:
        """From now on a sync waits until released."""
        self.waiting.clear()
        self._go.clear()

    def release_syncs(self) -> None:
        self._go.set()

    def forget(self) -> None:
        """Forget all files: the next ones are other files."""
        self._disks.clear()

    def cut(self, folder: Path, chance: random.Random | None = None) -> None:
        """Write the files as a power cut would leave them: what was synced, and by
        chance some of the rest.
        """
        folder.mkdir()
        for path, disk in self._disks.items():
            content = bytearray(disk.synced)
            for change in disk.pending:
                if chance is not None and chance.random() < 0.5:
                    _apply(content, change)
            (folder / Path(path).name).write_bytes(content)

    def opened(self, file: int, path: bytes) -> None:
        """Put our methods in front of those of a file that was just opened."""
        name = path.decode()
        self._paths[file] = name
        if name not in self._disks:
            self._disks[name] = Disk(Path(name))
        handle = cast(file, POINTER(File)).contents
        theirs = ctypes.addressof(handle.methods.contents)
        if theirs not in self._ours:
            ours = Methods.from_buffer_copy(handle.methods.contents)
            self._originals[theirs] = Methods.from_buffer_copy(ours)
            self._functions = [*getattr(self, "_functions", []), *self._wrap(ours)]
            self._ours[theirs] = ours
        handle.methods = ctypes.pointer(self._ours[theirs])

    def deleted(self, path: bytes) -> None:
        self._disks.pop(path.decode(), None)

    def _wrap(self, methods: Methods) -> list[object]:
        close, read, write, truncate, sync = (
            cast(address, kind)
            for address, kind in (
                (methods.close, Close),
                (methods.read, Read),
                (methods.write, Write),
                (methods.truncate, Truncate),
                (methods.sync, Sync),
            )
        )

        def our_close(file):
            self._paths.pop(file, None)
            return close(file)

        def our_read(file, data, size, offset):
            self.reads += 1
            return IOERR_READ if self.fail_read else read(file, data, size, offset)

        def our_write(file, data, size, offset):
            path = self._paths[file]
            self.log.append(("write", Path(path).name))
            if self.fail_write:
                return self.fail_write
            if self.full_until_removed is not None and self.full_until_removed.exists():
                return FULL
            if self.no_growth and offset + size > Path(path).stat().st_size:
                return FULL
            self._disks[path].pending.append((offset, string_at(data, size)))
            return write(file, data, size, offset)

        def our_truncate(file, size):
            if self.fail_write:
                return self.fail_write
            self._disks[self._paths[file]].pending.append((size, None))
            return truncate(file, size)

        def our_sync(file, flags):
            path = self._paths[file]
            if not self._go.is_set():
                self.waiting.set()
                self._go.wait()
            if self.fail_sync or (self.fail_database_sync and path.endswith(".sqlite")):
                self.log.append(("failed sync", Path(path).name))
                return IOERR_FSYNC
            self.log.append(("sync", Path(path).name))
            self._disks[path].sync()
            return sync(file, flags)

        functions = [
            Close(our_close),
            Read(our_read),
            Write(our_write),
            Truncate(our_truncate),
            Sync(our_sync),
        ]
        for name, function in zip(
            ("close", "read", "write", "truncate", "sync"), functions, strict=True
        ):
            setattr(methods, name, cast(function, c_void_p))
        return functions


# A thread that nobody waits for any more may still be opening a file.
_KEPT: list[object] = []


@contextmanager
def file_layer(name: str = "layer") -> Iterator[FileLayer]:
    """Register a VFS of this name while the block is entered.

    Close every connection before leaving.
    """
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = POINTER(Vfs)
    default = library.sqlite3_vfs_find(None)
    layer = FileLayer(name)
    open_, delete = cast(default.contents.open, Open), cast(default.contents.delete, Delete)

    def our_open(_vfs, path, file, flags, flags_out):
        result = open_(cast(default, c_void_p), path, file, flags, flags_out)
        if result == OK and path is not None:
            layer.opened(file, string_at(path))
        return result

    def our_delete(_vfs, path, sync_folder):
        layer.deleted(path)
        return delete(cast(default, c_void_p), path, sync_folder)

    ours = Vfs.from_buffer_copy(default.contents)
    functions = Open(our_open), Delete(our_delete)
    _KEPT.append((ours, functions, layer))
    ours.name, ours.next = name.encode(), None
    ours.open, ours.delete = (cast(function, c_void_p) for function in functions)
    assert library.sqlite3_vfs_register(byref(ours), 0) == OK
    try:
        yield layer
    finally:
        layer.release_syncs()
        library.sqlite3_vfs_unregister(byref(ours))
