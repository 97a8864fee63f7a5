"""The way in: from the sources, through one memory channel, into the spool.

    source ── outlet.emit ──▶ channel ──▶ writer ──▶ spool commit
                 ◀──── durable, or refused ───┘

Emits that wait while the disk is busy share the next commit: the slower the disk, the
larger the commits, and nobody had to choose a batch size. What is read back from a
vendor's history comes in by a door of its own, in small commits between those of the
live events, so that it does not hold them up.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import trio
from attrs import define, field

from bridge.api import Arrival, Event, Outlet, SpoolUnavailable, encode
from bridge.api.spool import Spool

log = logging.getLogger(__name__)

MAX_WAITERS = 500  # emits in one commit: bounds it, and with it the wait of the next emit


@define(eq=False)
class _Waiter:
    """One emit on its way."""

    arrivals: list[Arrival]
    settled: trio.Event = field(factory=trio.Event)
    refused: SpoolUnavailable | None = None


@define
class Intake:
    """What one source brought in since the bridge was started."""

    events: int = 0
    """Events acknowledged, duplicates included."""
    refused: int = 0
    """Events that the spool refused."""
    last: datetime | None = None
    """When the newest was acknowledged, UTC."""
    refused_since: datetime | None = None
    """When the spool first refused, or was too slow, since somebody took note of it;
    None if it did not.
    """
    devices: dict[str, float] = field(factory=dict)
    """Device to the time it was heard last, seconds since 1970; emptied by who watches
    the devices.
    """
    watched: bool = False
    """Whether somebody does, so that ``devices`` is kept."""

    def acknowledged(self, arrivals: Sequence[Arrival]) -> None:
        """Note what is on disk now."""
        received = arrivals[-1].received
        self.events += len(arrivals)
        self.last = received
        if self.watched:
            seconds = received.timestamp()
            for arrival in arrivals:
                self.devices[arrival.device] = seconds

    def not_acknowledged(self, count: int, since: datetime) -> None:
        """Note what was not stored, as far as its sender knows."""
        self.refused += count
        self.refused_since = self.refused_since or since


class Ingest:
    """The open way in."""

    def __init__(
        self, channel: trio.MemorySendChannel[_Waiter], spool: Spool, now: Callable[[], datetime]
    ) -> None:
        self._channel = channel
        self._spool = spool
        self._now = now
        self.intakes: dict[str, Intake] = {}
        """By name of the source."""

    def outlet(self, source: str) -> Outlet:
        """Give the outlet of a source."""
        return _SourceOutlet(
            source, self._channel, self._now, self.intakes.setdefault(source, Intake())
        )

    async def recover(self, source: str, events: Sequence[Event]) -> int:
        """Store events that were read back from a history; returns how many were new.
        Durable on return.

        They do not count as received: nobody called.

        :raises SpoolUnavailable: when the spool takes nothing now.
        :raises ValueError: when one of them cannot be stored whatever the spool does.
        """
        return await self._spool.append(_arrivals(source, events, self._now()))


class _SourceOutlet:
    def __init__(
        self,
        source: str,
        channel: trio.MemorySendChannel[_Waiter],
        now: Callable[[], datetime],
        intake: Intake,
    ) -> None:
        self._source = source
        self._channel = channel
        self._now = now
        self._intake = intake

    async def emit(self, *events: Event) -> None:
        """See :class:`bridge.api.Outlet`."""
        received = self._now()
        waiter = _Waiter(_arrivals(self._source, events, received))
        if not waiter.arrivals:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._channel.send(waiter)
            await waiter.settled.wait()
        except trio.Cancelled:
            self._intake.not_acknowledged(len(events), received)
            raise
        if waiter.refused is not None:
            self._intake.not_acknowledged(len(events), received)
            raise SpoolUnavailable(waiter.refused.reason, retry_after=waiter.refused.retry_after)
        self._intake.acknowledged(waiter.arrivals)


def _arrivals(source: str, events: Sequence[Event], received: datetime) -> list[Arrival]:
    return [
        Arrival(source, event.key, event.device, encode(event), received, event.former_keys)
        for event in events
    ]


@asynccontextmanager
async def open_ingest(spool: Spool, now: Callable[[], datetime]) -> AsyncIterator[Ingest]:
    """Open the way into a spool. On leaving, what was emitted before is committed."""
    sending, receiving = trio.open_memory_channel[_Waiter](MAX_WAITERS)
    async with trio.open_nursery() as writer, sending:
        writer.start_soon(_write, receiving, spool)
        yield Ingest(sending, spool, now)


async def _write(channel: trio.MemoryReceiveChannel[_Waiter], spool: Spool) -> None:
    """Take one emit, then all that already wait, commit, answer all."""
    async with channel:
        async for first in channel:
            waiters = [first, *_waiting(channel)]
            refused = await _append(
                [arrival for waiter in waiters for arrival in waiter.arrivals], spool
            )
            for waiter in waiters:
                waiter.refused = refused
                waiter.settled.set()


def _waiting(channel: trio.MemoryReceiveChannel[_Waiter]) -> list[_Waiter]:
    """Give those who wait behind the first."""
    waiters: list[_Waiter] = []
    try:
        while len(waiters) < MAX_WAITERS - 1:
            waiters.append(channel.receive_nowait())
    except (trio.WouldBlock, trio.EndOfChannel):
        pass  # nobody else waits now
    return waiters


async def _append(arrivals: list[Arrival], spool: Spool) -> SpoolUnavailable | None:
    try:
        await spool.append(arrivals)
    except SpoolUnavailable as refused:
        return refused
    except Exception:
        # A defect of the engine must not end the way in: nothing is acknowledged,
        # senders try again.
        log.exception("spool: append failed unexpectedly; nothing was acknowledged")
        return SpoolUnavailable("the spool failed unexpectedly")
    return None
