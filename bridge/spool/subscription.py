"""The way out: the events of one sink, lent lane by lane.

    take ─▶ next lane with events that is not in hand ─▶ reader ─▶ lease
                 ▲ woken after each commit                   ├─ settle ─▶ writer
                                                             └─ give back: it is free

A subscription remembers where its cursors are, only to know which lanes have something:
the reader takes the cursor from the file each time, and the writer moves it only if it
is where the lease began. So it is no harm when somebody else moved it, or when nobody
knows whether a settle that was cancelled has been done.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial

import trio
from attrs import define, field, frozen

from bridge.api import RepeatedEvent, SpoolUnavailable, Stored
from bridge.api.spool import DeadLetter, Stale
from bridge.spool.operations import Settlement, position_of
from bridge.spool.read import NotOpenError, Question, ReadRequest, ReadResult, read
from bridge.spool.thread import DatabaseThread
from bridge.spool.transaction import WriterState
from bridge.spool.writer import Writer

# Seconds; what keeps a lane from being read or written is looked at again, should
# nobody tell that it is over.
AGAIN = 1.0


@frozen
class SpoolHandles:
    """What a subscription needs of its spool."""

    reader: DatabaseThread[Question]
    writer_state: WriterState
    settle: Callable[[Settlement], Awaitable[None]]
    begin_again: Callable[[str], Awaitable[None]]
    """Makes new cursors, from now on, for a sink that was purged while subscribed."""
    mark_untrusted: Callable[[sqlite3.Error], Awaitable[None]]
    """Has the file checked: it could not be read."""
    now: Callable[[], datetime]


@define(eq=False)
class SqliteSubscription:
    """The way out for one sink."""

    _handles: SpoolHandles
    sink: str
    batch: int
    sources: frozenset[str] | None
    _positions: dict[int, int]
    """By lane: where the cursor was when it was seen last; a lane that is not in it is
    looked at.
    """
    news: RepeatedEvent = field(factory=RepeatedEvent)
    """Set when there may be something to lend that was not there before."""
    _in_hand: set[int] = field(factory=set)
    _resting: dict[int, float] = field(factory=dict)
    """By lane: when it may be lent again, on trio's clock."""
    _turn: int = 0

    async def take(self, linger: float = 0.0) -> SqliteLease:
        """Lend the first events of the next lane that has some."""
        waited = False
        while True:
            lane = self._next_lane()
            if lane is None:
                with trio.move_on_at(min(self._resting.values(), default=math.inf)):
                    await self.news.wait()
                    waited = True  # not when a rest ended: what came meanwhile goes now
                continue
            if waited and linger:
                # Not for what was there at once: that has waited already.
                await trio.sleep(linger)
                waited = False
                continue
            self._in_hand.add(lane)
            lease = None
            try:
                lease = await self._lend(lane)
            except Stale:
                pass  # somebody else has been here: look again
            except (NotOpenError, SpoolUnavailable):
                await self._trouble_over()
            except sqlite3.Error as exc:
                await self._handles.mark_untrusted(exc)
                await self._trouble_over()
            finally:
                if lease is None:
                    self._in_hand.discard(lane)
            if lease is not None:
                return lease

    async def _trouble_over(self) -> None:
        with trio.move_on_after(AGAIN):
            await self.news.wait()

    def release(self, lane: int, position: int, rest: float = 0.0) -> None:
        """Let a lane be lent again, after so many seconds."""
        self._in_hand.discard(lane)
        self._positions[lane] = position
        if rest:
            self._resting[lane] = trio.current_time() + rest
        self.news.set()

    async def settle(self, settlement: Settlement) -> None:
        """Move the cursor."""
        await self._handles.settle(settlement)

    def _next_lane(self) -> int | None:
        heads = self._handles.writer_state.heads
        if self._resting:
            now = trio.current_time()
            self._resting = {lane: until for lane, until in self._resting.items() if until > now}
        for step in range(len(heads)):
            lane = (self._turn + step) % len(heads)
            held = lane in self._in_hand or lane in self._resting
            if not held and self._positions.get(lane, -1) < heads[lane]:
                self._turn = lane + 1
                return lane
        return None

    async def _lend(self, lane: int) -> SqliteLease | None:
        """Lend from a lane.

        None: it had nothing for this sink, and is settled as far as it was looked at.
        """
        found: ReadResult | None = await self._handles.reader.ask(
            partial(read, self._request(lane))
        )
        if found is None:
            self._positions.clear()
            await self._handles.begin_again(self.sink)
            return None
        self._positions[lane] = found.position
        if found.events:
            return SqliteLease(self, lane, found.events, found.position, found.end)
        passed = found.end - found.position
        end = found.end
        dead: tuple[tuple[int, DeadLetter], ...] = ()
        if found.unreadable is not None:
            end += 1
            why = f"cannot be read back: {found.unreadable}"
            dead = ((end, DeadLetter(0, why, None, 0, self._handles.now())),)
        if end > found.position:
            await self._handles.settle(
                Settlement(self.sink, lane, found.position, end, passed, dead)
            )
            self._positions[lane] = end
        return None

    def _request(self, lane: int) -> ReadRequest:
        # Before the sources: the writer adds a source before the head that covers its
        # first event.
        head = self._handles.writer_state.heads[lane]
        numbers = self._handles.writer_state.sources
        wanted = None
        if self.sources is not None:
            wanted = tuple(number for name, number in numbers.items() if name in self.sources)
        names = {number: name for name, number in numbers.items()}
        return ReadRequest(self.sink, lane, head, self.batch, wanted, names)


@define(eq=False)
class SqliteLease:
    """Events of one lane, lent."""

    _subscription: SqliteSubscription
    lane: int
    events: tuple[Stored, ...]
    _position: int
    """Where the cursor is as long as nobody else moves it."""
    _end: int
    """Where it goes with the last event: events that were not wanted may follow."""
    _held: bool = True

    async def settle(
        self, count: int, *, filtered: int = 0, dead: Sequence[DeadLetter] = (), rest: float = 0.0
    ) -> None:
        """Move the cursor over the first ``count`` events."""
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
        if not self._held:
            raise Stale(f"the lease of lane {self.lane} has ended")
        end = (
            self._end if count == len(self.events) else position_of(self.events[count - 1].sequence)
        )
        unwanted = end - self._position - count
        letters = tuple(
            (position_of(self.events[letter.index].sequence), letter) for letter in dead
        )
        settlement = Settlement(
            self._subscription.sink, self.lane, self._position, end, filtered + unwanted, letters
        )
        await self._subscription.settle(settlement)
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
            self._subscription.release(self.lane, self._position, rest)


@define(eq=False)
class CommitListener:
    """Wakes subscriptions when there is something new, and reports when the spool
    begins or ceases to refuse.
    """

    _writer: Writer
    _report: Callable[..., None]
    waiting: set[RepeatedEvent] = field(factory=set)
    """One for each subscription."""
    _heads: list[int] | None = None
    _reported: str | None = None

    def served(self) -> None:
        """Look at what changed.

        Runs in the loop before those who asked the writer go on.
        """
        if self._heads is not self._writer.state.heads:
            self._heads = self._writer.state.heads
            self.wake()
        if self._reported != self._writer.refusal:
            self._reported = self._writer.refusal
            self._report(self._reported or "stores events", problem=self._reported is not None)

    def wake(self) -> None:
        """Let every subscription look again."""
        for each in self.waiting:
            each.set()
