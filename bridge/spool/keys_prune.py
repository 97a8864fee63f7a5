"""How long keys stay: which are due, and deleting them in steps.

The age of a key counts from when it was *stored*, in time for which the bridge ran.
Where it lies is the vendor's time, and says nothing: a sensor may send the values of a
month ago, another one stamp the year 2099.

Most hours of vendor's time fill up within hours, and then never again: such an hour
goes in one piece, once the newest of its keys is due. An hour that does not stop
filling, as the timeless place, is walked now and then, and what is due in it goes.

Each function below is a step of the writer, beside the appends of the same commit.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.spool.keys import bounds_of
from bridge.spool.transaction import Transaction

KEYS_A_STEP = 20_000  # neighbours, on some 150 pages that become free: 11 ms
HOURS_A_STEP = 64  # with a key or two each: as many statements as may wait for the loop
# Looked at; of these few are due, but on as many pages, which are all written.
WALKED_A_STEP = 4000


def prune_hours(transaction: Transaction, hours: Sequence[int], cut: int) -> int:
    """Delete all keys of some hours, as many as are a step; returns how many of the
    hours are done.

    What was stored since these hours were chosen makes an hour young again: it stays.
    """
    left = KEYS_A_STEP
    step = hours[:HOURS_A_STEP]
    for done, hour in enumerate(step):
        if left <= 0:
            return done
        found = transaction.execute(
            "SELECT 1 FROM hours WHERE hour = ? AND newest <= ?", (hour, cut)
        ).fetchone()
        if found is None:
            continue
        first, end = bounds_of(hour, hour)
        beyond = transaction.execute(
            "SELECT key FROM known WHERE key >= ? AND key < ? ORDER BY key LIMIT 1 OFFSET ?",
            (first, end, left),
        ).fetchone()
        gone = transaction.execute(
            "DELETE FROM known WHERE key >= ? AND key < ?",
            (first, end if beyond is None else beyond[0]),
        ).rowcount
        left -= gone
        if beyond is not None:
            transaction.execute("UPDATE hours SET count = count - ? WHERE hour = ?", (gone, hour))
            return done
        transaction.execute("DELETE FROM hours WHERE hour = ?", (hour,))
    return len(step)


def walk_hour(transaction: Transaction, hour: int, after: bytes, cut: int) -> bytes | None:
    """Delete what is due among the next keys of an hour that others were stored in
    since.

    :param after: where the last step ended; empty at first.
    :return: where this one ended; None at the end of the hour.
    """
    first, end = bounds_of(hour, hour)
    first = max(first, after)
    beyond = transaction.execute(
        "SELECT key FROM known WHERE key >= ? AND key < ? ORDER BY key LIMIT 1 OFFSET ?",
        (first, end, WALKED_A_STEP),
    ).fetchone()
    gone = transaction.execute(
        "DELETE FROM known WHERE key >= ? AND key < ? AND stored <= ?",
        (first, end if beyond is None else beyond[0], cut),
    ).rowcount
    if gone:
        transaction.execute("UPDATE hours SET count = count - ? WHERE hour = ?", (gone, hour))
    if beyond is None:
        transaction.execute(
            "UPDATE hours SET oldest = max(oldest, ?) WHERE hour = ?", (cut + 1, hour)
        )
        return None
    return bytes(beyond[0])


def empty_old_keys(transaction: Transaction, window: float) -> bool:
    """Delete some of the keys of version 1 once the newest of them must be due, and
    their table with the last; says whether more are due.
    """
    migrated = transaction.execute("SELECT value FROM meta WHERE name = 'migrated'").fetchone()
    # Without the entry it was at the beginning of what is counted as running.
    if transaction.running < window + (migrated[0] if migrated else 0.0):
        return False
    gone = transaction.execute(
        "DELETE FROM keys WHERE digest <= ifnull("
        "(SELECT digest FROM keys ORDER BY digest LIMIT 1 OFFSET ?), "
        "(SELECT max(digest) FROM keys))",
        (KEYS_A_STEP - 1,),
    ).rowcount
    if gone == KEYS_A_STEP:
        return True
    transaction.execute("DROP TABLE keys")
    transaction.committed.append(lambda: setattr(transaction.state, "old_keys", None))
    return False
