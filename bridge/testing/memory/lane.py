"""Events of one lane, lent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import trio
from attrs import define, field, frozen

from bridge.api import Stored
from bridge.api.spool import DeadLetter, Parking, Stale
from bridge.testing.memory.cursors import position_of
from bridge.testing.memory.life import Life
from bridge.testing.memory.queues import ParkedEvent, ParkedQueue

BEHIND = "waits behind earlier events of its device"


@frozen
class Stretch:
    """The next events of a lane, as one look found them."""

    position: int
    """Where the cursor is."""
    end: int
    """Where it goes when everything is settled: events that are not lent may follow the
    last one that is.
    """
    lent: tuple[Stored, ...]
    withheld: tuple[Stored, ...]
    """Of devices that are parked: parked behind the others of their device when what
    surrounds them is settled.
    """
    replay: bool


def pass_over(life: Life, sink: str, lane: int, stretch: Stretch, end: int, lent: int) -> None:
    """Move the cursor to ``end``, park what is withheld on the way, and count what was
    not wanted; ``lent`` events are counted by others.
    """
    cursors = life.store.cursors[sink]
    position = cursors[lane].position
    withheld = [
        stored for stored in stretch.withheld if position < position_of(stored.sequence) <= end
    ]
    now = life.running()
    for stored in withheld:
        life.store.park(
            sink, ParkedEvent(life.store.event(stored.sequence)), ParkedQueue(now, now, BEHIND)
        )
    unwanted = end - position - lent - len(withheld)
    cursors[lane] = cursors[lane].at(end).settled(unwanted, filtered=unwanted)


@define(eq=False)
class MemoryLease:
    """Events of one lane, lent."""

    _life: Life
    sink: str
    lane: int
    _stretch: Stretch
    _generation: int
    _release: Callable[[float], None]
    """Frees the lane, after so many seconds."""
    parked: bool = field(default=False, init=False)
    attempts: int = field(default=0, init=False)
    events: tuple[Stored, ...] = field(init=False)
    _position: int = field(init=False)
    _aside: set[str] = field(factory=set, init=False)
    """Devices of which it parked events."""
    _held: bool = field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        self.events = self._stretch.lent
        self._position = self._stretch.position

    @property
    def replay(self) -> bool:
        """Whether they are lent again after a rewind."""
        return self._stretch.replay

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
        await trio.lowlevel.checkpoint()
        if not 1 <= count <= len(self.events):
            raise ValueError(f"settle names {count} events of a lease of {len(self.events)}")
        check_counts(count, filtered, dead, sum(len(each.indexes) for each in park))
        check_parking(self.events, count, dead, park, self._aside)
        self._life.check_writes()
        self._check_fresh()
        end = (
            self._stretch.end
            if count == len(self.events)
            else position_of(self.events[count - 1].sequence)
        )
        self._apply(count, filtered, dead, park, end)
        self._aside.update(each.device for each in park)
        self._position = end
        self.events = self.events[count:]
        if not self.events:
            self._end_lease(rest)
        self._life.wake()

    def _check_fresh(self) -> None:
        if not self._held:
            raise Stale(f"the lease of lane {self.lane} of {self.sink} has ended")
        self._life.check_generation(self.sink, self._generation)
        position = self._life.store.cursors[self.sink][self.lane].position
        if position != self._position:
            raise Stale(
                f"lane {self.lane} of {self.sink} is at {position}, this lease began at "
                f"{self._position}"
            )

    def _apply(
        self,
        count: int,
        filtered: int,
        dead: Sequence[DeadLetter],
        park: Sequence[Parking],
        end: int,
    ) -> None:
        store, sink = self._life.store, self.sink
        events = [store.event(stored.sequence) for stored in self.events[:count]]
        pass_over(self._life, sink, self.lane, self._stretch, end, count)
        now = self._life.running()
        for each in park:
            for index in each.indexes:
                queue = ParkedQueue(now + each.after, now, each.why, each.attempts)
                store.park(sink, ParkedEvent(events[index]), queue)
        for letter in dead:
            store.add_letter(sink, events[letter.index], letter)
        done = count - sum(len(each.indexes) for each in park)
        cursors = store.cursors[sink]
        cursors[self.lane] = cursors[self.lane].settled(done, filtered=filtered, dead=len(dead))

    def give_back(self) -> None:
        """End the lease."""
        self._end_lease(0.0)

    def _end_lease(self, rest: float) -> None:
        if self._held:
            self._held = False
            self._release(rest)


def check_counts(count: int, filtered: int, dead: Sequence[DeadLetter], parked: int) -> None:
    """Refuse a settlement whose numbers cannot be."""
    indexes = {letter.index for letter in dead}
    if (
        len(indexes) < len(dead)
        or not indexes <= set(range(count))
        or not 0 <= filtered <= count - len(dead) - parked
    ):
        raise ValueError(
            f"settle of {count} events has {filtered} filtered, {parked} parked and dead letters "
            f"{sorted(indexes)}"
        )


def check_parking(
    events: Sequence[Stored],
    count: int,
    dead: Sequence[DeadLetter],
    park: Sequence[Parking],
    parked: Collection[str],
) -> None:
    """Refuse to park what would break the order of a device, or the balance.

    ``parked`` are devices that this lease parked before.
    """
    devices = [each.device for each in park]
    indexes = [index for each in park for index in each.indexes]
    aside = {*indexes, *(letter.index for letter in dead)}
    if len(set(devices)) < len(devices) or not all(each.indexes for each in park):
        raise ValueError(f"settle parks {devices}: name each device once, with its events")
    if len(aside) < len(indexes) + len(dead) or not aside <= set(range(count)):
        raise ValueError(
            f"settle of {count} events parks {indexes}: each index once, below the count, and no "
            f"dead letter"
        )
    for each in park:
        for index in each.indexes:
            if (device := events[index].event.device) != each.device:
                raise ValueError(
                    f"settle parks index {index} for device {each.device!r}, it is of {device!r}"
                )
    for index in range(count):
        device = events[index].event.device
        if index not in aside and (
            device in parked
            or any(each.device == device and index > min(each.indexes) for each in park)
        ):
            raise ValueError(
                f"settle parks events of device {device!r}, but not index {index} behind them: "
                f"park all of a device from its first parked event on"
            )
