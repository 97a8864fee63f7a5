"""Everything that is read: the next events of a lane, and the accounts.

The next events are fetched as two rows, one with the numbers and one with all bodies
in a piece: fetching row by row lets go of the interpreter's lock for every row.
Measured with a busy loop, 500 rows: 570 ms one by one, 12 ms in a piece.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from zlib import crc32

from attrs import define, frozen

from bridge.api import Stored, decode
from bridge.api.spool import Account
from bridge.spool.keys import EPOCH
from bridge.spool.schema import POSITION
from bridge.spool.thread import PendingRequest

SCAN = 20_000  # events looked over for wanted ones in one go
MAX_BYTES = 16 << 20  # of bodies in one reading, unless a single event is larger

Question: TypeAlias = Callable[[sqlite3.Connection], Any]

# Up to `rewound` events are lent again: never together with those that follow.
_NUMBERS = """
    WITH cursor AS (SELECT position, generation, rewound,
            min(:head, position + :scan, iif(position < rewound, rewound, :head)) AS last
        FROM cursors WHERE sink = :sink AND lane = :lane)
    SELECT (SELECT position FROM cursor), (SELECT generation FROM cursor),
        (SELECT position < rewound FROM cursor), (SELECT last FROM cursor),
        group_concat(id || ' ' || source || ' ' || received || ' ' || length(body) || ' '
            || ifnull(checksum, -1))
    FROM (SELECT id, source, received, body, checksum FROM events
        WHERE id > (:lane << 48) + (SELECT position FROM cursor)
        AND id <= (:lane << 48) + (SELECT last FROM cursor)
        AND (:wanted IS NULL OR instr(:wanted, ',' || source || ','))
        ORDER BY id LIMIT :batch)
"""

_BODIES = """
    SELECT CAST(group_concat(body, '') AS BLOB) FROM (SELECT body FROM events
        WHERE id BETWEEN :first AND :last
        AND (:wanted IS NULL OR instr(:wanted, ',' || source || ','))
        ORDER BY id)
"""

_ACCOUNTS = """
    SELECT c.sink, sum(h.head - c.start), sum(c.delivered), sum(c.filtered), sum(c.dead),
        sum(c.expired), sum(h.head - c.position), min(e.received), sum(c.again),
        (SELECT ifnull(sum(events), 0) FROM parked_devices d WHERE d.sink = c.sink),
        (SELECT count(*) FROM parked_devices d WHERE d.sink = c.sink),
        (SELECT min(oldest) FROM parked_devices d WHERE d.sink = c.sink)
    FROM cursors c JOIN heads h USING (lane)
    LEFT JOIN events e ON e.id = (c.lane << 48) + c.position + 1
    GROUP BY c.sink ORDER BY c.sink
"""


@frozen
class ReadRequest:
    """Which events a subscription wants next."""

    sink: str
    lane: int
    head: int
    """Position of the newest event that the loop knows of."""
    batch: int
    sources: tuple[int, ...] | None
    """Numbers of the wanted sources; None: all."""
    names: Mapping[int, str]
    """Names of all sources."""
    parked: Collection[str] = ()
    """Devices that are parked at the sink: their events are not lent with the lane."""


@frozen
class ReadResult:
    """The next events of a lane for one sink."""

    position: int
    """Where the cursor is."""
    generation: int
    replay: bool
    """Whether these are lent again after a rewind."""
    events: tuple[Stored, ...]
    withheld: tuple[tuple[str, int], ...]
    """Device and position of the events that were left out because their device is
    parked.
    """
    end: int
    """Where the cursor goes when they are settled: not beyond the next event that was
    wanted.
    """
    unreadable: str | None = None
    """Why the event right after ``end`` cannot be decoded; None if it can or was not
    looked at.
    """


class NotOpenError(Exception):
    """The file cannot be read now: it is being opened again."""


@define(eq=False)
class Reader:
    """Owns the reading connection. Its methods run in its thread."""

    connect: Callable[[], sqlite3.Connection]
    connection: sqlite3.Connection | None

    def serve(self, batch: list[PendingRequest[Question]]) -> None:
        """Answer each question."""
        for asked in batch:
            if self.connection is None:
                asked.error = NotOpenError("the spool is being opened again")
                continue
            try:
                asked.answer = asked.request(self.connection)
            except sqlite3.Error as exc:
                asked.error = exc

    def leave(self, connection: sqlite3.Connection) -> None:
        """Close the connection, so that the file can be opened anew. A question."""
        self.connection = None
        connection.close()

    def close(self) -> None:
        """Close the connection for good."""
        if self.connection is not None:
            self.connection.close()


def read(request: ReadRequest, connection: sqlite3.Connection) -> ReadResult | None:
    """Read and decode the next events; None for a sink without a cursor.

    What is not wanted is passed over.
    """
    wanted = None if request.sources is None else f",{','.join(map(str, request.sources))},"
    position, generation, replay, last, rows = connection.execute(
        _NUMBERS,
        {
            "sink": request.sink,
            "lane": request.lane,
            "head": request.head,
            "batch": request.batch,
            "wanted": wanted,
            "scan": SCAN,
        },
    ).fetchone()
    if position is None:
        return None
    numbers = [tuple(map(int, item.split(" "))) for item in rows.split(",")] if rows else []
    whole = len(numbers) < request.batch
    fitting = _fitting([size for _, _, _, size, _ in numbers])
    if fitting < len(numbers):
        numbers, whole = numbers[:fitting], False
    end = last if whole else numbers[-1][0] & POSITION
    events: list[Stored] = []
    withheld: list[tuple[str, int]] = []
    unreadable = None
    bodies = _bodies(connection, numbers, wanted) if numbers else []
    for (sequence, source, received, _, checksum), body in zip(numbers, bodies, strict=True):
        try:
            stored = stored_event(sequence, request.names, source, received, body, checksum)
        except (ValueError, LookupError, OverflowError) as exc:
            end, unreadable = (sequence & POSITION) - 1, str(exc)
            break
        if stored.event.device in request.parked:
            withheld.append((stored.event.device, sequence & POSITION))
        else:
            events.append(stored)
    return ReadResult(
        position, generation, bool(replay), tuple(events), tuple(withheld), end, unreadable
    )


def stored_event(
    sequence: int,
    names: Mapping[int, str],
    source: int,
    received: int,
    body: bytes,
    checksum: int | None,
) -> Stored:
    """Read an event back.

    :param checksum: None or -1: none was kept.
    :raises ValueError: if its body is damaged, or not what ``encode`` writes.
    :raises LookupError: if its source has no name.
    """
    if checksum not in (None, -1, crc32(body)):
        raise ValueError("its bytes are not those that were stored (CRC-32)")
    return Stored(sequence, names[source], time_of(received), decode(body))


def _fitting(sizes: Collection[int]) -> int:
    """Count the events that may be in memory together, at least one."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count and total > MAX_BYTES:
            return count
    return len(sizes)


