"""Opening the file: what can be wrong with it is said in a sentence, with what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from bridge.api.spool import SpoolError
from bridge.spool.files import Files, Reserve
from bridge.spool.schema import prepare
from bridge.spool.transaction import WriterState
from bridge.spool.writer import Writer


def open_writer(
    files: Files, connect: Callable[[], sqlite3.Connection], *, max_size: int, lanes: int
) -> Writer:
    """Open the file for writing, make its tables if it is empty, and learn where its
    lanes end.

    Quick however large the file is: it is not checked as a whole,
    ``bridge.spool.audit`` does that.

    :raises SpoolError: when it cannot be used.
    """
    reserve = Reserve(files)
    try:
        connection, state = _open(files, connect, lanes)
    except sqlite3.Error as exc:
        # On a full disk SQLite cannot even make its side files; the reserve has room
        # for them.
        if not reserve.release():
            raise _unusable(files, exc) from exc
        try:
            connection, state = _open(files, connect, lanes)
        except sqlite3.Error as again:
            raise _unusable(files, again) from again
    writer = Writer(files, max_size, connect, reserve, connection, state)
    writer.look_after()
    return writer


def _open(
    files: Files, connect: Callable[[], sqlite3.Connection], lanes: int
) -> tuple[sqlite3.Connection, WriterState]:
    connection = connect()
    try:
        prepare(connection, files, lanes)
        state = WriterState()
        state.load(connection)
    except BaseException:
        connection.close()
        raise
    return connection, state


def _unusable(files: Files, exc: sqlite3.Error) -> SpoolError:
    if getattr(exc, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    ):
        return SpoolError(
            f"{files.database} is damaged ({exc}); keep a copy of the folder, then put a backup in its place, or save "
            f"what can be read with: sqlite3 {files.database} .recover"
        )
    return SpoolError(
        f"{files.database} cannot be opened ({exc}); look at the room on the disk, the rights of the folder and "
        "whether another program uses the file"
    )
