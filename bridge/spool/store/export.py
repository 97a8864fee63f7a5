"""What a spool holds, as lines of JSON: for another system, or out of a damaged file.

    {"table": "events", "lane": 3, "position": 17, "source": "sensors", "received": ...,
     "event": {...}}
    {"table": "letters", "sink": "out", "reason": "refused", ..., "event": {...}}
    {"table": "parked", "sink": "out", "device": "meter-1", ..., "event": {...}}

A body that is damaged or no JSON stands as ``body`` in base64, with what is wrong as
``damage``.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from bridge.spool.checksum import damage
from bridge.spool.read import time_of
from bridge.spool.schema import LANE_BITS, POSITION
from bridge.spool.store.folder import existing, opened
from bridge.spool.store.salvage import Lost, joined, rows_between
from bridge.spool.store.tables import columns_of

EVENTS = (
    "SELECT id, source, received, body, {checksum} FROM events "
    "WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
)
LETTERS = (
    "SELECT l.id, sink, source, sequence, received, reason, status, attempts, time, body, "
    "checksum FROM letters l LEFT JOIN letter_bodies b ON b.id = l.id "
    "WHERE l.id BETWEEN ? AND ? ORDER BY l.id LIMIT ?"
)
OLD_LETTERS = (
    "SELECT id, sink, source, sequence, received, reason, status, attempts, time, body, NULL "
    "FROM dead_letters WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
)
PARKED = (
    "SELECT sequence, sink, d.device, source, received, body, checksum FROM parked p "
    "JOIN parked_devices d ON d.id = p.device WHERE d.id = ? ORDER BY sequence"
)
Item = dict[str, Any]


def export(directory: Path, *, beat: Callable[[], None] = lambda: None) -> Iterator[bytes]:
    """Write out events, dead letters and parked events, a line for each; what cannot be
    read is a line that says so.

    Reads in short transactions: of a spool in use, what is stored or deleted meanwhile
    may be in it or not.

    :raises SpoolError: when there is no spool, or it cannot be read at all.
    """
    with opened(existing(directory)) as connection:
        sources = dict(connection.execute("SELECT id, name FROM sources").fetchall())
        for number, item in enumerate(_items(connection, sources)):
            if number % 100 == 0:
                beat()
            yield orjson.dumps(item) + b"\n"


def _items(connection: sqlite3.Connection, sources: dict[int, str]) -> Iterator[Item]:
    yield from _events(connection, sources)
    for table, query in (("letters", LETTERS), ("dead_letters", OLD_LETTERS)):
        if columns_of(connection, table):
            yield from _letters(connection, sources, table, query)
    if columns_of(connection, "parked"):
        for (device,) in connection.execute("SELECT id FROM parked_devices").fetchall():
            for sequence, sink, name, source, received, body, checksum in connection.execute(
                PARKED, (device,)
            ).fetchall():
                item: Item = {"table": "parked", "sink": sink, "device": name}
                item |= _place(sequence) | _origin(sources, source, received)
                yield item | _content(body, checksum)


def _events(connection: sqlite3.Connection, sources: dict[int, str]) -> Iterator[Item]:
    checksum = "checksum" if "checksum" in columns_of(connection, "events") else "NULL"
    query = EVENTS.format(checksum=checksum)
    lanes = connection.execute("SELECT lane, pruned, head FROM heads")
    for lane, pruned, head in lanes.fetchall():
        low, high = (lane << LANE_BITS) + pruned + 1, (lane << LANE_BITS) + head
        for row in joined(rows_between(connection, query, low, high)):
            if isinstance(row, Lost):
                lost = {"last": row.last & POSITION, "damage": row.why}
                yield {"table": "events"} | _place(row.first) | lost
            else:
                sequence, source, received, body, sum_ = row
                item: Item = {"table": "events"} | _place(sequence)
                yield item | _origin(sources, source, received) | _content(body, sum_)


def _letters(
    connection: sqlite3.Connection, sources: dict[int, str], table: str, query: str
) -> Iterator[Item]:
    highest = connection.execute(f"SELECT ifnull(max(id), 0) FROM {table}").fetchone()[0]  # noqa: S608
    for row in joined(rows_between(connection, query, 1, highest)):
        if isinstance(row, Lost):
            yield {"table": "letters", "id": row.first, "last": row.last, "damage": row.why}
            continue
        number, sink, source, sequence, received, reason, status, attempts, time, body, sum_ = row
        item: Item = {"table": "letters", "id": number, "sink": sink}
        item |= _place(sequence) | _origin(sources, source, received)
        item |= {"reason": reason, "status": status, "attempts": attempts, "time": _when(time)}
        yield item | _content(body, sum_)


def _place(sequence: int) -> Item:
    return {"lane": sequence >> LANE_BITS, "position": sequence & POSITION}


def _origin(sources: dict[int, str], source: int, received: int) -> Item:
    return {"source": sources.get(source), "received": _when(received)}


def _when(microseconds: object) -> datetime | None:
    """A time that was stored; None where damage made it one that never was."""
    try:
        return time_of(microseconds)  # type: ignore[arg-type]
    except (TypeError, OverflowError):
        return None


def _content(body: object, checksum: int | None) -> Item:
    """The event, or what is left of it."""
    raw = body if isinstance(body, bytes) else str(body or "").encode("utf-8", "surrogateescape")
    why = damage(body, checksum)
    if why is None:
        try:
            return {"event": orjson.loads(raw)}
        except ValueError as exc:
            why = str(exc)
    return {"damage": why, "body": base64.b64encode(raw).decode()}
