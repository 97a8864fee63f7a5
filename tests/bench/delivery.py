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

BACKLOG = 100_000
ROUNDS = 3
RATES = (50, 200, 500)
SECONDS = 5.0
CONNECTIONS = 16


async def drain(work: Path) -> dict[str, float]:
    """Let a daemon deliver a backlog that it finds."""
    with open_site(work) as site:
        await fill(site.state, BACKLOG)
        async with open_destination(site) as destination:
            site.sections["sink:databoom"] = destination.section | {"from": "beginning"}
            site.start()
            await site.ready()
            assert site.process is not None
            await destination.holds(BACKLOG)
            used = processor_time(site.process.pid)
            resident = memory(site.process.pid)
            times = [time for _, time in await destination.child.ask("arrivals", 0, BACKLOG)]
            return {
                "rate": BACKLOG / (max(times) - min(times)) * 1e9,
                "used": used / BACKLOG * 1e6,
                "memory": resident,
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
            accepted = 0
            for number in range(ROUNDS):
                for index, rate in enumerate(RATES):
                    first = (number * len(RATES) + index) * 1_000_000
                    before = processor_time(site.process.pid)
                    result = await load(
                        site.port, connections=CONNECTIONS, seconds=SECONDS, rate=rate, first=first
                    )
                    accepted += result["answered"]
                    await destination.holds(accepted)
                    used = (
                        (processor_time(site.process.pid) - before)
                        / (result["end"] - result["begin"])
                        * 1e9
                    )
                    due = result["due"]
                    begin = first + result["answered"] - len(due)  # behind those of the warming up
                    arrived = await destination.child.ask("arrivals", begin, begin + len(due) - 1)
                    took = [(time - due[number - begin]) / 1e6 for number, time in arrived]
                    measured[rate].append(
                        {
                            "answer p50": result["p50"],
                            "answer p99": result["p99"],
                            "p50": percentile(took, 0.5),
                            "p99": percentile(took, 0.99),
                            "used": used * 100,
                        }
                    )
    return measured


async def run(work: Path) -> None:
    drains = [await drain(work / f"drain-{number}") for number in range(ROUNDS)]
    paced = await latencies(work / "latency")
    print_table(
        ("drain of", "readings/s", "CPU µs/reading", "RSS MiB"),
        [[f"{BACKLOG:,}", *(round(middle(drains, name)) for name in ("rate", "used", "memory"))]],
    )
    names = ("answer p50", "answer p99", "p50", "p99", "used")
    print_table(
        ("events/s", "answer p50 ms", "answer p99 ms", "to sink p50 ms", "to sink p99 ms", "CPU %"),
        [[rate, *(middle(paced[rate], name) for name in names)] for rate in RATES],
    )
    print()
    print_goal("readings/s while draining", middle(drains, "rate"), least=5000)
    for rate in RATES:
        print_goal(f"p99 source to sink at {rate}/s, ms", middle(paced[rate], "p99"), below=50)
