"""Everything that is written beside events: cursors, dead letters, state, and what is
deleted.

Each operation is a function of the open transaction. It shares its commit with whatever
else waits, so that one which finds nothing to change must not harm the others: it asks
how many rows it changed, and raises before it wrote anything.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from attrs import frozen

from bridge.api.spool import DeadLetter, Stale
from bridge.spool.append import microseconds
from bridge.spool.schema import LANE_BITS, POSITION
from bridge.spool.transaction import Transaction

EVENTS_A_STEP = 1000  # deleted in some 3 ms
KEYS_A_STEP = 4000  # looked at; neighbours in the tree, and few of them are due


@frozen
class Settlement:
    """A move of one cursor."""

    sink: str
    lane: int
    position: int
    """Where the cursor must be."""
    end: int
    """Where it goes."""
    filtered: int
    dead: tuple[tuple[int, DeadLetter], ...]
    """Positions and what is said of the events there."""


def settle(transaction: Transaction, settlement: Settlement) -> None:
    """Move a cursor, and keep dead letters.

    :raises Stale: when the cursor is not where it was expected.
    """
    sink, lane, dead = settlement.sink, settlement.lane, len(settlement.dead)
    delivered = settlement.end - settlement.position - settlement.filtered - dead
    moved = transaction.execute(
        "UPDATE cursors SET position = ?, delivered = delivered + ?, "
        "filtered = filtered + ?, dead = dead + ? WHERE sink = ? AND lane = ? AND position = ?",
        (settlement.end, delivered, settlement.filtered, dead, sink, lane, settlement.position),
    )
    if moved.rowcount != 1:
        raise Stale(f"the cursor of {sink} in lane {lane} is no longer at {settlement.position}")
    for position, letter in settlement.dead:
        transaction.execute(
            "INSERT INTO dead_letters "
            "(sink, source, sequence, received, body, reason, status, attempts, time) "
            "SELECT ?, source, id, received, body, ?, ?, ?, ? FROM events WHERE id = ?",
            (
                sink,
                letter.reason,
                letter.status,
                letter.attempts,
                microseconds(letter.time),
                lane << LANE_BITS | position,
            ),
        )


def begin(transaction: Transaction, sink: str, start: Literal["now", "beginning"]) -> None:
    """Make cursors for a sink that has none."""
    transaction.execute(
        "INSERT INTO cursors (sink, lane, start, position) "
        "SELECT :sink, lane, iif(:now, head, pruned), iif(:now, head, pruned) FROM heads "
        "WHERE NOT EXISTS (SELECT 1 FROM cursors WHERE sink = :sink)",
        {"sink": sink, "now": start == "now"},
    )
    transaction.committed.append(partial(transaction.state.sinks.add, sink))


def purge(transaction: Transaction, sink: str) -> int:
    """Forget a sink; returns how many events it owed."""
    pending: int = transaction.value(
        (
            "SELECT ifnull(sum(head - position), 0) FROM cursors JOIN heads USING (lane) WHERE "
            "sink = ?"
        ),
        (sink,),
    )
    transaction.execute("DELETE FROM cursors WHERE sink = ?", (sink,))
    transaction.execute("UPDATE dead_letters SET purged = 1 WHERE sink = ? AND NOT purged", (sink,))
    transaction.committed.append(partial(transaction.state.sinks.discard, sink))
    return pending


def put(transaction: Transaction, instance: str, key: str, value: bytes | None) -> None:
    """Store a value of an instance, or remove it."""
    values = transaction.state.instances.setdefault(instance, {})
    if value is None:
        transaction.execute("DELETE FROM state WHERE instance = ? AND key = ?", (instance, key))
        transaction.committed.append(partial(values.pop, key, None))
    else:
        transaction.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", (instance, key, value))
        transaction.committed.append(partial(values.__setitem__, key, value))


def prune_events(transaction: Transaction) -> int:
    """Delete events that no sink owes any more, from the lane that has most of them;
    returns how many.
    """
    longest = transaction.execute(
        "SELECT lane, pruned, min(position) - pruned AS due FROM cursors JOIN lanes USING (lane) "
        "GROUP BY lane ORDER BY due DESC LIMIT 1"
    ).fetchone()
    if longest is None or longest[2] <= 0:
        return 0
    lane, pruned, due = longest
    count = min(due, EVENTS_A_STEP)
    first = (lane << LANE_BITS) + pruned + 1
    transaction.execute("DELETE FROM events WHERE id BETWEEN ? AND ?", (first, first + count - 1))
    transaction.execute("UPDATE lanes SET pruned = pruned + ? WHERE lane = ?", (count, lane))
    return int(count)


def prune_keys(transaction: Transaction, after: bytes, before: int) -> bytes | None:
    """Delete keys seen before a time (seconds since 1970) from the next stretch of
    digests.

    :return: where the next stretch begins; None when this was the last.
    """
    end: tuple[bytes] | None = transaction.execute(
        "SELECT digest FROM keys WHERE digest > ? ORDER BY digest LIMIT 1 OFFSET ?",
        (after, KEYS_A_STEP),
    ).fetchone()
    if end is None:
        transaction.execute("DELETE FROM keys WHERE digest > ? AND seen < ?", (after, before))
        return None
    transaction.execute(
        "DELETE FROM keys WHERE digest > ? AND digest <= ? AND seen < ?", (after, end[0], before)
    )
    return end[0]


def position_of(sequence: int) -> int:
    """Return the position of an event in its lane."""
    return sequence & POSITION
