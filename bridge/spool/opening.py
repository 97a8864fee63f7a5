"""Opening the file: its tables, its mark, and who gives way when there is no room."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime

from bridge.api.spool import (
    SpoolError,
)
from bridge.spool import ageing, letters, operations
from bridge.spool.budget import Memory
from bridge.spool.clock import RunningClock
from bridge.spool.files import Files, Reserve
from bridge.spool.log import Log
from bridge.spool.mark import MarkKeeper, admit, read_identity
from bridge.spool.presence import Presence
from bridge.spool.room import GiveWay, Room
from bridge.spool.schema import check_version, prepare
from bridge.spool.settings import DEFAULT_MAX_SIZE, SqliteSettings
from bridge.spool.transaction import WriterState
from bridge.spool.writer import Writer

GIVING: Mapping[Memory, GiveWay] = {
    Memory.KEPT: lambda transaction, size: operations.prune_events(transaction),
    Memory.ORPHANS: lambda transaction, size: ageing.expire_orphans(transaction),
    Memory.LETTERS: letters.expire_letters,
}
"""What deletes when the budget wants it."""


def open_writer(
    files: Files,
    connect: Callable[[], sqlite3.Connection],
    settings: SqliteSettings,
    *,
    now: Callable[[], datetime],
    monotonic: Callable[[], float],
) -> tuple[Writer, list[str]]:
    """Open the file for writing, make its tables if it is empty, and learn where its
    lanes end. Returns also what is worth telling.

    Quick however large the file is: it is not checked as a whole,
    ``bridge.spool.audit`` does that.

    :param monotonic: the clock of what lasts, callable from every thread.
    :raises SpoolError: when it cannot be used, or is not the one that was there last.
    """
    reserve = Reserve(files)
    try:
        connection, state, notes = _open(files, connect, settings.lanes)
    except sqlite3.Error as exc:
        # A full disk has no room even for SQLite's side files; the reserve has.
        if not reserve.release():
            raise _unusable(files, exc) from exc
        try:
            connection, state, notes = _open(files, connect, settings.lanes)
        except sqlite3.Error as again:
            raise _unusable(files, again) from again
    log = Log(files)
    identity = connection.execute("SELECT value FROM meta WHERE name = 'id'").fetchone()[0]
    writer = Writer(
        files,
        connect,
        connection,
        state,
        Room(
            files,
            reserve,
            log,
            settings.max_size,
            settings.max_size is not DEFAULT_MAX_SIZE,
            monotonic,
            GIVING,
        ),
        log,
        MarkKeeper(files, identity, now, monotonic),
        RunningClock.start(connection, monotonic),
        Presence(files),
    )
    writer.open()
    return writer, notes


def _open(
    files: Files, connect: Callable[[], sqlite3.Connection], lanes: int
) -> tuple[sqlite3.Connection, WriterState, list[str]]:
    connection = connect()
    try:
        made = check_version(connection, files) > 0
        notes = admit(files, read_identity(connection) if made else None)
        prepare(connection, files, lanes)
        state = WriterState()
        state.load(connection)
    except BaseException:
        connection.close()
        raise
    return connection, state, notes


def _unusable(files: Files, exc: sqlite3.Error) -> SpoolError:
    if getattr(exc, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    ):
        return SpoolError(
            f"{files.database} is damaged ({exc}); keep a copy of the folder, then put a "
            "backup in its place, or save what can be read with: "
            f"sqlite3 {files.database} .recover"
        )
    return SpoolError(
        f"{files.database} cannot be opened ({exc}); look at the room on the disk, the rights "
        "of the folder and whether another program uses the file"
    )
