"""Delivery: the real daemon pushing to the emulator of Databoom over TLS.

drain     a backlog of 100,000 events of 50 devices, from the first reading that arrives
          to the last
latency   from the moment when a webhook is due at its sender to the arrival of its
          reading at the destination, with nothing queued
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.backlog import fill
from tests.bench.processes import load, memory, open_destination, open_site, processor_time
from tests.bench.report import middle, percentile, print_goal, print_table
from tests.bench.webhooks import Contender
from tests.end_to_end.site import Site

BACKLOG = 100_000
ROUNDS = 3
RATES = (50, 200, 500)
SECONDS = 5.0
CONNECTIONS = 16


async def drain(site: Site, backlog: int) -> dict[str, float]:
    """Let a daemon deliver the backlog that it finds, events 0 and following."""
    async with open_destination(site) as destination:
        site.sections["sink:databoom"] = destination.section | {"from": "beginning"}
        site.start()
        await site.ready()
        assert site.process is not None
        before = processor_time(site.process.pid)
        await destination.holds(backlog)
        used = processor_time(site.process.pid) - before
        resident = memory(site.process.pid)
        times = [time for _, time in await destination.child.ask("arrivals", 0, backlog)]
        return {
            "rate": backlog / (max(times) - min(times)) * 1e9,
            "used": used / backlog * 1e6,
            "memory": resident,
        }


async def pace(daemon: Contender, rate: int, first: int) -> dict[str, float]:
    """Load a daemon at a fixed rate with a run of events, and see them arrive."""
    assert daemon.destination is not None
    before = processor_time(daemon.pid)
    result = await load(
        daemon.port, connections=CONNECTIONS, seconds=SECONDS, rate=rate, first=first
    )
    daemon.accepted += result["answered"]
    await daemon.destination.holds(daemon.accepted)
    used = processor_time(daemon.pid) - before
    due = result["due"]
    begin = first + result["answered"] - len(due)  # behind those of the warming up
    arrived = await daemon.destination.child.ask("arrivals", begin, begin + len(due) - 1)
    took = [(time - due[number - begin]) / 1e6 for number, time in arrived]
    return {
        "answer p50": result["p50"],
        "answer p99": result["p99"],
        "p50": percentile(took, 0.5),
        "p99": percentile(took, 0.99),
        "busy": used / (result["end"] - result["begin"]) * 1e11,
        "used": used / result["answered"] * 1e6,
    }


async def latencies(work: Path) -> dict[int, list[dict[str, float]]]:
    """Measure the way from source to sink at each rate, in turns."""
    measured: dict[int, list[dict[str, float]]] = {rate: [] for rate in RATES}
    with open_site(work) as site:
        async with open_destination(site) as destination:
            site.sections["sink:databoom"] = destination.section
            site.start()
            await site.ready()
            assert site.process is not None
            daemon = Contender("full", site.process.pid, site.port, 0, destination)
            for number in range(ROUNDS):
                for index, rate in enumerate(RATES):
                    first = (number * len(RATES) + index) * 1_000_000
                    measured[rate].append(await pace(daemon, rate, first))
    return measured


async def run(work: Path) -> None:
    drains = []
    for number in range(ROUNDS):
        with open_site(work / f"drain-{number}") as site:
            await fill(site.state, BACKLOG)
            drains.append(await drain(site, BACKLOG))
    paced = await latencies(work / "latency")
    print_table(
        ("drain of", "readings/s", "CPU µs/reading", "RSS MiB"),
        [[f"{BACKLOG:,}", *(round(middle(drains, name)) for name in ("rate", "used", "memory"))]],
    )
    names = ("answer p50", "answer p99", "p50", "p99", "busy")
    print_table(
        ("events/s", "answer p50 ms", "answer p99 ms", "to sink p50 ms", "to sink p99 ms", "CPU %"),
        [[rate, *(middle(paced[rate], name) for name in names)] for rate in RATES],
    )
    print()
    print_goal("readings/s while draining", middle(drains, "rate"), least=5000)
    for rate in RATES:
        print_goal(f"p99 source to sink at {rate}/s, ms", middle(paced[rate], "p99"), below=50)
