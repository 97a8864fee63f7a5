"""The files of a spool in the state folder: names, modes, the lock, the reserve.

spool.sqlite     the database; beside it spool.sqlite-wal and -shm while it is open
spool.lock       held with flock while a process has the spool open; says which one
spool.reserve    room that a full disk is given back, so that sinks can go on
spool.mark       says which spool was there and how far it had come, see mark.py

SQLite gives its side files the mode of the database. Never open the database file other
than through SQLite: closing any descriptor of it drops the locks that SQLite holds on
it in this process.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from attrs import frozen

from bridge.api.spool import SpoolError

RESERVE = 8 << 20  # several times what the write-ahead log holds between two checkpoints


@frozen
class Files:
    """Where everything is."""

    directory: Path
    """Absolute."""
    name: str = "spool.sqlite"
    """Of the database; another one for a file that is not in its place yet."""

    @property
    def database(self) -> Path:
        """The database file."""
        return self.directory / self.name

    @property
    def log(self) -> Path:
        """SQLite's write-ahead log."""
        return self.directory / f"{self.name}-wal"

    @property
    def shared_memory(self) -> Path:
        """SQLite's index of the log: it says nothing that the log does not."""
        return self.directory / f"{self.name}-shm"

    @property
    def lock(self) -> Path:
        """The lock file.

        It stays when the process ends: removing it would let two processes in.
        """
        return self.directory / "spool.lock"

    @property
    def reserve(self) -> Path:
        """Room kept for the day on which the disk is full."""
        return self.directory / "spool.reserve"

    @property
    def mark(self) -> Path:
        """What is known of the spool outside of it."""
        return self.directory / "spool.mark"

    def log_size(self) -> int:
        """Return the size of the write-ahead log in bytes."""
        try:
            return self.log.stat().st_size
        except FileNotFoundError:
            return 0


@contextmanager
def claim(files: Files, *, create: bool = True) -> Iterator[None]:
    """Hold the spool for this process.

    :param create: whether its folder and its file are made if they are not there.
    :raises SpoolError: when another process holds it, or the folder cannot be used.
    """
    try:
        if create:
            files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(files.lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise _unusable(files, exc) from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            process = f"process {holder}" if holder else "another process"
            raise SpoolError(
                f"{files.database} is in use by {process}; "
                "end that one, or give this one a state folder of its own"
            ) from None
        # A full disk must not keep us from starting; the number only serves the message
        # above.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        try:
            if create:
                _create(files)
        except OSError as exc:
            raise _unusable(files, exc) from exc
        yield
    finally:
        os.close(descriptor)


def _create(files: Files) -> None:
    """Make an empty database file that a power cut does not take away again."""
    if not files.database.exists() or files.database.stat().st_size == 0:
        # SQLite would remove a log beside an empty database. It is what is left of one
        # that is gone: ours is never empty once it has a log.
        set_aside(files.log)
    with suppress(FileExistsError):
        os.close(os.open(files.database, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    # Every time: the last one to create it may have been killed before this line.
    sync_folder(files.directory)


def set_aside(log: Path) -> None:
    """Give the log of a database that is gone another name: it must not be taken for
    that of the next one, and may be all that is left.
    """
    with suppress(FileNotFoundError):
        if log.stat().st_size:
            names = (log.with_name(f"{log.name}.before-{number}") for number in count(1))
            log.rename(next(name for name in names if not name.exists()))


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(files: Files, exc: OSError) -> SpoolError:
    return SpoolError(
        f"{files.directory} cannot hold the spool: {exc.strerror}; it must be a folder that "
        "this user may write"
    )


@frozen
class Reserve:
    """A file that takes up room until the room is needed.

    On a full disk not even a settled event can be written down, and no row deleted.
    Giving up the reserve lets both go on; when there is room again it is made anew, and
    only then are sources let in again.
    """

    files: Files
    size: int = RESERVE

    def make(self) -> bool:
        """Reserve the room, if there is at least as much again; returns whether the
        reserve is there.
        """
        path = self.files.reserve
        try:
            if path.exists() and path.stat().st_size == self.size:
                return True
            room = os.statvfs(self.files.directory)
            if room.f_bavail * room.f_frsize < 2 * self.size:
                return False
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self.size)
            finally:
                os.close(descriptor)
        except OSError as exc:
            self.release()
            # A file system that cannot reserve room, or a process that may not write
            # such a file, has no reserve; that is no reason to refuse events for ever.
            return exc.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.EFBIG)
        return True

    def release(self) -> bool:
        """Free the room; returns whether there was any."""
        try:
            self.files.reserve.unlink()
        except OSError:
            return False
        return True
