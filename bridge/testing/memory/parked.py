"""The first events of a parked device, lent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio
from attrs import define, field

from bridge.api import Stored
from bridge.api.spool import DeadLetter, Parking, Stale
from bridge.testing.memory.cursors import lane_part
from bridge.testing.memory.lane import check_counts
from bridge.testing.memory.life import Life


@define(eq=False)
class MemoryParkedLease:
    """The first events of a parked device, lent."""

    _life: Life
    sink: str
    device: str
    events: tuple[Stored, ...]
    attempts: int
    replay: bool
    _generation: int
    _release: Callable[[], None]
    parked: bool = field(default=True, init=False)
    _held: bool = field(default=True, init=False)

    lane: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.lane = lane_part(self.events[0].sequence)

    async def settle(
        self,
        count: int,
        *,
        filtered: int = 0,
        dead: Sequence[DeadLetter] = (),
        park: Sequence[Parking] = (),
        rest: float = 0.0,
    ) -> None:
        """Take the first ``count`` events from the queue; with ``park`` what is left
        waits on, and the lease ends.
        """
        await trio.lowlevel.checkpoint()
        self._check(count, filtered, dead, park)
        self._life.check_writes()
        self._check_fresh()
        self._apply(count, filtered, dead, park)
        self.events = self.events[count:]
        self.attempts = 0 if count else self.attempts
        if park or not self.events:
            self.give_back()
        self._life.wake()

    def _check(
        self, count: int, filtered: int, dead: Sequence[DeadLetter], park: Sequence[Parking]
    ) -> None:
        if not (0 if park else 1) <= count <= len(self.events):
            raise ValueError(
                f"settle names {count} events of a parked lease of {len(self.events)}, expected "
                f"at least 1, or 0 with park"
            )
        check_counts(count, filtered, dead, 0)
        if any(each.device != self.device or each.indexes for each in park) or len(park) > 1:
            raise ValueError(
                f"settle of parked events of device {self.device!r} has {list(park)}, expected at "
                f"most one Parking, of this device, without indexes: what is left waits on"
            )

    def _check_fresh(self) -> None:
        if not self._held:
            raise Stale(f"the lease of parked device {self.device!r} of {self.sink} has ended")
        self._life.check_generation(self.sink, self._generation)
        queue = self._life.store.queues(self.sink).get(self.device)
        lent = [stored.sequence for stored in self.events]
        if queue is None or not set(lent) <= set(queue.sequences):
            raise Stale(
                f"events {lent} of device {self.device!r} are not parked at {self.sink} any more"
            )

    def _apply(
        self, count: int, filtered: int, dead: Sequence[DeadLetter], park: Sequence[Parking]
    ) -> None:
        store, sink = self._life.store, self.sink
        queue = store.parked[sink][self.device]
        store.unpark(sink, self.device, [stored.sequence for stored in self.events[:count]])
        for letter in dead:
            store.add_letter(sink, store.event(self.events[letter.index].sequence), letter)
        cursors = store.cursors[sink]
        cursors[self.lane] = cursors[self.lane].settled(count, filtered=filtered, dead=len(dead))
        now = self._life.running()
        if count == len(self.events):
            queue.due, queue.attempts = now, 0
        elif park:
            (parking,) = park
            queue.due, queue.attempts = now + parking.after, parking.attempts
            queue.why = parking.why
        elif count:
            queue.attempts = 0

    def give_back(self) -> None:
        """End the lease: the device is due when it was."""
        if self._held:
            self._held = False
            self._release()
            self._life.wake()
