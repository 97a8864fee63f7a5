"""The disk below the spool: how much room there is, and whether an error means that
there is none.
"""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from bridge.spool.files import Files

PROBE = 1 << 16  # bytes
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# SQLite calls a full disk SQLITE_FULL only where the system says ENOSPC. A quota, and a
# limit to the size of files, come as errors in writing or growing a file.
MAYBE_FULL = (
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
)


@frozen
class Disk:
    """Bytes of a file system, as this process may use them."""

    size: int
    free: int
    largest_file: int | None
    """None: files may be of any size."""


def look_at_disk(files: Files) -> Disk:
    """Ask the system."""
    found = os.statvfs(files.directory)
    return Disk(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, _largest_file())


def taken(*paths: Path) -> int:
    """Return what files take up on the disk; what is not there takes nothing."""
    size = 0
    for path in paths:
        with suppress(FileNotFoundError):
            size += path.stat().st_blocks * 512
    return size


def is_full(exc: sqlite3.Error, files: Files) -> bool:
    """Whether an error means that there is no room, rather than that the file is
    broken.
    """
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF == sqlite3.SQLITE_FULL or (code in MAYBE_FULL and lacks_room(files))


def is_busy(exc: sqlite3.Error) -> bool:
    """Whether an error means that another program holds the file for now."""
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without the extension
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def lacks_room(files: Files) -> bool:
    """Try whether a file may grow."""
    largest = _largest_file()
    if largest is not None:
        for path in (files.database, files.log):
            with suppress(FileNotFoundError):
                if path.stat().st_size + PROBE > largest:
                    return True
    probe = files.directory / "spool.probe"
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            written = os.write(descriptor, bytes(PROBE))
            os.fsync(descriptor)  # where the file system asks for its quota only now
        finally:
            os.close(descriptor)
    except OSError as exc:
        return exc.errno in NO_ROOM
    finally:
        probe.unlink(missing_ok=True)
    return written < PROBE


def _largest_file() -> int | None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit
