"""A spool in memory: the twin of the engines on disk, for fast tests of everything that
moves events.

    async with open_memory_spool() as spool:
        await spool.append([...])
        assert spool.commits == [(...)]
        spool.refuse = "the disk is full"        # append raises SpoolUnavailable

It keeps the whole contract of ``bridge.api.spool`` except durability, and passes the
same contract suite. It has no thread, so a clock that jumps may be used. What a
:class:`MemoryStore` holds outlives the spool: open it again.

It is one module and longer than most, because the classes of the contract only make
sense side by side.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Literal

import orjson
import trio
from attrs import define, evolve, field, frozen

from bridge.api import JSON, Arrival, SpoolUnavailable, Stored, decode
from bridge.api.spool import Account, DeadLetter, Stale, lane_of

# sequence = lane * LANE + position, so that it is unique and ascends within a device.
LANE = 1 << 48


@frozen
class KeptLetter:
    """A dead letter as the spool keeps it."""

    sink: str
    stored: Stored
    letter: DeadLetter


@frozen
class Cursor:
    """How far one sink has come in one lane, and what became of the events below."""

    start: int
    position: int
    filtered: int = 0
    dead: int = 0

    @property
    def delivered(self) -> int:
        """Every event below the cursor is delivered, filtered or dead."""
        return self.position - self.start - self.filtered - self.dead


@define(eq=False)
class MemoryStore:
    """What a spool on disk would have on disk."""

    lanes: int = 16
    events: dict[int, list[Stored]] = field(factory=dict)
    """Events of each lane; the first has position 1."""
    keys: set[tuple[str, str]] = field(factory=set)
    cursors: dict[str, list[Cursor]] = field(factory=dict)
    """By sink, one for each lane."""
    dead_letters: list[KeptLetter] = field(factory=list)
    state: dict[str, dict[str, bytes]] = field(factory=dict)
    commits: list[tuple[Arrival, ...]] = field(factory=list)
    """The new arrivals of each append, in the order in which they were stored."""

    def head(self, lane: int) -> int:
        """Return the position of the newest event of a lane; 0 if it has none."""
        return len(self.events.get(lane, ()))


@define(eq=False)
class MemorySpool:
    """A spool over a :class:`MemoryStore`, with knobs to make things go wrong."""

    store: MemoryStore
    refuse: str | None = None
    """Set to a reason: ``append`` raises SpoolUnavailable with it. None: it stores."""
    refuse_writes: str | None = None
    """Set to a reason: ``settle`` and ``put`` raise it likewise."""
    _changed: trio.Event = field(factory=trio.Event)

    @property
    def refusal(self) -> str | None:
        """The reason that was set."""
        return self.refuse

    @property
    def commits(self) -> list[tuple[Arrival, ...]]:
        """The new arrivals of each append so far."""
        return self.store.commits

    @property
    def dead_letters(self) -> list[KeptLetter]:
        """The dead letters so far."""
        return self.store.dead_letters

    async def append(self, arrivals: Sequence[Arrival]) -> int:
        """Store events."""
        await trio.lowlevel.checkpoint()
        if self.refuse is not None:
            raise SpoolUnavailable(self.refuse)
        fresh: dict[tuple[str, str], Arrival] = {}
        for arrival in arrivals:
            keys = [(arrival.source, key) for key in (arrival.key, *arrival.former_keys)]
            if self.store.keys.isdisjoint(keys) and fresh.keys().isdisjoint(keys):
                fresh[keys[0]] = arrival
        self.store.keys.update(fresh)
        for arrival in fresh.values():
            lane = lane_of(arrival.device, self.store.lanes)
            events = self.store.events.setdefault(lane, [])
            sequence = lane * LANE + len(events) + 1
            events.append(Stored(sequence, arrival.source, arrival.received, decode(arrival.body)))
        if fresh:
            self.store.commits.append(tuple(fresh.values()))
            self.wake()
        return len(fresh)

    @asynccontextmanager
    async def subscribe(
        self,
        sink: str,
        *,
        batch: int,
        sources: Collection[str] | None = None,
        start: Literal["now", "beginning"] = "now",
    ) -> AsyncIterator[MemorySubscription]:
        """Open the way out for a sink."""
        await trio.lowlevel.checkpoint()
        if sink not in self.store.cursors:
            self._begin(sink, start)
        yield MemorySubscription(self, sink, batch, None if sources is None else frozenset(sources))

    def _begin(self, sink: str, start: Literal["now", "beginning"]) -> None:
        positions = [
            self.store.head(lane) if start == "now" else 0 for lane in range(self.store.lanes)
        ]
        self.store.cursors[sink] = [Cursor(position, position) for position in positions]

    def state(self, instance: str) -> MemoryState:
        """Return what an instance keeps."""
        return MemoryState(self, self.store.state.setdefault(instance, {}))

    async def accounts(self, configured: Collection[str]) -> list[Account]:
        """Return the balance of every sink."""
        await trio.lowlevel.checkpoint()
        return [self._account(sink, sink not in configured) for sink in sorted(self.store.cursors)]

    def _account(self, sink: str, orphaned: bool) -> Account:
        cursors = self.store.cursors[sink]
        waiting = [
            self.store.events[lane][cursor.position].received
            for lane, cursor in enumerate(cursors)
            if cursor.position < self.store.head(lane)
        ]
        return Account(
            sink,
            received=sum(
                self.store.head(lane) - cursor.start for lane, cursor in enumerate(cursors)
            ),
            delivered=sum(cursor.delivered for cursor in cursors),
            filtered=sum(cursor.filtered for cursor in cursors),
            dead=sum(cursor.dead for cursor in cursors),
            expired=0,
            pending=sum(
                self.store.head(lane) - cursor.position for lane, cursor in enumerate(cursors)
            ),
            oldest_pending=min(waiting, default=None),
            orphaned=orphaned,
        )

    async def purge(self, sink: str) -> int:
        """Forget a sink."""
        await trio.lowlevel.checkpoint()
        cursors = self.store.cursors.pop(sink, [])
        return sum(self.store.head(lane) - cursor.position for lane, cursor in enumerate(cursors))

    def wake(self) -> None:
        """Let every subscription look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def change(self) -> None:
        """Wait until something was stored, settled or given back."""
        await self._changed.wait()

    def cursors(self, sink: str) -> list[Cursor]:
        """Return the cursors of a subscribed sink.

        One that was purged meanwhile begins again, now.
        """
        if sink not in self.store.cursors:
            self._begin(sink, "now")
        return self.store.cursors[sink]


@define(eq=False)
class MemorySubscription:
    """The way out for one sink."""

    spool: MemorySpool
    sink: str
    batch: int
    sources: frozenset[str] | None
    _in_hand: set[int] = field(factory=set)
    _resting: dict[int, float] = field(factory=dict)
    _turn: int = 0

    async def take(self, linger: float = 0.0) -> MemoryLease:
        """Lend the first events of the next lane that has some."""
        await trio.lowlevel.checkpoint()
        while (lease := self._lend()) is None:
            with trio.move_on_at(min(self._resting.values(), default=inf)):
                await self.spool.change()
                await trio.sleep(linger)
        return lease

    def _lend(self) -> MemoryLease | None:
        lanes = self.spool.store.lanes
        now = trio.current_time()
        self._resting = {lane: until for lane, until in self._resting.items() if until > now}
        for lane in [(self._turn + step) % lanes for step in range(lanes)]:
            if lane not in self._in_hand | self._resting.keys() and (lease := self._look(lane)):
                self._turn = lane + 1
                self._in_hand.add(lane)
                return lease
        return None

    def _look(self, lane: int) -> MemoryLease | None:
        """Make a lease of the next events of a lane; a stretch that this sink does not
        want is passed over.
        """
        cursor = self.spool.cursors(self.sink)[lane]
        events = self.spool.store.events.get(lane, [])
        wanted = [
            stored
            for stored in events[cursor.position :]
            if self.sources is None or stored.source in self.sources
        ]
        if len(wanted) > self.batch:
            wanted = wanted[: self.batch]
            end = wanted[-1].sequence % LANE
        else:
            end = len(events)
        if wanted:
            return MemoryLease(self, lane, cursor.position, end, tuple(wanted))
        if self.spool.refuse_writes is None:
            passed = evolve(cursor, position=end, filtered=cursor.filtered + end - cursor.position)
            self.spool.cursors(self.sink)[lane] = passed
        return None

    def release(self, lane: int, rest: float = 0.0) -> None:
        """Let a lane be lent again, after so many seconds."""
        self._in_hand.discard(lane)
        if rest:
            self._resting[lane] = trio.current_time() + rest
        self.spool.wake()


