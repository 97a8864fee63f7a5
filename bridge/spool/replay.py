"""Dead letters that come back, and those that must stop coming, in the open
transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from bridge.spool.letters import forget_letter, restore_letters
from bridge.spool.parking import park_letter, refresh_queue
from bridge.spool.schema import LANE_BITS, POSITION
from bridge.spool.transaction import Transaction


def replay(transaction: Transaction, numbers: Sequence[int]) -> int:
    """Park the events of dead letters, due now; returns how many letters went."""
    return sum(_replay(transaction, number) for number in sorted(set(numbers)))


def _replay(transaction: Transaction, number: int) -> int:
    found = transaction.execute(
        "SELECT l.sink, device, sequence, position, reason, status, attempts, time, purged "
        "FROM letters l JOIN cursors c ON c.sink = l.sink AND c.lane = l.sequence >> ? "
        "WHERE id = ? AND device IS NOT NULL",
        (LANE_BITS, number),
    ).fetchone()
    if found is None:
        return 0
    sink, device, sequence, position, *said = found
    lane, purged = sequence >> LANE_BITS, said[-1]
    if purged:
        twin = transaction.execute(
            "SELECT id FROM letters WHERE sink = ? AND sequence = ? AND NOT purged",
            (sink, sequence),
        ).fetchone()
        if twin is not None:
            # The same event is a letter of today's life: an event is owed once.
            forget_letter(transaction, number)
            return 1 + _replay(transaction, *twin)
    put_back = False
    if sequence & POSITION <= position:  # else its lane brings it
        text = orjson.dumps(said).decode()
        put_back = park_letter(transaction, sink, lane, device, number, text)
    forget_letter(transaction, number)
    # One that waits already was put back by the letter of a purged life: it is owed
    # once, whichever letter comes first.
    again = put_back if purged else put_back - 1
    transaction.execute(
        "UPDATE cursors SET dead = dead - ?, again = again + ? WHERE sink = ? AND lane = ?",
        (not purged, again, sink, lane),
    )
    return 1


def stop_replay(transaction: Transaction, sink: str) -> int:
    """Make what is parked of a replay dead letters again, as they were; returns how
    many.
    """
    queues = transaction.execute(
        "SELECT DISTINCT d.id, d.device, d.lane FROM parked_devices d "
        "JOIN parked p ON p.device = d.id WHERE d.sink = ? AND p.letter IS NOT NULL",
        (sink,),
    ).fetchall()
    stopped = 0
    for queue, device, lane in queues:
        dead, purged = restore_letters(transaction, sink, queue, device)
        transaction.execute(
            "UPDATE cursors SET dead = dead + ?, again = again - ? WHERE sink = ? AND lane = ?",
            (dead, purged, sink, lane),
        )
        refresh_queue(transaction, sink, device, queue)
        stopped += dead + purged
    return stopped
