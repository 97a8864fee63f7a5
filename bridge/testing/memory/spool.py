"""The spool over a :class:`MemoryStore`, with knobs to make things go wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal, TypeVar

import trio
from attrs import define, field

from bridge.api import Arrival, Size, SpoolUnavailable, encode
from bridge.api.spool import (
    Account,
    KeptLetter,
    LetterEvent,
    LetterFilter,
    ParkedDevice,
    Rewind,
)
from bridge.testing.memory import letters, moving
from bridge.testing.memory.keys import Key, is_known, keys_of
from bridge.testing.memory.life import Life
from bridge.testing.memory.queues import MemoryLetter
from bridge.testing.memory.state import MemoryState
from bridge.testing.memory.store import MemoryStore
from bridge.testing.memory.subscription import MemorySubscription

T = TypeVar("T")


@define(eq=False)
class MemorySpool(Life):
    """An open spool in memory."""

    refuse: str | None = field(default=None, kw_only=True)
    """Set to a reason: ``append`` raises SpoolUnavailable with it. None: it stores."""

    @property
    def refusal(self) -> str | None:
        """The reason that was set."""
        return self.refuse

    @property
    def commits(self) -> list[tuple[Arrival, ...]]:
        """The new arrivals of each append so far."""
        return self.store.commits

    @property
    def dead_letters(self) -> list[MemoryLetter]:
        """The dead letters that it keeps."""
        return list(self.store.letters.values())

    async def append(self, arrivals: Sequence[Arrival]) -> int:
        """Store events."""
        await trio.lowlevel.checkpoint()
        if self.refuse is not None:
            raise SpoolUnavailable(self.refuse)
        fresh: list[Arrival] = []
        new: set[Key] = set()
        for arrival in arrivals:
            salt = self.store.salt_of(arrival.source)
            if not is_known(arrival, salt, self.store.keys, new):
                fresh.append(arrival)
                new.update(keys_of(arrival, salt))
        self.store.keys |= new
        for arrival in fresh:
            self.store.append(arrival)
        if fresh:
            self.store.commits.append(tuple(fresh))
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
        max_backlog: Size | None = None,  # it measures nothing
        when_full: Literal["refuse", "expire"] = "refuse",
    ) -> AsyncIterator[MemorySubscription]:
        """Open the way out for a sink."""
        await trio.lowlevel.checkpoint()
        if sink not in self.store.cursors:
            self.store.begin(sink, start)
        yield MemorySubscription(self, sink, batch, None if sources is None else frozenset(sources))

    def state(self, instance: str) -> MemoryState:
        """Return what an instance keeps."""
        return MemoryState(self, self.store.state.setdefault(instance, {}))

    async def accounts(self, configured: Collection[str]) -> list[Account]:
        """Return the balance of every sink."""
        await trio.lowlevel.checkpoint()
        return [self._account(sink, sink not in configured) for sink in sorted(self.store.cursors)]

    def _account(self, sink: str, orphaned: bool) -> Account:
        cursors = self.store.cursors[sink]
        queues = self.store.queues(sink).values()
        parked = [event.stored for queue in queues for event in queue.events]
        heads = [self.store.head(lane) for lane in range(self.store.lanes)]
        waiting = [
            self.store.events[lane][cursor.position]
            for lane, cursor in enumerate(cursors)
            if cursor.position < heads[lane]
        ]
        return Account(
            sink,
            received=sum(heads) - sum(cursor.start for cursor in cursors),
            delivered=sum(cursor.delivered for cursor in cursors),
            filtered=sum(cursor.filtered for cursor in cursors),
            dead=sum(cursor.dead for cursor in cursors),
            expired=sum(cursor.expired for cursor in cursors),
            pending=sum(heads) - sum(cursor.position for cursor in cursors) + len(parked),
            oldest_pending=min((stored.received for stored in waiting + parked), default=None),
            orphaned=orphaned,
            again=sum(cursor.again for cursor in cursors),
            parked=len(parked),
            parked_devices=len(queues),
        )

    async def parked(self, sink: str, *, after: str = "", limit: int = 100) -> list[ParkedDevice]:
        """Return parked devices."""
        await trio.lowlevel.checkpoint()
        now = self.running()
        queues = sorted(self.store.queues(sink).items())
        return [
            ParkedDevice(
                sink,
                device,
                len(queue.events),
                queue.events[0].stored.received,
                now - queue.since,
                queue.due - now,
                queue.attempts,
                queue.why,
            )
            for device, queue in queues
            if device > after
        ][:limit]

    async def retry_parked(self, sink: str, device: str | None = None) -> int:
        """Make parked devices due now."""
        return await self._write(lambda: self._make_due(sink, device))

    def _make_due(self, sink: str, device: str | None) -> int:
        queues = self.store.queues(sink)
        chosen = [queue for name, queue in queues.items() if device in (None, name)]
        for queue in chosen:
            queue.due = min(queue.due, self.running())
        return len(chosen)

    async def letters(
        self, wanted: LetterFilter, *, after: int = 0, limit: int = 100
    ) -> list[KeptLetter]:
        """Return dead letters."""
        await trio.lowlevel.checkpoint()
        found = [kept.kept() for kept in self.dead_letters if letters.matches(kept, wanted)]
        return [kept for kept in found if kept.id > after][:limit]

    async def letter(self, number: int) -> LetterEvent | None:
        """Return a dead letter with its event."""
        await trio.lowlevel.checkpoint()
        found = self.store.letters.get(number)
        if found is None:
            return None
        return LetterEvent(found.kept(), found.stored, encode(found.stored.event))

    async def replay(self, numbers: Sequence[int]) -> int:
        """Park events of dead letters."""
        return await self._write(lambda: letters.replay(self.store, numbers, self.running()))

    async def drop(self, numbers: Sequence[int]) -> int:
        """Forget dead letters."""
        return await self._write(lambda: letters.drop(self.store, numbers))

    async def purge(self, sink: str) -> int:
        """Forget a sink."""
        return await self._write(lambda: moving.purge(self.store, sink))

    async def rename(self, sink: str, name: str) -> None:
        """Give what a sink owes and keeps another name."""
        await self._write(lambda: moving.rename_sink(self.store, sink, name))

    async def rename_source(self, source: str, name: str) -> None:
        """Give a source another name."""
        await self._write(lambda: moving.rename_source(self.store, source, name))

    async def rewind(self, sink: str, to: datetime, *, plan: bool = False) -> Rewind:
        """Make pending again what was received at a time or later; with ``plan``, only
        say what that would be.
        """
        return await self._write(lambda: moving.rewind(self.store, sink, to, plan=plan))

    async def _write(self, work: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint()
        self.check_writes()
        result = work()
        self.wake()
        return result


@asynccontextmanager
async def open_memory_spool(
    store: MemoryStore | None = None, *, lanes: int = 16
) -> AsyncIterator[MemorySpool]:
    """Open a spool in memory, over a store that was open before if one is given."""
    await trio.lowlevel.checkpoint()
    spool = MemorySpool(MemoryStore(lanes) if store is None else store)
    spool.running()
    try:
        yield spool
    finally:
        spool.close()
