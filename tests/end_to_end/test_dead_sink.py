"""A sink that refuses everything costs disk, and nothing else."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import define, field

from bridge.admin.control import CommandHandlers
from bridge.api import Batch, Event, Pause, Reading, Reject, Retry, SinkKind
from bridge.api.spool import Spool, SpoolContext
from bridge.daemon.config import SinkConfig
from bridge.daemon.settings import SinkSettings
from bridge.daemon.sink import run_sink
from bridge.flow.ingest import Ingest
from bridge.flow.instances.board import Board
from bridge.flow.instances.grace_period import GracePeriod
from bridge.flow.instances.hold import Hold
from bridge.spool import SqliteSettings
from bridge.spool.audit import audit
from bridge.spool.sqlite import open_sqlite

DEVICES = 50
BLOCK = 100  # events emitted together


def utc_now() -> datetime:
    return datetime.now(UTC)


@define(eq=False)
class Destination:
    """Takes everything, or refuses everything; knows how long each event took."""

    refusal: Exception | None = None
    order: dict[str, list[int]] = field(factory=lambda: defaultdict(list))
    taken: int = 0
    latencies: list[float] = field(factory=list)

    async def deliver(self, batch: Batch) -> None:
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        now = utc_now()
        for stored in batch.events:
            self.order[stored.event.device].append(int(stored.event.readings[0].value))
            self.latencies.append((now - stored.event.time).total_seconds())
        self.taken += len(batch.events)

    async def until(self, count: int) -> None:
        while self.taken < count:
            await trio.sleep(0.005)

    def figures(self) -> str:
        """Give and forget the latencies so far."""
        cuts = statistics.quantiles(self.latencies, n=100)
        self.latencies.clear()
        return f"p50 {1000 * cuts[49]:.1f} ms, p99 {1000 * cuts[98]:.1f} ms"


@asynccontextmanager
async def delivering(spool: Spool, sinks: dict[str, Destination]) -> AsyncIterator[Board]:
    @asynccontextmanager
    async def open_destination(
        destination: Destination, settings, context
    ) -> AsyncIterator[Destination]:
        yield destination

    board = Board(utc_now)
    async with trio.open_nursery() as nursery:
        for name, destination in sinks.items():
            kind = SinkKind("test", object, partial(open_destination, destination))
            config = SinkConfig(
                name, kind, SinkSettings(retry_cap=0.5, pause_probe=0.5), None, "test:1"
            )
            report = board.report(f"sink:{name}")
            hold = Hold(f"sink:{name}", spool.state(f"sink:{name}"), report, utc_now)
            await nursery.start(
                partial(
                    run_sink,
                    config,
                    spool,
                    report=report,
                    hold=hold,
                    answer=CommandHandlers().answering(f"sink:{name}"),
                    grace_period=GracePeriod(),
                    redact=str,
                    now=utc_now,
                    random=lambda: 1.0,
                )
            )
        yield board
        nursery.cancel_scope.cancel()


@pytest.mark.slow
@pytest.mark.parametrize(("refusal", "refused"), [(Retry("503"), 100_000), (Pause("401"), 10_000)])
async def test_a_sink_that_refuses_everything_delays_no_other(
    tmp_path: Path, refusal: Exception, refused: int
):
    good, bad = Destination(), Destination()
    context = SpoolContext(tmp_path, ("good", "bad"), lambda *args, **kwargs: None, utc_now)
    async with (
        open_sqlite(SqliteSettings(), context) as spool,
        delivering(spool, {"good": good, "bad": bad}) as board,
    ):
        outlet = Ingest(spool, utc_now).outlet("s")

        async def emit(first: int, count: int) -> None:
            for start in range(first, first + count, BLOCK):
                await outlet.emit(*(make_event(number) for number in range(start, start + BLOCK)))
                await good.until(start + BLOCK - 10 * BLOCK)

        await emit(0, 20_000)
        await good.until(20_000)
        await bad.until(20_000)
        before = good.figures()
        bad.refusal = refusal
        await emit(20_000, refused)
        await good.until(20_000 + refused)
        print(
            f"the good sink, both well: {before}; while the other refuses {refused:,} events: "
            f"{good.figures()}"
        )
        assert bad.taken == 20_000
        assert board.states["sink:bad"].problem
        assert not board.states["sink:good"].problem
        bad.refusal = None
        with trio.fail_after(60):
            await bad.until(20_000 + refused)
    for destination in (good, bad):
        for device in range(DEVICES):
            assert destination.order[f"d{device}"] == list(range(device, 20_000 + refused, DEVICES))
    result = audit(tmp_path, ("good", "bad"))
    assert result.balanced
    assert {(account.delivered, account.dead) for account in result.accounts} == {
        (20_000 + refused, 0)
    }


async def test_a_sink_that_rejects_everything_is_soon_paused(tmp_path: Path):
    bad = Destination(refusal=Reject("date format", status=400))
    context = SpoolContext(tmp_path, ("bad",), lambda *args, **kwargs: None, utc_now)
    async with (
        open_sqlite(SqliteSettings(), context) as spool,
        delivering(spool, {"bad": bad}) as board,
    ):
        outlet = Ingest(spool, utc_now).outlet("s")
        for start in range(0, 2000, BLOCK):
            await outlet.emit(*(make_event(number) for number in range(start, start + BLOCK)))
        while not ("sink:bad" in board.states and board.states["sink:bad"].problem):
            await trio.sleep(0.005)
        bad.refusal = None
        with trio.fail_after(30):
            while any(account.pending for account in await spool.accounts(())):
                await trio.sleep(0.005)
    (account,) = audit(tmp_path, ("bad",)).accounts
    assert account.delivered + account.dead == 2000
    assert account.dead < SinkSettings().reject_limit
    for numbers in bad.order.values():
        assert numbers == sorted(numbers)


def make_event(number: int) -> Event:
    now = utc_now()
    return Event(
        f"k{number}", f"d{number % DEVICES}", "level", now, (Reading("level", number, now),)
    )
