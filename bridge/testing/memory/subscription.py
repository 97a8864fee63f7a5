"""The way out for one sink."""

from __future__ import annotations

from functools import partial
from math import inf

import trio
from attrs import define, field

from bridge.api import Stored
from bridge.testing.memory.cursors import position_of
from bridge.testing.memory.lane import MemoryLease, Stretch, pass_over
from bridge.testing.memory.letters import stop_replay
from bridge.testing.memory.life import Life
from bridge.testing.memory.parked import MemoryParkedLease
from bridge.testing.memory.queues import ParkedQueue

# Seconds. The sum of running time and a float's rounding must not leave a device due in
# no time at all, for ever.
TICK = 1e-6


@define(eq=False)
class MemorySubscription:
    """The way out for one sink."""

    life: Life
    sink: str
    batch: int
    sources: frozenset[str] | None
    _in_hand: dict[int, MemoryLease] = field(factory=dict, init=False)
    """By lane."""
    _parked_in_hand: set[str] = field(factory=set, init=False)
    """Devices."""
    _resting: dict[int, float] = field(factory=dict, init=False)
    _turn: int = field(default=0, init=False)

    async def take(self, linger: float = 0.0) -> MemoryLease:
        """Lend the first events of the next lane that has some."""
        await trio.lowlevel.checkpoint()
        while (lease := self._lend()) is None:
            with trio.move_on_at(min(self._resting.values(), default=inf)):
                await self.life.change()
                await trio.sleep(linger)
        return lease

    def _lend(self) -> MemoryLease | None:
        lanes = self.life.store.lanes
        now = trio.current_time()
        self._resting = {lane: until for lane, until in self._resting.items() if until > now}
        for lane in [(self._turn + step) % lanes for step in range(lanes)]:
            if lane in self._in_hand or lane in self._resting:
                continue
            stretch = self._next_stretch(lane)
            # A device that is lent by itself may not be parked any more: a rewind took
            # its events back into the lane.
            if stretch and not any(
                stored.event.device in self._parked_in_hand for stored in stretch.lent
            ):
                self._turn = lane + 1
                lease = MemoryLease(
                    self.life,
                    self.sink,
                    lane,
                    stretch,
                    self.life.store.generations[self.sink],
                    partial(self._release, lane),
                )
                self._in_hand[lane] = lease
                return lease
        return None

    def _next_stretch(self, lane: int) -> Stretch | None:
        """Find the next events of a lane to lend; stretches without any are settled."""
        while (stretch := self._look(lane)) and not stretch.lent:
            if self.life.refuse_writes is not None:
                return None
            pass_over(self.life, self.sink, lane, stretch, stretch.end, 0)
            self.life.wake()
        return stretch

    def _look(self, lane: int) -> Stretch | None:
        cursor = self.life.cursors(self.sink)[lane]
        events = self.life.store.events.get(lane, [])
        replay = cursor.position < cursor.rewound
        end = cursor.rewound if replay else len(events)
        if cursor.position == end:
            return None
        lent: list[Stored] = []
        withheld: list[Stored] = []
        parked = self.life.store.queues(self.sink)
        for index in range(cursor.position, end):
            stored = events[index]
            if self.sources is not None and stored.source not in self.sources:
                continue
            if stored.event.device in parked:
                withheld.append(stored)
            elif len(lent) == self.batch:
                end = position_of(lent[-1].sequence)
                break
            else:
                lent.append(stored)
        return Stretch(cursor.position, end, tuple(lent), tuple(withheld), replay)

    def _release(self, lane: int, rest: float) -> None:
        del self._in_hand[lane]
        if rest:
            self._resting[lane] = trio.current_time() + rest
        self.life.wake()

    async def take_parked(self) -> MemoryParkedLease:
        """Lend the first events of the device that is due longest."""
        await trio.lowlevel.checkpoint()
        while True:
            waiting = sorted(self._free_queues(), key=lambda item: item[1].due)
            now = self.life.running()
            if waiting and waiting[0][1].due <= now + TICK:
                return self._lend_parked(*waiting[0])
            with trio.move_on_after(waiting[0][1].due - now if waiting else inf):
                await self.life.change()

    def _free_queues(self) -> list[tuple[str, ParkedQueue]]:
        held = self._parked_in_hand | {
            stored.event.device for lease in self._in_hand.values() for stored in lease.events
        }
        queues = self.life.store.queues(self.sink).items()
        return [(device, queue) for device, queue in queues if device not in held]

    def _lend_parked(self, device: str, queue: ParkedQueue) -> MemoryParkedLease:
        events = queue.first(self.batch)
        self._parked_in_hand.add(device)
        return MemoryParkedLease(
            self.life,
            self.sink,
            device,
            tuple(event.stored for event in events),
            queue.attempts,
            events[0].letter is not None,
            self.life.store.generations[self.sink],
            partial(self._parked_in_hand.discard, device),
        )

    async def stop_replay(self) -> int:
        """Make dead letters again of what is parked of a replay."""
        await trio.lowlevel.checkpoint()
        self.life.check_writes()
        count = stop_replay(self.life.store, self.sink)
        self.life.wake()
        return count
