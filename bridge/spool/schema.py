"""Tables, versions and connections of the SQLite spool.

A row of ``events`` is found by its number alone: ``lane << 48 | position``. Positions
of a lane count from 1 without a gap, so that what waits for a sink is ``head -
position``, never a count over rows, and that SQLite can never give a number twice, as
it does with row ids once a table has been emptied.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from bridge.api.spool import SpoolError
from bridge.spool.files import Files

APPLICATION_ID = 0x62726467  # "brdg", so that the file is told from other SQLite files

LANE_BITS = 48
POSITION = (1 << LANE_BITS) - 1  # mask

# Seconds; only a stranger's program can hold the file, and commits must not wait long.
BUSY_TIMEOUT = 1.0

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # The number of rows is the number of lanes; events at or below `pruned` are
        # deleted.
        "CREATE TABLE lanes (lane INTEGER PRIMARY KEY, pruned INTEGER NOT NULL)",
        # The newest position of each lane, by one seek a lane; 281474976710655 is 2^48
        # - 1.
        """CREATE VIEW heads AS SELECT lane, pruned, max(pruned, ifnull((
            SELECT max(id) FROM events
            WHERE id BETWEEN lane << 48 AND (lane << 48) + 281474976710655
            ), 0) & 281474976710655) AS head FROM lanes""",
        "CREATE TABLE sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        # received: microseconds since 1970, UTC; body: as written by bridge.api.encode
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY, source INTEGER NOT NULL, received INTEGER NOT NULL,
            body BLOB NOT NULL)""",
        # In a table of their own, so that deleting events does not touch an index in
        # random order. digest: 16 bytes of BLAKE2b over source and key; seen: seconds
        # since 1970
        "CREATE TABLE keys (digest BLOB PRIMARY KEY, seen INTEGER NOT NULL) WITHOUT ROWID",
        # For each sink and lane: position - start = delivered + filtered + dead +
        # expired
        """CREATE TABLE cursors (
            sink TEXT NOT NULL, lane INTEGER NOT NULL,
            start INTEGER NOT NULL, position INTEGER NOT NULL,
            delivered INTEGER NOT NULL DEFAULT 0, filtered INTEGER NOT NULL DEFAULT 0,
            dead INTEGER NOT NULL DEFAULT 0, expired INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (sink, lane)) WITHOUT ROWID""",
        # purged: 1 when the sink was purged since; the letter stays, the account of a
        # later sink of that name is new
        """CREATE TABLE dead_letters (
            id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, source INTEGER NOT NULL,
            sequence INTEGER NOT NULL, received INTEGER NOT NULL, body BLOB NOT NULL,
            reason TEXT NOT NULL, status INTEGER, attempts INTEGER NOT NULL, time INTEGER NOT NULL,
            purged INTEGER NOT NULL DEFAULT 0)""",
        """CREATE TABLE state (
            instance TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
            PRIMARY KEY (instance, key)) WITHOUT ROWID""",
    ),
)
"""Statements that lead from each version to the next.

``user_version`` says how many were applied.
"""


def connect(files: Files, *, vfs: str | None = None, read_only: bool = False) -> sqlite3.Connection:
    """Open a connection that any one thread at a time may use.

    Transactions are begun and ended by hand.
    """
    uri = f"{files.database.as_uri()}?mode={'ro' if read_only else 'rw'}"
    connection = sqlite3.connect(
        uri if vfs is None else f"{uri}&vfs={vfs}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        # FULL: a commit returns after its fsync. Checkpoints are the writer's: an
        # automatic one swallows its errors.
        for pragma in (
            "synchronous = FULL",
            "wal_autocheckpoint = 0",
            "temp_store = MEMORY",
            "cache_size = -8192",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def pragma(connection: sqlite3.Connection, name: str) -> Any:
    """Ask for one value."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def check_version(connection: sqlite3.Connection, files: Files) -> int:
    """Return the version of the tables, 0 for an empty file.

    :raises SpoolError: when it is not our file, or of a newer bridge.
    """
    version: int = pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and pragma(connection, "application_id") != APPLICATION_ID:
        raise SpoolError(
            f"{files.database} is an SQLite file of another program; use another state folder"
        )
    if version > len(MIGRATIONS):
        raise SpoolError(
            f"{files.database} has version {version}, "
            f"this bridge knows versions up to {len(MIGRATIONS)}: "
            "it was used by a newer bridge; run that one"
        )
    return version


def prepare(connection: sqlite3.Connection, files: Files, lanes: int) -> None:
    """Bring the tables to the newest version, all at once or not at all. An empty file
    gets so many lanes.

    :raises SpoolError: when it is not our file, is of a newer bridge, or lies where
        SQLite cannot work.
    """
    version = check_version(connection, files)
    if pragma(connection, "journal_mode = WAL") != "wal":
        raise SpoolError(
            f"{files.directory} cannot hold the spool: SQLite's WAL mode needs a local file system"
        )
    pragma(connection, "journal_size_limit = 16777216")
    if version == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    if version == 0:
        connection.executemany(
            "INSERT INTO lanes VALUES (?, 0)", [(lane,) for lane in range(lanes)]
        )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")
