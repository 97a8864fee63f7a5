"""A state folder as the tools find it: there or not, in use or not, and files put in
each other's place.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bridge.api.spool import SpoolError
from bridge.spool.files import Files, claim, sync_folder
from bridge.spool.schema import check_version, connect


def existing(directory: Path) -> Files:
    """Return the files of a folder that has a spool.

    :raises SpoolError: when it has none, or this user cannot see.
    """
    files = Files(directory.absolute())
    if not os.access(directory, os.X_OK) and os.path.lexists(directory):
        raise SpoolError(
            f"{directory}: this user may not read it; run it as root or as the bridge's"
        )
    if not files.database.exists():
        raise SpoolError(
            f"{files.database}: there is no spool; expected the state folder of a bridge that "
            "ran before"
        )
    return files


@contextmanager
def opened(files: Files, *, read_only: bool = True) -> Iterator[sqlite3.Connection]:
    """Open a spool: to read it whether a bridge runs with it or not, to write it only
    under the lock.

    :raises SpoolError: when it cannot be read at all.
    """
    try:
        connection = connect(files, read_only=read_only)
        try:
            # Damage may have made texts of what are none.
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            if check_version(connection, files) == 0:
                raise SpoolError(
                    f"{files.database} is empty: the bridge that made it was stopped before it "
                    "began, or somebody emptied it"
                )
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as exc:
        raise SpoolError(
            f"{files.database} cannot be read ({exc}); keep a copy of the folder before "
            "anything else; what can be read of it is found by: "
            f"sqlite3 {files.database} .recover"
        ) from exc


@contextmanager
def owning(directory: Path) -> Iterator[Files]:
    """Have the spool of a folder for this process alone.

    :raises SpoolError: when there is none, or a bridge has it.
    """
    files = existing(directory)
    with claim(files, create=False):
        yield files


def beside(files: Files, suffix: str) -> Files:
    """Make an empty database in the same folder; what an earlier attempt left goes."""
    other = Files(files.directory, f"{files.name}.{suffix}")
    remove(other)
    # Before SQLite does: it would let others read it.
    os.close(os.open(other.database, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    return other


def remove(files: Files) -> None:
    """Remove a database that is in nobody's place."""
    for path in (files.database, files.log, files.shared_memory):
        path.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Bring a file to the disk that no connection has open."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def room_on_disk(directory: Path) -> int:
    """Return the bytes that are free."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def require_room(files: Files, needed: int) -> None:
    """Refuse work that the disk has no room for."""
    if needed > (free := room_on_disk(files.directory)):
        raise SpoolError(
            f"{files.directory} has {free / (1 << 20):.1f} MiB of room, but "
            f"{needed / (1 << 20):.1f} MiB are needed for a new file beside the old one; make "
            "room, or copy the folder to a larger disk and do it there"
        )


def put_in_place(new: Files, files: Files) -> None:
    """Put a finished database in the place of the one that is there, whose log must be
    gone: SQLite would take it for that of the new one.
    """
    sync_file(new.database)
    with suppress(FileNotFoundError):
        files.shared_memory.unlink()
    new.database.replace(files.database)
    sync_folder(files.directory)
