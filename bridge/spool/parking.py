"""Devices that wait apart: their queues, in the open transaction.

A device is parked at a sink while it has rows in ``parked``. Which ones are, the writer
remembers as well, so that a reader leaves their events out without asking.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from attrs import frozen

from bridge.api.spool import DeadLetter, Parking, Stale
from bridge.spool.letters import keep_letter
from bridge.spool.transaction import Transaction

MILLISECONDS = 1000
NOW = Parking("", (), "", 0.0)
"""How events are parked behind others, or anew where the others are through."""


@frozen
class ParkedSettlement:
    """What became of the first events of a parked device."""

    sink: str
    lane: int
    generation: int
    queue: int
    """Number of the device's queue."""
    device: str
    sequences: tuple[int, ...]
    """Of the events that are done."""
    left: tuple[int, ...]
    """Of the other events that were lent."""
    filtered: int
    dead: tuple[tuple[int, DeadLetter], ...]
    """Sequences and what is said of the events there."""
    waits: Parking | None
    """Why and how long the rest waits; None: it is due at once."""


def park(
    transaction: Transaction,
    sink: str,
    lane: int,
    device: str,
    sequences: Sequence[int],
    parking: Parking = NOW,
) -> int:
    """Copy events of a lane into the queue of their device; returns how many were not
    in it yet.
    """
    queue = _queue(transaction, sink, lane, device, parking)
    before = _bytes(transaction, queue)
    added = 0
    for part in _parts(sequences):
        added += transaction.execute(
            "INSERT OR IGNORE INTO parked "
            "(device, sequence, source, received, checksum, since, letter, body) "
            "SELECT ?, id, source, received, checksum, ?, NULL, body FROM events "
            "WHERE id IN (SELECT value FROM json_each(?))",
            (queue, _milliseconds(transaction), json.dumps(part)),
        ).rowcount
    transaction.copied += _bytes(transaction, queue) - before
    refresh_queue(transaction, sink, device, queue)
    return added


def park_letter(
    transaction: Transaction, sink: str, lane: int, device: str, number: int, said: str
) -> bool:
    """Copy the event of a dead letter into the queue of its device, due now; returns
    whether it was not in it yet.

    :param said: what the letter says, in JSON.
    """
    queue = _queue(transaction, sink, lane, device, NOW)
    before = _bytes(transaction, queue)
    added = transaction.execute(
        "INSERT OR IGNORE INTO parked "
        "(device, sequence, source, received, checksum, since, letter, body) "
        "SELECT ?, sequence, source, received, checksum, ?, ?, body "
        "FROM letters JOIN letter_bodies USING (id) WHERE id = ?",
        (queue, _milliseconds(transaction), said, number),
    ).rowcount
    transaction.copied += _bytes(transaction, queue) - before
    transaction.execute(
        "UPDATE parked_devices SET due = min(due, ?) WHERE id = ?",
        (_milliseconds(transaction), queue),
    )
    refresh_queue(transaction, sink, device, queue)
    return added == 1


def settle_parked(transaction: Transaction, settlement: ParkedSettlement) -> None:
    """Take what is done from the front of a queue.

    :raises Stale: when it is not there any more.
    """
    sink, queue, count = settlement.sink, settlement.queue, len(settlement.sequences)
    lent = settlement.sequences + settlement.left
    # Not those below the last one: a replay may have put others before them.
    there = transaction.value(
        "SELECT count(*) FROM parked WHERE device = ? "
        "AND sequence IN (SELECT value FROM json_each(?)) "
        "AND EXISTS (SELECT 1 FROM cursors WHERE sink = ? AND lane = ? AND generation = ?)",
        (queue, json.dumps(lent), sink, settlement.lane, settlement.generation),
    )
    if there != len(lent):
        raise Stale(f"device {settlement.device!r} is no longer parked at {sink} as it was lent")
    for sequence, letter in settlement.dead:
        keep_letter(
            transaction,
            sink,
            letter,
            "SELECT sequence, source, received, checksum, body FROM parked "
            "WHERE device = ? AND sequence = ?",
            (queue, sequence),
        )
    transaction.execute(
        "DELETE FROM parked WHERE device = ? AND sequence IN (SELECT value FROM json_each(?))",
        (queue, json.dumps(settlement.sequences)),
    )
    transaction.execute(
        "UPDATE cursors SET delivered = delivered + ?, filtered = filtered + ?, dead = dead + ? "
        "WHERE sink = ? AND lane = ?",
        (
            count - settlement.filtered - len(settlement.dead),
            settlement.filtered,
            len(settlement.dead),
            sink,
            settlement.lane,
        ),
    )
    waits = settlement.waits
    transaction.execute(
        "UPDATE parked_devices SET due = ?, attempts = ?, why = iif(?, ?, why) WHERE id = ?",
        (
            _milliseconds(transaction, waits.after if waits else 0.0),
            waits.attempts if waits else 0,
            waits is not None,
            waits.why if waits else "",
            queue,
        ),
    )
    refresh_queue(transaction, sink, settlement.device, queue)


