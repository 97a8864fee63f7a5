"""The way out: the events of one sink, lent lane by lane, and those of parked devices.

    take ─▶ next lane with events that is not in hand ─▶ reader ─▶ lease
                 ▲ woken after each commit                   ├─ settle ─▶ writer
                                                             └─ give back: it is free
    take_parked ─▶ the device that is due longest ─▶ reader ─▶ lease of it alone

A subscription remembers where its cursors are, only to know which lanes have something:
the reader takes the cursor from the file each time, and the writer moves it only if it
is where the lease began. So it is no harm when somebody else moved it, or when nobody
knows whether a settle that was cancelled has been done.

A device is in one lease at most. Its events are left out of its lane's leases while it
is parked, and it is not lent by itself while a lease of its lane holds it, or while
that lane is being read.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from functools import partial
from typing import Any

import trio
from attrs import define, field, frozen

from bridge.api import RepeatedEvent, SpoolUnavailable
from bridge.api.spool import DeadLetter, Stale
from bridge.spool.lease import LaneLease, ParkedLease
from bridge.spool.parking import ParkedSettlement, settle_parked
from bridge.spool.read import NotOpenError, Question, ReadRequest, ReadResult, read
from bridge.spool.read_parked import ParkedRequest, ParkedResult, read_due
from bridge.spool.replay import stop_replay
from bridge.spool.requests import Operation
from bridge.spool.settle import Settlement, settle
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
    write: Callable[[Operation], Awaitable[Any]]
    begin_again: Callable[[str], Awaitable[None]]
    """Makes new cursors, from now on, for a sink that was purged while subscribed."""
    mark_untrusted: Callable[[sqlite3.Error], Awaitable[None]]
    """Has the file checked: it could not be read."""
    now: Callable[[], datetime]
    running: Callable[[], float]
    """Seconds for which a bridge has run with this spool."""
    damaged: Callable[[str], None]
    """Told what cannot be read back."""


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
    _in_hand: dict[int, LaneLease | None] = field(factory=dict)
    """By lane: its lease; None while the lane is being read."""
    _parked_in_hand: set[str] = field(factory=set)
    """Devices that are lent by themselves."""
    _held_up: set[int] = field(factory=set)
    """Lanes with events of such a device, which is not parked any more: they wait until
    it is free.
    """
    _resting: dict[int, float] = field(factory=dict)
    """By lane: when it may be lent again, on trio's clock."""
    _turn: int = 0
    _moves: int = 0
    """As of when ``_positions`` were all true."""

    async def take(self, linger: float = 0.0) -> LaneLease:
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
            self._in_hand[lane] = lease = None
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
                    del self._in_hand[lane]
                    self.news.set()  # a parked device of it may have been left alone
            if lease is not None:
                self._in_hand[lane] = lease
                return lease

    async def take_parked(self) -> ParkedLease:
        """Lend the first events of the parked device that is due longest."""
        while True:
            news = self.news.upcoming()
            try:
                found = await self._find_due()
                if found.device in self._parked_in_hand:
                    continue  # somebody else took it while it was read
                if found.events:
                    self._parked_in_hand.add(found.device)
                    return ParkedLease(self, found)
                if found.unreadable is not None:
                    await self._bury(found)
                    continue
            except Stale:
                continue
            except (NotOpenError, SpoolUnavailable):
                await self._trouble_over()
                continue
            except sqlite3.Error as exc:
                await self._handles.mark_untrusted(exc)
                await self._trouble_over()
                continue
            wait = math.inf if found.due is None else found.due - self._handles.running()
            with trio.move_on_after(max(wait, 0.0)):
                await news.wait()

    async def stop_replay(self) -> int:
        """Make what is parked of a replay dead letters again."""
        stopped: int = await self._handles.write(partial(stop_replay, sink=self.sink))
        return stopped

    async def _trouble_over(self) -> None:
        with trio.move_on_after(AGAIN):
            await self.news.wait()

    def release(self, lane: int, position: int, rest: float = 0.0) -> None:
        """Let a lane be lent again, after so many seconds."""
        self._in_hand.pop(lane, None)
        self._positions[lane] = position
        if rest:
            self._resting[lane] = trio.current_time() + rest
        self.news.set()

    def release_parked(self, device: str) -> None:
        """Let a parked device be lent again when it is due."""
        self._parked_in_hand.discard(device)
        self._held_up.clear()
        self.news.set()

    async def settle(self, settlement: Settlement) -> None:
        """Move the cursor."""
        await self._handles.write(partial(settle, settlement=settlement))

    async def settle_parked(self, settlement: ParkedSettlement) -> None:
        """Take events from the front of a device's queue."""
        await self._handles.write(partial(settle_parked, settlement=settlement))

    def _next_lane(self) -> int | None:
        state = self._handles.writer_state
        heads = state.heads
        if self._moves != state.moves:
            self._moves = state.moves
            self._positions.clear()
        if self._resting:
            now = trio.current_time()
            self._resting = {lane: until for lane, until in self._resting.items() if until > now}
        for step in range(len(heads)):
            lane = (self._turn + step) % len(heads)
            held = lane in self._in_hand or lane in self._resting or lane in self._held_up
            if not held and self._positions.get(lane, -1) < heads[lane]:
                self._turn = lane + 1
                return lane
        return None

    async def _lend(self, lane: int) -> LaneLease | None:
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
            # One that was parked while this was read may be lent by itself already; or
            # a rewind took what is lent by itself back into the lane.
            if any(stored.event.device in self._parked_in_hand for stored in found.events):
                self._held_up.add(lane)
                return None
            return LaneLease(self, lane, found)
        passed = found.end - found.position - len(found.withheld)
        end = found.end
        dead: tuple[tuple[int, DeadLetter], ...] = ()
        if found.unreadable is not None:
            end += 1
            dead = ((end, self._unreadable(found.unreadable)),)
        if end > found.position:
            await self.settle(
                Settlement(
                    self.sink,
                    lane,
                    found.generation,
                    found.position,
                    end,
                    passed,
                    dead,
                    withheld=found.withheld,
                )
            )
            self._positions[lane] = end
        return None

    async def _find_due(self) -> ParkedResult:
        """Read the first events of the device that is due longest."""
        state = self._handles.writer_state
        if not state.parked.get(self.sink):
            await trio.lowlevel.checkpoint()
            return ParkedResult(None)
        held = set(self._parked_in_hand)
        for lease in self._in_hand.values():
            if lease is not None:
                held.update(stored.event.device for stored in lease.events)
        names = {known.id: name for name, known in state.sources.items()}
        request = ParkedRequest(self.sink, held, self._handles.running(), self.batch, names)
        found: ParkedResult = await self._handles.reader.ask(partial(read_due, request))
        lane = found.lane
        if found.events and lane in self._in_hand and not self._is_free(lane, found.device):
            return ParkedResult(None)  # until that lease ends, or the lane was read
        return found

    def _is_free(self, lane: int, device: str) -> bool:
        lease = self._in_hand[lane]
        return lease is not None and all(stored.event.device != device for stored in lease.events)

    async def _bury(self, found: ParkedResult) -> None:
        """Make a dead letter of the first event of a queue, which cannot be read."""
        assert found.unreadable is not None
        letter = self._unreadable(found.unreadable)
        await self.settle_parked(
            ParkedSettlement(
                self.sink,
                found.lane,
                found.generation,
                found.queue,
                found.device,
                (found.sequence,),
                (),
                0,
                ((found.sequence, letter),),
                None,
            )
        )

    def _unreadable(self, why: str) -> DeadLetter:
        self._handles.damaged(f"an event for {self.sink} cannot be read back: {why}")
        return DeadLetter(0, f"cannot be read back: {why}", None, 0, self._handles.now())

    def _request(self, lane: int) -> ReadRequest:
        # Before the sources: the writer adds a source before the head that covers its
        # first event.
        state = self._handles.writer_state
        head = state.heads[lane]
        sources = state.sources
        wanted = None
        if self.sources is not None:
            wanted = tuple(known.id for name, known in sources.items() if name in self.sources)
        names = {known.id: name for name, known in sources.items()}
        parked: Collection[str] = state.parked.get(self.sink, ())
        return ReadRequest(self.sink, lane, head, self.batch, wanted, names, parked)


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
    _parkings: int = 0
    _reported: str | None = None

    def served(self) -> None:
        """Look at what changed.

        Runs in the loop before those who asked the writer go on.
        """
        state = self._writer.state
        if self._heads is not state.heads or self._parkings != state.parkings:
            self._heads, self._parkings = state.heads, state.parkings
            self.wake()
        if self._reported != self._writer.refusal:
            self._reported = self._writer.refusal
            self._report(self._reported or "stores events", problem=self._writer.problem)

    def wake(self) -> None:
        """Let every subscription look again."""
        for each in self.waiting:
            each.set()
