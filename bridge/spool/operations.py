"""What is written beside events and sinks: state, and what is deleted.

Each operation is a function of the open transaction. It shares its commit with whatever
else waits, so that one which finds nothing to change must not harm the others: it asks
how many rows it changed, and raises before it wrote anything.
"""

from __future__ import annotations

from functools import partial

from bridge.spool.schema import LANE_BITS
from bridge.spool.transaction import Transaction

# A sink that has left keeps nothing; without any sink nothing is deleted.
_DUE = """
    SELECT lane, pruned, min(
        (SELECT min(c.position) FROM cursors c JOIN sinks s ON s.name = c.sink
            WHERE c.lane = l.lane AND NOT s.left),
        iif(:keep <= 0, 1 << 48, ifnull((SELECT max(head) FROM past_heads p
            WHERE p.lane = l.lane AND p.running <= :before), 0))) - pruned AS due
    FROM lanes l ORDER BY due DESC LIMIT 1
"""

EVENTS_A_STEP = 1000  # deleted in some 3 ms


def put(transaction: Transaction, instance: str, key: str, value: bytes | None) -> None:
    """Store a value of an instance, or remove it."""
    values = transaction.state.instances.setdefault(instance, {})
    if value is None:
        transaction.execute("DELETE FROM state WHERE instance = ? AND key = ?", (instance, key))
        transaction.committed.append(partial(values.pop, key, None))
    else:
        transaction.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", (instance, key, value))
        transaction.committed.append(partial(values.__setitem__, key, value))


def prune_events(transaction: Transaction, keep: float = 0.0) -> int:
    """Delete events that no sink owes any more, from the lane that has most of them;
    returns how many.

    :param keep: seconds of running for which events stay that nobody owes.
    """
    longest = transaction.execute(_DUE, {"before": transaction.running - keep, "keep": keep})
    lane, pruned, due = longest.fetchone()
    if due is None or due <= 0:
        return 0
    count = min(due, EVENTS_A_STEP)
    first = (lane << LANE_BITS) + pruned + 1
    transaction.execute("DELETE FROM events WHERE id BETWEEN ? AND ?", (first, first + count - 1))
    transaction.execute("UPDATE lanes SET pruned = pruned + ? WHERE lane = ?", (count, lane))
    return int(count)


def note_heads(transaction: Transaction, keep: float) -> None:
    """Note where the lanes end now, so that what lies below is known to be as old; and
    forget what is older than anybody asks for.
    """
    now = int(transaction.running)
    transaction.execute(
        "INSERT OR REPLACE INTO past_heads SELECT ?, lane, head FROM heads h WHERE head > "
        "ifnull((SELECT max(head) FROM past_heads p WHERE p.lane = h.lane), 0)",
        (now,),
    )
    transaction.execute(
        "DELETE FROM past_heads WHERE running < (SELECT max(running) FROM past_heads p "
        "WHERE p.lane = past_heads.lane AND p.running <= ?)",
        (now - keep,),
    )