def retry_parked(transaction: Transaction, sink: str, device: str | None) -> int:
    """Make parked devices due now; returns how many."""
    found = transaction.execute(
        "UPDATE parked_devices SET due = ? WHERE sink = ? AND (? IS NULL OR device = ?)",
        (_milliseconds(transaction), sink, device, device),
    ).rowcount
    transaction.committed.append(transaction.state.parking_changed)
    return int(found)


def adopt_queue(transaction: Transaction, sink: str, lane: int, device: str, queue: int) -> int:
    """Give a sink the events of another sink's queue, but those that it has parked or
    dead itself; returns how many it got.
    """
    due, attempts, why = transaction.execute(
        "SELECT due, attempts, why FROM parked_devices WHERE id = ?", (queue,)
    ).fetchone()
    after = due / MILLISECONDS - transaction.running
    there = _queue(transaction, sink, lane, device, Parking(device, (), why, after, attempts))
    got = transaction.execute(
        "UPDATE OR IGNORE parked SET device = ? WHERE device = ? AND NOT EXISTS (SELECT 1 "
        "FROM letters l WHERE l.sink = ? AND NOT l.purged AND l.sequence = parked.sequence)",
        (there, queue, sink),
    ).rowcount
    transaction.execute("DELETE FROM parked WHERE device = ?", (queue,))
    transaction.execute("DELETE FROM parked_devices WHERE id = ?", (queue,))
    refresh_queue(transaction, sink, device, there)
    return int(got)


def forget_parked(transaction: Transaction, sink: str) -> int:
    """Forget all queues of a sink; returns how many events were in them."""
    count: int = transaction.value(
        "SELECT ifnull(sum(events), 0) FROM parked_devices WHERE sink = ?", (sink,)
    )
    transaction.execute(
        "DELETE FROM parked WHERE device IN (SELECT id FROM parked_devices WHERE sink = ?)",
        (sink,),
    )
    transaction.execute("DELETE FROM parked_devices WHERE sink = ?", (sink,))
    transaction.committed.append(lambda: transaction.state.forget_parked(sink))
    return count


def forget_parked_above(transaction: Transaction, sink: str, lane: int, sequence: int) -> int:
    """Take out of the queues what comes again with its lane; returns how much."""
    queues = transaction.execute(
        "SELECT id, device FROM parked_devices WHERE sink = ? AND lane = ?", (sink, lane)
    ).fetchall()
    gone = 0
    for queue, device in queues:
        removed = transaction.execute(
            "DELETE FROM parked WHERE device = ? AND sequence > ?", (queue, sequence)
        ).rowcount
        refresh_queue(transaction, sink, device, queue)
        gone += removed
    return gone


def refresh_queue(transaction: Transaction, sink: str, device: str, queue: int) -> None:
    """Look at the front of a queue that was changed; one that is empty goes.

    How much is in it a trigger counts.
    """
    state = transaction.state
    count = transaction.value("SELECT events FROM parked_devices WHERE id = ?", (queue,))
    if count:
        transaction.execute(
            "UPDATE parked_devices SET (oldest, since) = (SELECT received, since FROM parked "
            "WHERE device = :queue ORDER BY sequence LIMIT 1) WHERE id = :queue",
            {"queue": queue},
        )
    else:
        transaction.execute("DELETE FROM parked_devices WHERE id = ?", (queue,))
    transaction.committed.append(lambda: state.set_parked(sink, device, parked=bool(count)))


def _queue(transaction: Transaction, sink: str, lane: int, device: str, parking: Parking) -> int:
    """Return the number of a device's queue, which is made if there is none."""
    found = transaction.execute(
        "SELECT id FROM parked_devices WHERE sink = ? AND device = ?", (sink, device)
    ).fetchone()
    if found is not None:
        return int(found[0])
    made: int = transaction.value(
        "INSERT INTO parked_devices (sink, device, lane, due, attempts, why) "
        "VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        (
            sink,
            device,
            lane,
            _milliseconds(transaction, parking.after),
            parking.attempts,
            parking.why,
        ),
    )
    return made


def _bytes(transaction: Transaction, queue: int) -> int:
    return int(transaction.value("SELECT bytes FROM parked_devices WHERE id = ?", (queue,)))


def _milliseconds(transaction: Transaction, after: float = 0.0) -> int:
    return round((transaction.running + after) * MILLISECONDS)


def _parts(sequences: Sequence[int], size: int = 500) -> Iterable[Sequence[int]]:
    return (sequences[start : start + size] for start in range(0, len(sequences), size))
