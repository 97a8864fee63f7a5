"""The spool by itself: events stored and taken out a second, with nothing and with a
million events in it.

    append    so many tasks emit through the way in that all sources share, one event
              at a time
    drain     four tasks take and settle batches of 500, and do nothing with them

Both spools are open at the same time and take turns.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import trio
from attrs import frozen

from bridge.api import Event, Outlet
from bridge.api.spool import Spool, Subscription
from bridge.cli.run import SWITCH_INTERVAL
from bridge.flow.ingest import Ingest
from tests.bench.backlog import event_of, fill, open_spool, utc_now
from tests.bench.report import Cell, middle, percentile, print_table

ROUNDS = 3
SECONDS = 1.5
MAX_RATE = 40_000  # events a second that are prepared before the clock starts
BACKLOGS = (0, 1_000_000)
WAITERS = (1, 32, 256)
BATCH = 500
CONSUMERS = 4
OPENINGS = 3


async def append(outlet: Outlet, events: list[Event], waiters: int) -> dict[str, float]:
    """Let so many tasks emit events, taken from the end, for some time."""
    took: list[int] = []
    begin = time.monotonic_ns()
    until = begin + int(SECONDS * 1e9)

    async def emit() -> None:
        before = time.monotonic_ns()
        while before < until:
            await outlet.emit(events.pop())
            now = time.monotonic_ns()
            took.append(now - before)
            before = now

    async with trio.open_nursery() as nursery:
        for _ in range(waiters):
            nursery.start_soon(emit)
    rate = len(took) / (time.monotonic_ns() - begin) * 1e9
    return {
        "count": len(took),
        "rate": rate,
        "p50": percentile(took, 0.5) / 1e6,
        "p99": percentile(took, 0.99) / 1e6,
    }


@frozen
class Bench:
    """A spool of a certain backlog."""

    backlog: int
    spool: Spool
    outlet: Outlet
    subscription: Subscription
    numbers: Iterator[int]

    async def append(self, waiters: int) -> dict[str, float]:
        events = [
            event_of(number) for number in itertools.islice(self.numbers, round(SECONDS * MAX_RATE))
        ]
        return await append(self.outlet, events, waiters)

    async def drain(self, count: int) -> float:
        """Take out at least so many events; gives them a second."""
        settled = 0
        begin = time.monotonic()

        async def consume() -> None:
            nonlocal settled
            while True:
                lease = await self.subscription.take()
                taken = len(lease.events)
                try:
                    await lease.settle(taken)
                finally:
                    lease.give_back()
                settled += taken
                if settled >= count:
                    consumers.cancel_scope.cancel()

        async with trio.open_nursery() as consumers:
            for _ in range(CONSUMERS):
                consumers.start_soon(consume)
        return settled / (time.monotonic() - begin)


async def open_bench(stack: AsyncExitStack, state: Path, backlog: int) -> Bench:
    spool = await stack.enter_async_context(open_spool(state))
    ingest = Ingest(spool, utc_now)
    subscribed = await stack.enter_async_context(
        spool.subscribe("null", batch=BATCH, start="beginning")
    )
    return Bench(backlog, spool, ingest.outlet("sensors"), subscribed, itertools.count(backlog))


async def time_openings(states: dict[int, Path]) -> dict[int, list[float]]:
    took: dict[int, list[float]] = {backlog: [] for backlog in states}
    for _ in range(OPENINGS):
        for backlog, state in states.items():
            begin = time.monotonic()
            async with open_spool(state):
                took[backlog].append(time.monotonic() - begin)
    return took


async def run(work: Path) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL)
    states = {backlog: work / str(backlog) for backlog in BACKLOGS}
    for backlog, state in states.items():
        begin = time.monotonic()
        size = await fill(state, backlog)
        if backlog:
            rate = backlog / (time.monotonic() - begin)
            print(
                f"\nfilled with {backlog:,} events of {size} bytes: {rate:,.0f} a second, in "
                "large appends"
            )
    openings = await time_openings(states)
    appended: dict[tuple[int, int], list[dict[str, float]]] = {}
    drained: dict[int, list[float]] = {}
    async with AsyncExitStack() as stack:
        benches = [await open_bench(stack, state, backlog) for backlog, state in states.items()]
        for _ in range(ROUNDS):
            counts = dict.fromkeys(BACKLOGS, 0)
            for waiters in WAITERS:
                for bench in benches:
                    figures = await bench.append(waiters)
                    appended.setdefault((waiters, bench.backlog), []).append(figures)
                    counts[bench.backlog] += round(figures["count"])
            for bench in benches:
                drained.setdefault(bench.backlog, []).append(
                    await bench.drain(counts[bench.backlog])
                )
    rows: list[list[Cell]] = []
    for waiters in WAITERS:
        for backlog in BACKLOGS:
            rate, *waits = (
                middle(appended[waiters, backlog], name) for name in ("rate", "p50", "p99")
            )
            of_empty = rate / middle(appended[waiters, 0], "rate")
            rows.append(
                [f"append, {waiters} waiting", f"{backlog:,}", round(rate), *waits, of_empty]
            )
    for backlog in BACKLOGS:
        rate = median(drained[backlog])
        rows.append(["drain", f"{backlog:,}", round(rate), None, None, rate / median(drained[0])])
    print_table(("", "backlog", "events/s", "p50 ms", "p99 ms", "to empty"), rows)
    print()
    for backlog in BACKLOGS:
        print(f"ready with {backlog:,} events: {median(openings[backlog]) * 1000:.0f} ms")
