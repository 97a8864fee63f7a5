"""A sink, or a device of it, that a person has paused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import define, field

from bridge.api import Batch, Retry
from bridge.api.spool import Account
from bridge.flow.delivery.feeder import Delivery
from bridge.flow.delivery.pacing import Policy
from bridge.flow.instances.grace_period import GracePeriod
from bridge.flow.instances.hold import Hold
from bridge.testing.arrivals import arrivals
from bridge.testing.fakes import FakeReport, FakeState, FixedClock
from bridge.testing.memory import MemorySpool, MemoryStore

POLICY = Policy(
    batch=10,
    in_flight=2,
    timeout=30.0,
    linger=0.0,
    retry_base=1.0,
    retry_cap=60.0,
    pause_probe=300.0,
    reject_limit=20,
    one_device=False,
)


@define(eq=False)
class Desk:
    """A sink over a spool in memory, and who pauses it."""

    spool: MemorySpool = field(factory=lambda: MemorySpool(MemoryStore(lanes=2)))
    hold: Hold = field(factory=lambda: Hold("sink:shelf", FakeState(), FakeReport(), FixedClock()))
    taken: list[str] = field(factory=list)
    """Devices of the events that were delivered."""
    behave: Callable[[Batch], None] = lambda _batch: None
    attempts: int = 0

    async def deliver(self, batch: Batch) -> None:
        self.attempts += 1
        await trio.lowlevel.checkpoint()
        self.behave(batch)
        self.taken += [stored.event.device for stored in batch.events]

    async def store(self, *devices: str) -> None:
        for device in devices:
            number = len(self.spool.commits)
            await self.spool.append(arrivals(f"k{number}", device=device))

    async def account(self) -> Account:
        (account,) = await self.spool.accounts(["shelf"])
        assert account.balanced
        return account

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        async with (
            self.spool.subscribe("shelf", batch=POLICY.batch) as subscription,
            trio.open_nursery() as nursery,
        ):
            delivery = Delivery(
                self,
                subscription,
                POLICY,
                name="shelf",
                spool=self.spool,
                grace_period=GracePeriod(),
                report=FakeReport(),
                now=FixedClock(),
                random=lambda: 0.5,
                hold=self.hold,
            )
            nursery.start_soon(delivery.run)
            yield
            nursery.cancel_scope.cancel()


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_paused_sink_makes_no_attempt_until_it_is_resumed(desk: Desk, autojump_clock):
    await desk.hold.pause()
    async with desk.delivering():
        await desk.store("d1", "d2", "d3")
        await trio.sleep(10_000)
        assert desk.attempts == 0
        assert (await desk.account()).pending == 3
        await desk.hold.resume()
        await trio.sleep(10)
    assert sorted(desk.taken) == ["d1", "d2", "d3"]


async def test_what_is_in_hand_when_a_sink_is_paused_waits_too(desk: Desk, autojump_clock):
    def fail(batch: Batch) -> None:
        raise Retry("503")

    desk.behave = fail
    async with desk.delivering():
        await desk.store("d1", "d2", "d3")
        await trio.sleep(100)
        await desk.hold.pause()
        attempts = desk.attempts
        assert attempts > 1
        await trio.sleep(10_000)
        assert desk.attempts == attempts
        desk.behave = lambda batch: None
        await desk.hold.resume()
        await trio.sleep(100)
    assert sorted(desk.taken) == ["d1", "d2", "d3"]


async def test_parked_devices_of_a_paused_sink_wait_too(desk: Desk, autojump_clock):
    def park(batch: Batch) -> None:
        raise Retry("404", scope="device")

    desk.behave = park
    async with desk.delivering():
        await desk.store("d1")
        await trio.sleep(5)
        assert (await desk.account()).parked == 1
        await desk.hold.pause()
        attempts = desk.attempts
        await trio.sleep(10_000)
        assert desk.attempts == attempts
        desk.behave = lambda batch: None
        await desk.hold.resume()
        await trio.sleep(10_000)
    assert desk.taken == ["d1"]


async def test_a_paused_device_waits_apart_and_others_go_on(desk: Desk, autojump_clock):
    await desk.hold.pause_device("d1", "its meter is exchanged")
    async with desk.delivering():
        await desk.store("d1", "d2", "d1", "d3", "d1")
        await trio.sleep(10_000)
        assert sorted(desk.taken) == ["d2", "d3"]
        (parked,) = await desk.spool.parked("shelf")
        assert (parked.device, parked.events, parked.attempts) == ("d1", 3, 0)
        assert parked.why.endswith(": its meter is exchanged")
        await desk.hold.resume_device("d1")
        await desk.spool.retry_parked("shelf", "d1")
        await trio.sleep(10)
    assert desk.taken[2:] == ["d1", "d1", "d1"]
    assert (await desk.account()).pending == 0


async def test_a_device_that_is_parked_already_is_not_tried_while_paused(
    desk: Desk, autojump_clock
):
    def park(batch: Batch) -> None:
        if batch.events[0].event.device == "d1":
            raise Retry("404", scope="device")

    desk.behave = park
    async with desk.delivering():
        await desk.store("d1")
        await trio.sleep(100)
        await desk.hold.pause_device("d1")
        attempts = desk.attempts
        await trio.sleep(20_000)
        await desk.spool.retry_parked("shelf", "d1")
        await trio.sleep(20_000)
        assert desk.attempts == attempts
        (parked,) = await desk.spool.parked("shelf")
        assert parked.attempts > 0
        assert parked.why.startswith("paused by hand since")


async def test_a_device_is_paused_while_its_events_are_in_hand(desk: Desk, autojump_clock):
    def fail(batch: Batch) -> None:
        raise Retry("503")

    desk.behave = fail
    async with desk.delivering():
        await desk.store("d1")
        await trio.sleep(100)
        await desk.hold.pause_device("d1")
        desk.behave = lambda batch: None
        await trio.sleep(1000)
        assert desk.taken == []
        assert (await desk.account()).parked == 1
