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

# Bytes. What the write-ahead log holds on the disk from the beginning, and is cut down
# to: what is written into it, deleting for example, needs no room on the disk.
LOG_SIZE = 8 << 20

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
    (
        # What a file knows of itself: its id, for how many seconds a bridge ran with it
        # (`running`), the newest generation, when version 1 became version 2.
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
        # CRC-32 of the body; NULL for rows of version 1.
        "ALTER TABLE events ADD COLUMN checksum INTEGER",
        # The digest of a key is over the salt, which stays when the name changes.
        "ALTER TABLE sources ADD COLUMN salt TEXT NOT NULL DEFAULT ''",
        "UPDATE sources SET salt = name",
        # again: put back by a rewind, or by a replay of letters of a purged life.
        # generation: a position that comes back by chance is not mistaken.
        "ALTER TABLE cursors ADD COLUMN again INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE cursors ADD COLUMN generation INTEGER NOT NULL DEFAULT 0",
        # Up to here events are lent again after a rewind.
        "ALTER TABLE cursors ADD COLUMN rewound INTEGER NOT NULL DEFAULT 0",
        # orphaned: running seconds when no section named it any more, NULL if one does.
        # left: 1 once its cursors do not keep events from being deleted.
        """CREATE TABLE sinks (
            name TEXT PRIMARY KEY, orphaned INTEGER, left INTEGER NOT NULL DEFAULT 0)
            WITHOUT ROWID""",
        "INSERT INTO sinks (name) SELECT DISTINCT sink FROM cursors",
        # A queue for each device that waits apart, and its events: copies, so that the
        # lane can be deleted below its cursors. due, since: running milliseconds.
        # events, bytes, oldest (when the first was received) and since are of its rows.
        """CREATE TABLE parked_devices (
            id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, device TEXT NOT NULL,
            lane INTEGER NOT NULL, due INTEGER NOT NULL, attempts INTEGER NOT NULL,
            why TEXT NOT NULL, events INTEGER NOT NULL DEFAULT 0,
            bytes INTEGER NOT NULL DEFAULT 0, oldest INTEGER NOT NULL DEFAULT 0,
            since INTEGER NOT NULL DEFAULT 0,
            UNIQUE (sink, device))""",
        "CREATE INDEX parked_due ON parked_devices (sink, due)",
        # letter: what was said of it as a dead letter, in JSON; NULL for one that was
        # none.
        """CREATE TABLE parked (
            device INTEGER NOT NULL, sequence INTEGER NOT NULL, source INTEGER NOT NULL,
            received INTEGER NOT NULL, checksum INTEGER, since INTEGER NOT NULL, letter TEXT,
            body BLOB NOT NULL,
            PRIMARY KEY (device, sequence)) WITHOUT ROWID""",
        # Dead letters; their bodies apart, so that a page of a list reads little. Those
        # of version 1 are moved here in steps. device: NULL if the body cannot be read.
        # kept: running seconds when it was given up.
        """CREATE TABLE letters (
            id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, source INTEGER NOT NULL,
            device TEXT, sequence INTEGER NOT NULL, received INTEGER NOT NULL,
            reason TEXT NOT NULL, status INTEGER, attempts INTEGER NOT NULL, time INTEGER NOT NULL,
            kept INTEGER NOT NULL, size INTEGER NOT NULL, purged INTEGER NOT NULL DEFAULT 0)""",
        "CREATE TABLE letter_bodies (id INTEGER PRIMARY KEY, checksum INTEGER, body BLOB NOT NULL)",
        # Letters of version 1 keep their numbers.
        "INSERT INTO sqlite_sequence (name, seq) "
        "SELECT 'letters', ifnull(max(id), 0) FROM dead_letters",
        # Keys lie where their neighbours in time are: the second of key_time (4 bytes,
        # big-endian), then 12 bytes of digest. stored: running minutes. The table
        # `keys` of version 1 is asked until its newest key is a window old.
        "CREATE TABLE known (key BLOB PRIMARY KEY, stored INTEGER NOT NULL) WITHOUT ROWID",
        # For each hour of key_time: how many keys, and when they were stored; none
        # before `oldest`, which may be too early.
        """CREATE TABLE hours (
            hour INTEGER PRIMARY KEY, count INTEGER NOT NULL,
            oldest INTEGER NOT NULL, newest INTEGER NOT NULL)""",
        # The id tells the file from every other; the mark beside it names it, too.
        "INSERT INTO meta VALUES ('id', lower(hex(randomblob(16))))",
        # What letters and parked events take up is counted where they are written, so
        # that the room of each memory is known without looking at rows. 200 and 100:
        # bytes of a row beside the body.
        "INSERT INTO meta VALUES ('letters', 0)",
        """CREATE TRIGGER letter_kept AFTER INSERT ON letters BEGIN
            UPDATE meta SET value = value + new.size + 200 WHERE name = 'letters'; END""",
        """CREATE TRIGGER letter_gone AFTER DELETE ON letters BEGIN
            UPDATE meta SET value = value - old.size - 200 WHERE name = 'letters'; END""",
        """CREATE TRIGGER event_parked AFTER INSERT ON parked BEGIN
            UPDATE parked_devices SET events = events + 1,
            bytes = bytes + length(new.body) + 100 WHERE id = new.device; END""",
        """CREATE TRIGGER event_unparked AFTER DELETE ON parked BEGIN
            UPDATE parked_devices SET events = events - 1,
            bytes = bytes - length(old.body) - 100 WHERE id = old.device; END""",
        """CREATE TRIGGER event_moved AFTER UPDATE OF device ON parked BEGIN
            UPDATE parked_devices SET events = events - 1,
            bytes = bytes - length(old.body) - 100 WHERE id = old.device;
            UPDATE parked_devices SET events = events + 1,
            bytes = bytes + length(new.body) + 100 WHERE id = new.device; END""",
        # Where lanes ended, by running seconds: what lies below is as old.
        """CREATE TABLE past_heads (
            running INTEGER NOT NULL, lane INTEGER NOT NULL, head INTEGER NOT NULL,
            PRIMARY KEY (lane, running)) WITHOUT ROWID""",
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
        # automatic one swallows its errors. secure_delete: Debian's SQLite has it on,
        # and pruning writes each page that becomes free once more, with zeros (3,008
        # pages instead of 1,768 for 20,000 events). FAST wipes only what lies on pages
        # that are written anyway, and costs nothing more than OFF. So what was deleted
        # can be read in free pages until they are used again, by whoever may read the
        # events that are kept.
        for pragma in (
            "synchronous = FULL",
            "secure_delete = FAST",
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {LOG_SIZE}",
            "temp_store = MEMORY",
            "cache_size = -2048",  # KiB; from 2 to 128 MiB makes no difference (measured)
        ):
            connection.execute(f"PRAGMA {pragma}")
    except UnicodeDecodeError as exc:
        # SQLite quotes what is damaged, and Python cannot read the message.
        connection.close()
        raise sqlite3.DatabaseError("malformed database schema") from exc
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
        connection.execute("DROP TABLE keys")  # only version 1 had some
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")
