"""Memory: what the real process holds at rest, under load, and with a million events
that wait for a dead destination.

Resident memory of the process (VmRSS), the largest of samples; ready is counted from
the start of the process.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import define

from tests.bench.backlog import fill
from tests.bench.processes import load, memory, open_destination, open_site, sink_section
from tests.bench.report import Cell, print_goal, print_table
from tests.end_to_end.site import Site, free_port

BACKLOG = 1_000_000
LOAD_SECONDS = 6.0
DRAIN_SECONDS = 15.0
REST_SECONDS = 2.0
MAX_RATE = 12_000
SAMPLE = 0.1  # seconds


@define
class Peak:
    mebibytes: float = 0.0


@asynccontextmanager
async def watching(site: Site) -> AsyncIterator[Peak]:
    """Sample the memory of a running bridge while the block is entered."""
    peak = Peak()
    process = site.process
    assert process is not None

    async def watch() -> None:
        while True:
            peak.mebibytes = max(peak.mebibytes, memory(process.pid))
            await trio.sleep(SAMPLE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        yield peak
        nursery.cancel_scope.cancel()


async def start(site: Site) -> float:
    """Give the seconds until it is ready."""
    begin = time.monotonic()
    site.start()
    await site.ready()
    return time.monotonic() - begin


async def run(work: Path) -> None:
    rows: list[list[Cell]] = []
    most = 0.0

    def note(text: str, peak: Peak) -> None:
        nonlocal most
        most = max(most, peak.mebibytes)
        rows.append([text, peak.mebibytes])

    with open_site(work / "small") as site:
        async with open_destination(site) as destination:
            site.sections["sink:databoom"] = destination.section
            readies = [("an empty spool", await start(site))]
            async with watching(site) as peak:
                await trio.sleep(REST_SECONDS)
            note("at rest, an empty spool", peak)
            async with watching(site) as peak:
                await press(site, first=0)
            note("under load, 32 connections", peak)
    with open_site(work / "large") as site:
        await fill(site.state, BACKLOG)
        port = free_port()
        site.sections["sink:databoom"] = sink_section(
            site, f"https://127.0.0.1:{port}/v1/signals/push"
        ) | {
            "from": "beginning",
            "retry_cap": "1s",
        }
        readies.append((f"{BACKLOG:,} events", await start(site)))
        async with watching(site) as peak:
            await trio.sleep(REST_SECONDS)
        note(f"{BACKLOG:,} events wait, dead sink", peak)
        async with watching(site) as peak:
            await press(site, first=BACKLOG)
        note("the same under load", peak)
        async with watching(site) as peak, open_destination(site, port) as destination:
            await trio.sleep(DRAIN_SECONDS)
            drained = await destination.count()
        note(f"the same while draining ({drained / DRAIN_SECONDS:,.0f} readings/s)", peak)
    print_table(("", "RSS MiB"), rows)
    print()
    for what, seconds in readies:
        print(f"ready with {what}: {seconds:.2f} s")
    print_goal("largest RSS, MiB", most, below=120)
    print_goal(f"ready with {BACKLOG:,} events, s", readies[-1][1], below=2)


async def press(site: Site, first: int) -> None:
    """Load it for a while, as heavily as it lets itself be."""
    most = int((LOAD_SECONDS + 1) * MAX_RATE)
    await load(site.port, connections=32, seconds=LOAD_SECONDS, first=first, most=most)
