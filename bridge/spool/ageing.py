"""What does not stay for ever: events that wait for a device, and what a sink owes that
no section names any more. In the open transaction.

Each function is a step: it shares a commit with appends unnoticed.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import partial

from bridge.api import Duration
from bridge.api.spool import DeadLetter
from bridge.spool.letters import device_of, keep_letter
from bridge.spool.parking import MILLISECONDS, park, refresh_queue
from bridge.spool.schema import LANE_BITS
from bridge.spool.transaction import Transaction

PARKED_A_STEP = 500
EXPIRED_A_STEP = 200


def note_orphans(transaction: Transaction, configured: Collection[str]) -> None:
    """Note since when no section names a sink, and of which sinks one does again."""
    known = transaction.execute("SELECT name, orphaned, left FROM sinks").fetchall()
    for name, orphaned, left in known:
        if name not in configured and orphaned is None:
            transaction.execute(
                "UPDATE sinks SET orphaned = ? WHERE name = ?", (int(transaction.running), name)
            )
        elif name in configured and orphaned is not None and not left:
            transaction.execute("UPDATE sinks SET orphaned = NULL WHERE name = ?", (name,))


def leave(transaction: Transaction, grace: float) -> int:
    """Park some of what a sink owes that was an orphan for too long, so that its
    cursors keep nothing any more; returns how many events were passed: 0 when nothing
    is left.
    """
    due = transaction.execute(
        "SELECT name FROM sinks WHERE NOT left AND orphaned <= ? ORDER BY name LIMIT 1",
        (transaction.running - grace,),
    ).fetchone()
    if due is None:
        return 0
    (sink,) = due
    owed = transaction.execute(
        "SELECT lane, position FROM cursors JOIN heads USING (lane) "
        "WHERE sink = ? AND position < head LIMIT 1",
        (sink,),
    ).fetchone()
    if owed is None:
        transaction.execute("UPDATE sinks SET left = 1 WHERE name = ?", (sink,))
        transaction.committed.append(partial(transaction.state.left.add, sink))
        return 1  # perhaps there is another one
    return _park_next(transaction, sink, *owed)


def _park_next(transaction: Transaction, sink: str, lane: int, position: int) -> int:
    first = lane << LANE_BITS
    rows = transaction.execute(
        "SELECT id, CAST(body AS BLOB) FROM events WHERE id > ? AND id < ? ORDER BY id LIMIT ?",
        (first + position, (lane + 1) << LANE_BITS, PARKED_A_STEP),
    ).fetchall()
    queues: dict[str, list[int]] = {}
    for sequence, body in rows:
        # One that cannot be read waits with the others: whoever takes it buries it.
        queues.setdefault(device_of(body) or "", []).append(sequence)
    parked = sum(
        park(transaction, sink, lane, device, sequences) for device, sequences in queues.items()
    )
    transaction.execute(
        "UPDATE cursors SET position = position + ?, again = again - ? WHERE sink = ? AND lane = ?",
        (len(rows), len(rows) - parked, sink, lane),
    )
    return len(rows)


def expire_parked(transaction: Transaction, park_for: Duration, most: int, now: datetime) -> int:
    """Make dead letters of events that have waited for their device too long, or of the
    oldest of a sink where more than so many bytes wait; returns how many.
    """
    cut = round((transaction.running - park_for) * MILLISECONDS)
    queues = transaction.execute(
        "SELECT id, sink, device, lane, attempts, why FROM parked_devices WHERE since <= ? "
        "LIMIT 10",
        (cut,),
    ).fetchall()
    waited = f"waited {park_for}"
    if not queues:
        cut, waited = round(transaction.running * MILLISECONDS), "waited, and too much waits"
        queues = transaction.execute(
            "SELECT id, d.sink, device, lane, attempts, why FROM parked_devices d "
            "JOIN (SELECT sink FROM parked_devices GROUP BY sink HAVING sum(bytes) > ?) s "
            "ON s.sink = d.sink ORDER BY since LIMIT 1",
            (most,),
        ).fetchall()
    expired = 0
    for queue, sink, device, lane, attempts, why in queues:
        sequences = transaction.execute(
            "SELECT sequence FROM parked WHERE device = ? AND since <= ? ORDER BY sequence LIMIT ?",
            (queue, cut, EXPIRED_A_STEP),
        ).fetchall()
        for (sequence,) in sequences:
            keep_letter(
                transaction,
                sink,
                DeadLetter(0, f"{waited}: {why or 'behind others'}", None, attempts, now),
                "SELECT sequence, source, received, checksum, CAST(body AS BLOB) FROM parked "
                "WHERE device = ? AND sequence = ?",
                (queue, sequence),
            )
            transaction.execute(
                "DELETE FROM parked WHERE device = ? AND sequence = ?", (queue, sequence)
            )
        transaction.execute(
            "UPDATE cursors SET dead = dead + ? WHERE sink = ? AND lane = ?",
            (len(sequences), sink, lane),
        )
        refresh_queue(transaction, sink, device, queue)
        expired += len(sequences)
    return expired


def expire_orphans(transaction: Transaction) -> int:
    """Give up the oldest of what only an orphan owes: of its lanes first, then of what
    is parked; returns about how many bytes that was.
    """
    owed = transaction.execute(
        "SELECT c.sink, c.lane, c.position, min(head - c.position, ?) AS count "
        "FROM cursors c JOIN heads USING (lane) JOIN sinks s ON s.name = c.sink "
        "WHERE orphaned IS NOT NULL AND NOT left ORDER BY count DESC LIMIT 1",
        (PARKED_A_STEP,),
    ).fetchone()
    if owed is not None and owed[3]:
        sink, lane, position, count = owed
        transaction.execute(
            "UPDATE cursors SET position = position + ?, expired = expired + ? "
            "WHERE sink = ? AND lane = ?",
            (count, count, sink, lane),
        )
        first = (lane << LANE_BITS) + position
        size = transaction.value(
            "SELECT ifnull(sum(length(body)), 0) FROM events WHERE id > ? AND id <= ?",
            (first, first + count),
        )
        return int(size) + 1
    queue = transaction.execute(
        "SELECT d.id, sink, device, lane FROM parked_devices d JOIN sinks s ON s.name = d.sink "
        "WHERE orphaned IS NOT NULL ORDER BY since LIMIT 1"
    ).fetchone()
    return 0 if queue is None else _expire_queue(transaction, *queue)


def _expire_queue(transaction: Transaction, queue: int, sink: str, device: str, lane: int) -> int:
    rows = transaction.execute(
        "SELECT sequence, length(body) FROM parked WHERE device = ? ORDER BY sequence LIMIT ?",
        (queue, EXPIRED_A_STEP),
    ).fetchall()
    transaction.execute(
        "DELETE FROM parked WHERE device = ? AND sequence <= ?", (queue, rows[-1][0])
    )
    transaction.execute(
        "UPDATE cursors SET expired = expired + ? WHERE sink = ? AND lane = ?",
        (len(rows), sink, lane),
    )
    refresh_queue(transaction, sink, device, queue)
    size: int = sum(each for _, each in rows)
    return size + 1
