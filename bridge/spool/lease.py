"""What is lent of a lane, or of one parked device, until it is settled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import define, evolve, field

from bridge.api import Stored
from bridge.api.spool import DeadLetter, Parking, Stale
from bridge.spool.parking import ParkedSettlement
from bridge.spool.read import ReadResult
from bridge.spool.read_parked import ParkedResult
from bridge.spool.schema import POSITION
from bridge.spool.settle import Settlement


class Lender(Protocol):
    """What a lease needs of the subscription that lent it."""

    @property
    def sink(self) -> str: ...

    async def settle(self, settlement: Settlement) -> None: ...

    async def settle_parked(self, settlement: ParkedSettlement) -> None: ...

    def release(self, lane: int, position: int, rest: float = 0.0) -> None: ...

    def release_parked(self, device: str) -> None: ...


@define(eq=False)
class LaneLease:
    """Events of one lane, lent."""

    _lender: Lender
    lane: int
    _found: ReadResult = field(repr=False)
    events: tuple[Stored, ...] = field(init=False)
    _position: int = field(init=False)
    """Where the cursor is as long as nobody else moves it."""
    _parked: set[str] = field(factory=set, init=False)
    """Devices that were parked by this lease."""
    _held: bool = field(default=True, init=False)

    parked = False
    attempts = 0

    def __attrs_post_init__(self) -> None:
        self.events = self._found.events
        self._position = self._found.position
        self._found = evolve(self._found, events=())  # or it would keep what was settled

    @property
    def replay(self) -> bool:
        """Whether the events are lent again after a rewind."""
        return self._found.replay

    async def settle(
        self,
        count: int,
        *,
        filtered: int = 0,
        dead: Sequence[DeadLetter] = (),
        park: Sequence[Parking] = (),
        rest: float = 0.0,
    ) -> None:
        """Move the cursor over the first ``count`` events."""
        if not 1 <= count <= len(self.events):
            raise ValueError(f"settle names {count} events of a lease of {len(self.events)}")
        check_settlement(self.events, count, filtered, dead, park)
        self._check_order(count, dead, park)
        if not self._held:
            raise Stale(f"the lease of lane {self.lane} has ended")
        found = self._found
        end = found.end if count == len(self.events) else _position(self.events[count - 1])
        withheld = tuple(each for each in found.withheld if self._position < each[1] <= end)
        unwanted = end - self._position - count - len(withheld)
        settlement = Settlement(
            self._lender.sink,
            self.lane,
            found.generation,
            self._position,
            end,
            filtered + unwanted,
            tuple((_position(self.events[letter.index]), letter) for letter in dead),
            tuple(
                (each, tuple(_position(self.events[index]) for index in each.indexes))
                for each in park
            ),
            withheld,
        )
        await self._lender.settle(settlement)
        self._position = end
        self._parked.update(each.device for each in park)
        self.events = self.events[count:]
        if not self.events:
            self._end(rest)

    def _check_order(self, count: int, dead: Sequence[DeadLetter], park: Sequence[Parking]) -> None:
        """Check that nothing is delivered that has to wait behind what was parked."""
        aside = {letter.index for letter in dead}.union(*(each.indexes for each in park))
        for index in set(range(count)) - aside:
            if (device := self.events[index].event.device) in self._parked:
                raise ValueError(
                    f"settle delivers event {index} of device {device!r}, which is parked"
                )

    def give_back(self) -> None:
        """End the lease."""
        self._end(0.0)

    def _end(self, rest: float) -> None:
        if self._held:
            self._held = False
            self._lender.release(self.lane, self._position, rest)


@define(eq=False)
class ParkedLease:
    """The first events of one parked device, lent."""

    _lender: Lender
    _found: ParkedResult = field(repr=False)
    events: tuple[Stored, ...] = field(init=False)
    _held: bool = field(default=True, init=False)
    _begun: bool = field(default=False, init=False)
    """Whether its first event was settled."""

    parked = True

    def __attrs_post_init__(self) -> None:
        self.events = self._found.events
        self._found = evolve(self._found, events=())  # or it would keep what was settled

    @property
    def lane(self) -> int:
        """Number of the device's lane."""
        return self._found.lane

    @property
    def attempts(self) -> int:
        """Attempts that were made for the first event."""
        return 0 if self._begun else self._found.attempts

    @property
    def replay(self) -> bool:
        """Whether the events were dead letters."""
        return self._found.replay

    async def settle(
        self,
        count: int,
        *,
        filtered: int = 0,
        dead: Sequence[DeadLetter] = (),
        park: Sequence[Parking] = (),
        rest: float = 0.0,  # a device has no use for it: it is due or waits
    ) -> None:
        """Take the first ``count`` events from the queue."""
        if not 0 <= count <= len(self.events) or not (count or park):
            raise ValueError(f"settle names {count} events of a lease of {len(self.events)}")
        if len(park) > 1 or any(each.indexes or each.device != self._found.device for each in park):
            raise ValueError("settle of a parked device parks another one, or events")
        check_settlement(self.events, count, filtered, dead, ())
        if not self._held:
            raise Stale(f"the lease of device {self._found.device!r} has ended")
        found = self._found
        settlement = ParkedSettlement(
            self._lender.sink,
            found.lane,
            found.generation,
            found.queue,
            found.device,
            tuple(stored.sequence for stored in self.events[:count]),
            tuple(stored.sequence for stored in self.events[count:]),
            filtered,
            tuple((self.events[letter.index].sequence, letter) for letter in dead),
            park[0] if park else None,
        )
        await self._lender.settle_parked(settlement)
        self.events = self.events[count:]
        self._begun = self._begun or count > 0
        if not self.events or park:
            self.give_back()

    def give_back(self) -> None:
        """End the lease."""
        if self._held:
            self._held = False
            self._lender.release_parked(self._found.device)


def check_settlement(
    events: Sequence[Stored],
    count: int,
    filtered: int,
    dead: Sequence[DeadLetter],
    park: Sequence[Parking],
) -> None:
    """Check what is said of the first ``count`` events.

    :raises ValueError: if it contradicts itself.
    """
    indexes = {letter.index for letter in dead}
    if (
        len(indexes) < len(dead)
        or not indexes <= set(range(count))
        or not 0 <= filtered <= count - len(dead)
    ):
        raise ValueError(
            f"settle of {count} events has {filtered} filtered and dead letters {sorted(indexes)}"
        )
    aside = [index for each in park for index in each.indexes]
    devices = {each.device for each in park}
    if (
        len(devices) < len(park)
        or len({*aside, *indexes}) < len(aside) + len(indexes)
        or not set(aside) <= set(range(count))
        or filtered + len(aside) + len(dead) > count
    ):
        raise ValueError(f"settle of {count} events parks {sorted(aside)} of {sorted(devices)}")
    for each in park:
        if not each.indexes:
            raise ValueError(f"settle parks nothing of device {each.device!r}")
        whole = [index for index in range(count) if events[index].event.device == each.device]
        if not set(each.indexes) <= set(whole) or any(
            index not in each.indexes and index not in indexes
            for index in whole
            if index > each.indexes[0]
        ):
            raise ValueError(
                f"settle parks {list(each.indexes)} of device {each.device!r}, expected its last "
                "events"
            )


def _position(stored: Stored) -> int:
    return stored.sequence & POSITION
