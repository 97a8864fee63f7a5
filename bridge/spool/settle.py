"""What a sink is through with, in the open transaction."""

from __future__ import annotations

from attrs import frozen

from bridge.api.spool import DeadLetter, Parking, Stale
from bridge.spool.letters import keep_letter
from bridge.spool.parking import park
from bridge.spool.schema import LANE_BITS
from bridge.spool.transaction import Transaction

_EVENT = "SELECT id, source, received, checksum, CAST(body AS BLOB) FROM events WHERE id = ?"


@frozen
class Settlement:
    """A move of one cursor."""

    sink: str
    lane: int
    generation: int
    position: int
    """Where the cursor must be."""
    end: int
    """Where it goes."""
    filtered: int
    dead: tuple[tuple[int, DeadLetter], ...] = ()
    """Positions and what is said of the events there."""
    parked: tuple[tuple[Parking, tuple[int, ...]], ...] = ()
    """Devices that have to wait, and the positions of their events."""
    withheld: tuple[tuple[str, int], ...] = ()
    """Devices and positions of events that were not lent, because their device was
    parked.
    """


def settle(transaction: Transaction, settlement: Settlement) -> None:
    """Move a cursor, keep dead letters, and park what has to wait.

    :raises Stale: when the cursor is not where it was expected.
    """
    sink, lane = settlement.sink, settlement.lane
    aside = sum(len(positions) for _, positions in settlement.parked) + len(settlement.withheld)
    dead = len(settlement.dead)
    passed = settlement.end - settlement.position
    moved = transaction.execute(
        "UPDATE cursors SET position = ?, delivered = delivered + ?, "
        "filtered = filtered + ?, dead = dead + ? "
        "WHERE sink = ? AND lane = ? AND position = ? AND generation = ?",
        (
            settlement.end,
            passed - settlement.filtered - dead - aside,
            settlement.filtered,
            dead,
            sink,
            lane,
            settlement.position,
            settlement.generation,
        ),
    )
    if moved.rowcount != 1:
        raise Stale(f"the cursor of {sink} in lane {lane} is no longer at {settlement.position}")
    first = lane << LANE_BITS
    for position, letter in settlement.dead:
        keep_letter(transaction, sink, letter, _EVENT, (first | position,))
    added = 0
    for parking, positions in settlement.parked:
        sequences = [first | position for position in positions]
        added += park(transaction, sink, lane, parking.device, sequences, parking)
    queues: dict[str, list[int]] = {}
    for device, position in settlement.withheld:
        queues.setdefault(device, []).append(first | position)
    for device, sequences in queues.items():
        added += park(transaction, sink, lane, device, sequences)
    if added != aside:
        # They were in the queue already, as letters of a purged life that are replayed:
        # then each of them is owed once, not twice.
        transaction.execute(
            "UPDATE cursors SET again = again - ? WHERE sink = ? AND lane = ?",
            (aside - added, sink, lane),
        )