def _bodies(
    connection: sqlite3.Connection, numbers: list[tuple[int, ...]], wanted: str | None
) -> list[bytes]:
    bounds = {"first": numbers[0][0], "last": numbers[-1][0], "wanted": wanted}
    joined: bytes = connection.execute(_BODIES, bounds).fetchone()[0] or b""
    if len(joined) != sum(size for *_, size in numbers):
        # Damaged: a text instead of bytes, or a zero byte, which cuts the piece short.
        # encode() writes neither. One by one the damage stays with its event.
        one_by_one = "SELECT id, CAST(body AS BLOB) FROM events WHERE id BETWEEN :first AND :last"
        rows = dict(connection.execute(one_by_one, bounds))
        return [rows.get(sequence, b"") for sequence, *_ in numbers]
    bodies, at = [], 0
    for *_, size in numbers:
        bodies.append(joined[at : at + size])
        at += size
    return bodies


def read_received_since(connection: sqlite3.Connection, sink: str, to: int) -> dict[int, int]:
    """Read by lane the lowest position at or after a time of receipt (microseconds)
    that a sink is through with. Looks at every event that is kept.
    """
    return {
        lane: found & POSITION
        for lane, found in connection.execute(
            "SELECT lane, (SELECT id FROM events WHERE id > lane << 48 "
            "AND id <= (lane << 48) + position AND received >= ? ORDER BY id LIMIT 1) "
            "FROM cursors WHERE sink = ?",
            (to, sink),
        ).fetchall()
        if found is not None
    }


def read_positions(connection: sqlite3.Connection, sink: str) -> dict[int, int]:
    """Read where the cursors of a sink are, by lane."""
    return dict(
        connection.execute("SELECT lane, position FROM cursors WHERE sink = ?", (sink,)).fetchall()
    )


def read_accounts(connection: sqlite3.Connection, configured: Collection[str]) -> list[Account]:
    """Read the balance of every sink, as of one moment."""
    rows = connection.execute(_ACCOUNTS).fetchall()
    return [
        Account(
            sink,
            received=received,
            delivered=delivered,
            filtered=filtered,
            dead=dead,
            expired=expired,
            pending=pending + parked,
            oldest_pending=_oldest(oldest, oldest_parked),
            orphaned=sink not in configured,
            again=again,
            parked=parked,
            parked_devices=devices,
        )
        for (
            sink,
            received,
            delivered,
            filtered,
            dead,
            expired,
            pending,
            oldest,
            again,
            parked,
            devices,
            oldest_parked,
        ) in rows
    ]


def _oldest(*times: int | None) -> datetime | None:
    known = [time for time in times if time is not None]
    return time_of(min(known)) if known else None


def time_of(microseconds: int) -> datetime:
    """The inverse of ``microseconds``."""
    return EPOCH + timedelta(microseconds=microseconds)
