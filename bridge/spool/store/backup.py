"""A copy of a spool, while a bridge runs with it or not.

A running bridge copies with the connection that writes, in steps between its commits:
what is written meanwhile goes into the copy as well. Another connection would have to
begin anew after each commit, or hold the log for as long as it takes.

    TARGET/spool.sqlite    the copy, one file without a log
    TARGET/spool.mark      its mark, which says that it is a copy

It is restored by putting both in the place of the spool, with no log left beside them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from attrs import evolve, frozen

from bridge.api.spool import SpoolError
from bridge.spool.files import Files, sync_folder
from bridge.spool.mark import Mark, machine, read_identity, write_mark
from bridge.spool.schema import pragma
from bridge.spool.store.folder import beside, existing, opened, remove, sync_file

PART = "part"  # suffix of a copy that is not finished
PAGES = 512  # copied in one step, in some 5 ms
# Seconds between two steps, also while the bridge is in the middle of a transaction.
PAUSE = 0.002
SERIALIZED = 3  # of the DB-API: threads may share a connection


@frozen
class Backup:
    """A copy that was made and checked."""

    file: Path
    size: int
    events: int
    owed: int
    """Events that sinks had not settled."""


def backup(
    directory: Path,
    target: Path,
    *,
    now: Callable[[], datetime],
    beat: Callable[[], None] = lambda: None,
) -> Backup:
    """Copy the spool of a folder that no bridge runs with; of one that does:
    ``backup_connection``.

    :raises SpoolError: when it cannot be read, or the target cannot be written or holds
        a spool already.
    """
    with opened(existing(directory)) as connection:
        connection.execute("BEGIN")  # one moment for everything, should a bridge be running
        connection.execute("SELECT count(*) FROM lanes").fetchone()
        return backup_connection(connection, target, now=now, beat=beat)


def backup_connection(
    connection: sqlite3.Connection,
    target: Path,
    *,
    now: Callable[[], datetime],
    beat: Callable[[], None] = lambda: None,
) -> Backup:
    """Copy what a connection has open. Of a running bridge: its writing connection, in
    any thread but the writer's.

    :param beat: called between two steps.
    :raises SpoolError: when the target cannot be written or holds a spool already.
    """
    if sqlite3.threadsafety != SERIALIZED:
        raise SpoolError(
            "this SQLite cannot copy a spool in use: it was built without SQLITE_THREADSAFE=1; "
            "end the bridge first"
        )
    files = Files(target.absolute())
    try:
        files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if files.database.exists() or files.mark.exists():
            raise SpoolError(f"{files.directory} holds a spool already; name another folder")
        part = beside(files, PART)
        copy = sqlite3.connect(part.database, isolation_level=None)
        try:
            connection.backup(copy, pages=PAGES, progress=lambda *_: beat(), sleep=PAUSE)
            # One file: a log beside it could be forgotten.
            pragma(copy, "journal_mode = DELETE")
        finally:
            copy.close()
        made = _checked(part)
        sync_file(part.database)
        stamp = now().astimezone(UTC)
        with opened(part) as copied:
            identity = read_identity(copied)
        # The mark first: it is refused without a file, a file without it is adopted.
        write_mark(
            files.mark,
            Mark(str(identity.id), identity.heads, identity.owed, machine(), stamp, copied=True),
        )
        part.database.replace(files.database)
        sync_folder(files.directory)
    except (OSError, sqlite3.Error) as exc:
        with suppress(OSError):
            remove(Files(files.directory, f"{files.name}.{PART}"))
        raise SpoolError(f"{target} cannot take the copy: {exc}") from exc
    return evolve(made, file=files.database)


def _checked(part: Files) -> Backup:
    """A copy that nobody looked at is none."""
    with opened(part) as copy:
        found = pragma(copy, "quick_check(1)")
        if found != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {found}; see bridged store check")
        events = copy.execute("SELECT ifnull(sum(head - pruned), 0) FROM heads").fetchone()[0]
        owed = read_identity(copy).owed
    return Backup(part.database, part.database.stat().st_size, events, owed)
