"""Bounds of single sinks: how much one may owe, and whether its oldest events go rather
than that sources are refused.
"""

from __future__ import annotations

from attrs import frozen

from bridge.api import Size
from bridge.spool.schema import LANE_BITS
from bridge.spool.transaction import Transaction

A_STEP = 500


@frozen
class Bound:
    """What somebody set for a sink."""

    max_backlog: Size | None
    """Bytes that it may owe; None: what the spool holds."""
    expires: bool
    """Whether its oldest events go where there is no room, counted as expired."""


def backlog_of(transaction: Transaction, sink: str, each: float) -> int:
    """Return the bytes that a sink owes, about.

    :param each: bytes that an event takes up.
    """
    events, parked = transaction.execute(
        "SELECT (SELECT ifnull(sum(head - position), 0) FROM cursors JOIN heads USING (lane) "
        "WHERE sink = :sink), "
        "(SELECT ifnull(sum(bytes), 0) FROM parked_devices WHERE sink = :sink)",
        {"sink": sink},
    ).fetchone()
    return int(events * each) + int(parked)


def expire_oldest(transaction: Transaction, sink: str, size: int) -> int:
    """Give up the oldest events of a sink, of the lane that owes most; returns about
    how many bytes that was. A lease of that lane becomes stale.
    """
    owed = transaction.execute(
        "SELECT lane, position, head - position AS count FROM cursors JOIN heads USING (lane) "
        "WHERE sink = ? ORDER BY count DESC LIMIT 1",
        (sink,),
    ).fetchone()
    if owed is None or not owed[2]:
        return 0
    lane, position, count = owed
    first = (lane << LANE_BITS) + position
    gone = passed = 0
    for (body,) in transaction.execute(
        "SELECT length(body) FROM events WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
        (first, first + count, A_STEP),
    ).fetchall():
        if gone >= size:
            break
        gone, passed = gone + body, passed + 1
    transaction.execute(
        "UPDATE cursors SET position = position + ?, expired = expired + ? "
        "WHERE sink = ? AND lane = ?",
        (passed, passed, sink, lane),
    )
    transaction.committed.append(transaction.state.cursors_moved)
    return gone