@define(eq=False)
class MemoryLease:
    """Events of one lane, lent."""

    _subscription: MemorySubscription
    lane: int
    _position: int
    """Where the cursor is as long as nobody else moved it."""
    _end: int
    """Where the cursor goes when everything is settled: events that were not wanted may
    follow the last one lent.
    """
    events: tuple[Stored, ...]
    _held: bool = True

    async def settle(
        self, count: int, *, filtered: int = 0, dead: Sequence[DeadLetter] = (), rest: float = 0.0
    ) -> None:
        """Move the cursor over the first ``count`` events."""
        await trio.lowlevel.checkpoint()
        indexes = {letter.index for letter in dead}
        if not 1 <= count <= len(self.events):
            raise ValueError(f"settle names {count} events of a lease of {len(self.events)}")
        if (
            len(indexes) < len(dead)
            or not indexes <= set(range(count))
            or not 0 <= filtered <= count - len(dead)
        ):
            raise ValueError(
                f"settle of {count} events has {filtered} filtered and dead letters "
                f"{sorted(indexes)}"
            )
        spool, sink = self._subscription.spool, self._subscription.sink
        if spool.refuse_writes is not None:
            raise SpoolUnavailable(spool.refuse_writes)
        cursors = spool.cursors(sink)
        cursor = cursors[self.lane]
        if not self._held or cursor.position != self._position:
            raise Stale(
                f"lane {self.lane} of {sink} is at {cursor.position}, this lease began at "
                f"{self._position}"
            )
        end = self._end if count == len(self.events) else self.events[count - 1].sequence % LANE
        unwanted = end - self._position - count
        cursors[self.lane] = Cursor(
            cursor.start,
            end,
            filtered=cursor.filtered + filtered + unwanted,
            dead=cursor.dead + len(dead),
        )
        spool.dead_letters.extend(
            KeptLetter(sink, self.events[letter.index], letter) for letter in dead
        )
        self._position = end
        self.events = self.events[count:]
        if not self.events:
            self._end_lease(rest)

    def give_back(self) -> None:
        """End the lease."""
        self._end_lease(0.0)

    def _end_lease(self, rest: float) -> None:
        if self._held:
            self._held = False
            self._subscription.release(self.lane, rest)


@define(eq=False)
class MemoryState:
    """The memory of one instance."""

    spool: MemorySpool
    _values: dict[str, bytes]

    def get(self, key: str) -> JSON:
        """Return the value, or None."""
        value = self._values.get(key)
        return None if value is None else orjson.loads(value)

    async def put(self, key: str, value: JSON) -> None:
        """Store a value; None removes the key."""
        await trio.lowlevel.checkpoint()
        if self.spool.refuse_writes is not None:
            raise SpoolUnavailable(self.spool.refuse_writes)
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = orjson.dumps(value)


@asynccontextmanager
async def open_memory_spool(
    store: MemoryStore | None = None, *, lanes: int = 16
) -> AsyncIterator[MemorySpool]:
    """Open a spool in memory, over a store that was open before if one is given."""
    await trio.lowlevel.checkpoint()
    yield MemorySpool(MemoryStore(lanes) if store is None else store)
