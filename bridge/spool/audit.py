"""The proof, from the rows, that nothing was lost.

The balance of an account is kept in counters. The audit does not believe them: it looks
at every row and says where rows and counters do not agree. It only reads, whether a
process has the spool open or not; while it runs, SQLite's log cannot be emptied.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from zlib import crc32

from bridge.api import decode
from bridge.api.spool import Audit, SpoolError
from bridge.spool.files import Files
from bridge.spool.keys_check import check_keys
from bridge.spool.read import read_accounts
from bridge.spool.schema import LANE_BITS, MIGRATIONS, POSITION, check_version, connect

MAX_PROBLEMS = 50  # of one kind; a file that is beyond saving is not described row by row


def audit(directory: Path, configured: Collection[str] = ()) -> Audit:
    """Examine the spool of a state folder. Takes some seconds for a million events; run
    it in a thread.

    :param configured: names of the configured sinks, for ``Account.orphaned``.
    :raises SpoolError: when there is no spool, or it cannot be read at all.
    """
    files = Files(directory.absolute())
    if not os.access(directory, os.X_OK) and os.path.lexists(directory):
        raise SpoolError(
            f"{directory}: this user may not read it; run it as root or as the bridge's"
        )
    if not os.path.exists(files.database):
        raise SpoolError(
            f"{files.database}: there is no spool; expected the state folder of a bridge that "
            "ran before"
        )
    try:
        connection = connect(files, read_only=True)
        try:
            return _examine(connection, files, configured)
        finally:
            connection.close()
    except sqlite3.Error as exc:
        raise SpoolError(
            f"{files.database} cannot be read ({exc}); keep a copy of the folder before "
            "anything else"
        ) from exc


def _examine(connection: sqlite3.Connection, files: Files, configured: Collection[str]) -> Audit:
    version = check_version(connection, files)
    if version == 0:
        raise SpoolError(
            f"{files.database} is empty: the bridge that made it was stopped before it began"
        )
    if version < len(MIGRATIONS):
        raise SpoolError(
            f"{files.database} was used last by an older bridge (version {version} of its "
            f"tables, this one has {len(MIGRATIONS)}); run this bridge once, then audit it"
        )
    connection.execute("BEGIN")  # one moment for everything
    accounts = tuple(read_accounts(connection, configured))
    problems: list[str] = []
    for check in (_events, _cursors, _dead_letters, _parked, check_keys):
        found = list(check(connection))
        problems += found[:MAX_PROBLEMS]
        if len(found) > MAX_PROBLEMS:
            problems.append(f"... and {len(found) - MAX_PROBLEMS} more like the last")
    problems += [
        f"{account.sink}: the balance does not hold: {account}"
        for account in accounts
        if not account.balanced
    ]
    return Audit(accounts, tuple(problems))


def _events(connection: sqlite3.Connection) -> Iterator[str]:
    """Each lane holds exactly the positions after the pruned ones, and each body can be
    read back.
    """
    expected = dict(connection.execute("SELECT lane, pruned + 1 FROM lanes"))
    sources = {number for (number,) in connection.execute("SELECT id FROM sources")}
    for sequence, source, body, checksum in connection.execute(
        "SELECT id, source, CAST(body AS BLOB), checksum FROM events ORDER BY id"
    ):
        lane, position = sequence >> LANE_BITS, sequence & POSITION
        if lane not in expected:
            yield f"event {sequence}: lane {lane} does not exist"
            continue
        if position != expected[lane]:
            yield f"lane {lane}: events {expected[lane]} to {position - 1} are missing"
        expected[lane] = position + 1
        if source not in sources:
            yield f"event {sequence}: its source {source} has no name"
        if why := _damage(body, checksum):
            yield f"event {sequence}: cannot be read back: {why}"


def _damage(body: bytes, checksum: int | None) -> str:
    """Say why a body cannot be read back; empty if it can."""
    if checksum is not None and checksum != crc32(body):
        return "its bytes are not those that were stored (CRC-32)"
    try:
        decode(body)
    except (ValueError, TypeError) as exc:
        return str(exc)
    return ""


def _cursors(connection: sqlite3.Connection) -> Iterator[str]:
    """What lies below a cursor is accounted for; what lies above is there."""
    rows = connection.execute(
        "SELECT c.sink, c.lane, position + again - start, position, delivered, filtered, dead, "
        "expired, (SELECT count(*) FROM parked p JOIN parked_devices d ON d.id = p.device "
        "WHERE d.sink = c.sink AND d.lane = c.lane), left, pruned, head "
        "FROM cursors c LEFT JOIN heads h ON h.lane = c.lane LEFT JOIN sinks s ON s.name = c.sink"
    )
    for sink, lane, done, position, *counts, parked, left, pruned, head in rows:
        place = f"{sink}, lane {lane}"
        if min(counts) < 0 or done != sum(counts) + parked:
            delivered, filtered, dead, expired = counts
            yield (
                f"{place}: {done} events are settled, but {delivered} delivered, "
                f"{filtered} filtered, {dead} dead, {expired} expired, {parked} parked"
            )
        if head is None:
            yield f"{place}: the lane does not exist"
        elif position > head:
            yield f"{place}: the cursor is at {position}, beyond the newest event {head}"
        elif position < pruned and not left:
            gone = f"events {position + 1} to {pruned}"
            yield f"{place}: {gone} were deleted before they were settled"
    lanes = connection.execute("SELECT count(*) FROM lanes").fetchone()[0]
    counts = connection.execute(
        "SELECT sink, count(*) FROM cursors GROUP BY sink HAVING count(*) <> ?", (lanes,)
    )
    for sink, count in counts:
        yield f"{sink}: has {count} cursors, there are {lanes} lanes"


def _dead_letters(connection: sqlite3.Connection) -> Iterator[str]:
    """Each event that was counted as dead is kept, once, and does not come any more."""
    rows = connection.execute(
        "SELECT sink, sum(dead), "
        "(SELECT count(*) FROM letters d WHERE d.sink = c.sink AND NOT purged) + "
        "(SELECT count(*) FROM dead_letters d WHERE d.sink = c.sink AND NOT purged) "
        "FROM cursors c GROUP BY sink"
    )
    for sink, counted, kept in rows:
        if counted != kept:
            yield f"{sink}: {counted} events are counted as dead, {kept} dead letters are kept"
    for sink, sequence, count, above in connection.execute(
        "SELECT c.sink, sequence, count(*) AS count, (sequence & ?) > position AS above "
        "FROM letters l JOIN cursors c ON c.sink = l.sink AND c.lane = sequence >> ? "
        "WHERE NOT purged GROUP BY c.sink, sequence HAVING count > 1 OR above",
        (POSITION, LANE_BITS),
    ):
        if above:
            yield f"{sink}: event {sequence} is a dead letter, and also to come from its lane"
        else:
            yield f"{sink}: event {sequence} is a dead letter {count} times"


def _parked(connection: sqlite3.Connection) -> Iterator[str]:
    """What is parked lies below the cursor of its lane, is counted, can be read back,
    and is no dead letter as well.
    """
    for sink, device, counted, found in connection.execute(
        "SELECT sink, d.device, events, (SELECT count(*) FROM parked p WHERE p.device = d.id) "
        "FROM parked_devices d WHERE events <> (SELECT count(*) FROM parked p "
        "WHERE p.device = d.id) OR events = 0"
    ):
        yield f"{sink}, device {device}: {counted} events are counted as parked, {found} are"
    for sink, device, sequence, lane, position, dead, checksum, body in connection.execute(
        "SELECT d.sink, d.device, sequence, d.lane, position, EXISTS (SELECT 1 FROM letters l "
        "WHERE l.sink = d.sink AND NOT purged AND l.sequence = p.sequence), checksum, "
        "CAST(body AS BLOB) FROM parked_devices d JOIN parked p ON p.device = d.id "
        "LEFT JOIN cursors c ON c.sink = d.sink AND c.lane = d.lane"
    ):
        place = f"{sink}, device {device}, parked event {sequence}"
        if position is None or sequence >> LANE_BITS != lane:
            yield f"{place}: is of no lane of that sink"
        elif sequence & POSITION > position:
            yield f"{place}: is also to come from its lane"
        if dead:
            yield f"{place}: is a dead letter as well"
        if why := _damage(body, checksum):
            yield f"{place}: cannot be read back: {why}"
