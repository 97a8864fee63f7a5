"""An admin address over the real HTTP server, and behind it a bridge in memory that a
test can put into any state.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import httpx
import pytest
import trio
from attrs import define, field

from bridge.admin.health import answer
from bridge.admin.status import Observer
from bridge.api import Arrival, Event, NetworkAddress, Reading, SpoolUnavailable, encode
from bridge.api.spool import Account, DeadLetter, Parking
from bridge.flow.ingest import Intake
from bridge.flow.instances.board import Board
from bridge.http.server import serve
from bridge.http.settings import ListenerSettings
from bridge.testing.fakes import START, FixedClock
from bridge.testing.memory import MemorySpool, MemoryStore


@define(eq=False)
class Bridge:
    """What an admin address shows."""

    instance: str = "office"
    clock: FixedClock = field(factory=lambda: FixedClock(START + timedelta(days=3)))
    spool: MemorySpool = field(factory=lambda: MemorySpool(MemoryStore()))
    board: Board = field(init=False)
    intakes: dict[str, Intake] = field(factory=dict)
    sources: dict[str, str] = field(factory=dict)
    sinks: dict[str, str] = field(factory=dict)
    configured: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        self.board = Board(self.clock)

    async def begin(self, sink: str) -> None:
        """Let the spool know a sink."""
        async with self.spool.subscribe(sink, batch=10):
            pass

    async def store(self, count: int, *, device: str = "d1") -> None:
        received = self.clock()
        events = [
            Event(f"{device}-{number}", device, "t", received, (Reading("t", 1, received),))
            for number in range(count)
        ]
        await self.spool.append(
            [Arrival("s", event.key, device, encode(event), received) for event in events]
        )

    async def park(self, sink: str, *devices: str, why: str) -> None:
        """Let these devices wait apart at a sink, behind a dead letter."""
        async with self.spool.subscribe(sink, batch=1, start="beginning") as subscription:
            await self.store(1, device="dead")
            letter = DeadLetter(0, "400: not wanted", 400, 1, self.clock())
            await (await subscription.take()).settle(1, dead=[letter])
            for device in devices:
                await self.store(1, device=device)
                lease = await subscription.take()
                await lease.settle(1, park=[Parking(device, (0,), why, 60.0, attempts=1)])

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[httpx.AsyncClient]:
        """Serve the admin address on loopback, and give a client of it."""
        observer = Observer(
            instance=self.instance,
            started=START,
            now=self.clock,
            spool=self.spool,
            board=self.board,
            intakes=self.intakes,
            sources=self.sources,
            sinks=self.sinks,
            configured=self.configured or tuple(self.sinks),
        )
        settings = ListenerSettings(address=NetworkAddress("127.0.0.1", 0))
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            handle = partial(answer, observer=observer)
            await nursery.start(
                partial(serve, listeners, handle, settings, grace=0.0, name="admin")
            )
            with trio.fail_after(10):
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                    yield client
            nursery.cancel_scope.cancel()


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


class Unreadable(MemorySpool):
    """A spool whose file was damaged and is being opened again."""

    async def accounts(self, configured: Collection[str]) -> list[Account]:
        await trio.lowlevel.checkpoint()
        raise SpoolUnavailable("the spool is being opened again")


@pytest.fixture
def unreadable() -> Unreadable:
    return Unreadable(MemoryStore())
