"""What every test of a whole delivery needs: events in a spool, a sink, and an eye on
both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import datetime

import trio
from attrs import define, field

from bridge.api import Arrival, Batch, Outcome, encode
from bridge.api.spool import Account
from bridge.flow.delivery.feeder import Delivery
from bridge.flow.delivery.pacing import Policy
from bridge.flow.instances.grace_period import GracePeriod
from bridge.testing.fakes import FakeReport
from bridge.testing.memory import MemorySpool
from tests.flow.conftest import START, make_event

POLICY = Policy(
    batch=100,
    in_flight=4,
    timeout=30,
    linger=0,
    retry_base=1,
    retry_cap=300,
    pause_probe=300,
    reject_limit=20,
    one_device=False,
)


@define(eq=False)
class FakeSink:
    """Takes batches, or does what ``behave`` says first."""

    behave: Callable[[Batch], Outcome | None] = lambda batch: None
    taken: list[str] = field(factory=list)
    """Keys in the order taken, once for each delivery."""
    sizes: list[int] = field(factory=list)
    busy: int = 0
    busiest: int = 0
    seconds: float = 0.0
    """What an attempt takes."""

    async def deliver(self, batch: Batch) -> Outcome | None:
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await trio.sleep(self.seconds)
            outcome = self.behave(batch)
            self.sizes.append(len(batch.events))
            self.taken += [stored.event.key for stored in batch.events]
            return outcome
        finally:
            self.busy -= 1


@asynccontextmanager
async def delivering(
    spool: MemorySpool,
    sink: FakeSink,
    policy: Policy = POLICY,
    *,
    name: str = "sink",
    report: FakeReport | None = None,
    grace_period: GracePeriod | None = None,
    sources: Collection[str] | None = None,
    now: Callable[[], datetime] = lambda: START,
    redact: Callable[[str], str] = str,
) -> AsyncIterator[trio.CancelScope]:
    async with (
        spool.subscribe(
            name, batch=policy.batch, sources=sources, start="beginning"
        ) as subscription,
        trio.open_nursery() as nursery,
    ):
        delivery = Delivery(
            sink,
            subscription,
            policy,
            name=name,
            spool=spool,
            grace_period=grace_period or GracePeriod(),
            report=report or FakeReport(),
            now=now,
            random=lambda: 1.0,
            redact=redact,
        )
        nursery.start_soon(delivery.run)
        yield nursery.cancel_scope
        nursery.cancel_scope.cancel()


async def fill(spool: MemorySpool, count: int, devices: int = 1, source: str = "s") -> None:
    events = [make_event(number, f"d{number % devices}") for number in range(count)]
    await spool.append(
        [Arrival(source, event.key, event.device, encode(event), START) for event in events]
    )


async def drained(spool: MemorySpool, name: str = "sink") -> None:
    while True:
        accounts = {account.sink: account for account in await spool.accounts([name])}
        if name in accounts and accounts[name].pending == 0:
            return
        with trio.move_on_after(60):
            await spool.change()


async def account(spool: MemorySpool, name: str = "sink") -> Account:
    (found,) = [account for account in await spool.accounts([name]) if account.sink == name]
    assert found.balanced
    return found


def of_device(keys: list[str], device: str) -> list[int]:
    return [int(key.split("-")[1]) for key in keys if key.startswith(f"{device}-")]
