"""Webhooks: how many are accepted a second, and how long a sender waits for its answer.

    full          bridged run: signature verified, fsynced, then answered; pushed to a
                  destination at the same time
    commit each   the same daemon with a commit for every event
    front end     the product's HTTP front end alone, answering at once
    hypercorn     its trio worker with a bare ASGI application, answering at once

All are up at the same time and take turns, with the same kind of requests on the same
number of connections. Pushed is what arrived at the destination in the same time; CPU
is that of the server's process, pushing included.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, frozen

from tests.bench.processes import (
    Destination,
    load,
    open_child,
    open_destination,
    open_site,
    processor_time,
    source_section,
    start_committing_each,
)
from tests.bench.report import Cell, middle, print_goal, print_table
from tests.end_to_end.site import Site, free_port

ROUNDS = 3
SECONDS = 2.0
MAX_RATE = 12_000  # webhooks a second that no daemon will exceed: so many are prepared
FULL, EACH, FRONT_END, HYPERCORN = "full", "commit each", "front end", "hypercorn"


@frozen
class Setup:
    """A row of the comparison."""

    connections: int
    tls: bool = False

    def __str__(self) -> str:
        return f"{self.connections}{' TLS' if self.tls else ''}"


SETUPS = (Setup(1), Setup(32), Setup(256), Setup(32, tls=True))


@define
class Numbers:
    """Numbers of events, none given twice."""

    next: int = 0

    def take(self, count: int) -> int:
        self.next += count
        return self.next - count


@define
class Contender:
    name: str
    pid: int
    port: int
    tls_port: int
    destination: Destination | None = None
    """Where its events go; None for one that keeps nothing."""
    accepted: int = 0

    async def run(self, setup: Setup, ca_file: Path, numbers: Numbers) -> dict[str, float]:
        """Load it for one round."""
        most = int((SECONDS + 1) * MAX_RATE)
        before = processor_time(self.pid)
        result = await load(
            self.tls_port if setup.tls else self.port,
            ca_file=str(ca_file) if setup.tls else None,
            connections=setup.connections,
            seconds=SECONDS,
            first=numbers.take(most),
            most=most,
            again=self.destination is None,
        )
        self.accepted += result["answered"]
        pushed = await self._pushed(result)
        used = (processor_time(self.pid) - before) / result["answered"] * 1e6
        return {name: result[name] for name in ("rate", "p50", "p99")} | {
            "pushed": pushed,
            "used": used,
        }

    async def _pushed(self, result: dict[str, Any]) -> float:
        """Give the readings a second that arrived during a round, and wait for the rest
        of them.
        """
        if self.destination is None:
            return 0.0
        count = await self.destination.child.ask("between", result["begin"], result["end"])
        await self.destination.holds(self.accepted)
        return count / (result["end"] - result["begin"]) * 1e9


async def open_daemon(
    stack: AsyncExitStack,
    name: str,
    site: Site,
    trusted: Site,
    start: Callable[[Site], None] = Site.start,
) -> Contender:
    """Start a site's daemon with and without TLS, and a destination that it pushes to.

    Only certificates of the trusted site are used.
    """
    destination = await stack.enter_async_context(open_destination(trusted))
    site.sections["sink:databoom"] = destination.section
    tls_port = free_port()
    pair = str(trusted.folder / "pair.pem")
    site.sections["listener:secure"] = {
        "address": f"127.0.0.1:{tls_port}",
        "certificate": pair,
        "key": pair,
    }
    site.sections["source:secure"] = source_section("secure")
    start(site)
    await site.ready()
    assert site.process is not None
    return Contender(name, site.process.pid, site.port, tls_port, destination)


@asynccontextmanager
async def open_contenders(work: Path) -> AsyncIterator[tuple[list[Contender], Site]]:
    async with AsyncExitStack() as stack:
        full = stack.enter_context(open_site(work / "full"))
        each = stack.enter_context(open_site(work / "each"))
        # Of all certificates one is used, so that the load needs to know one CA.
        contenders = [
            await open_daemon(stack, FULL, full, full),
            await open_daemon(stack, EACH, each, full, start_committing_each),
        ]
        for name, module in ((FRONT_END, "at_once"), (HYPERCORN, "bare_asgi")):
            port, tls_port = free_port(), free_port()
            child, _ = await stack.enter_async_context(
                open_child(module, port=port, tls_port=tls_port, pair=str(full.folder / "pair.pem"))
            )
            contenders.append(Contender(name, child.pid, port, tls_port))
        yield contenders, full


async def run(work: Path) -> None:
    measured: dict[tuple[Setup, str], list[dict[str, float]]] = {}
    numbers = Numbers()
    async with open_contenders(work) as (contenders, site):
        for setup in SETUPS:
            for _ in range(ROUNDS):
                for contender in contenders:
                    figures = await contender.run(setup, site.ca_file, numbers)
                    measured.setdefault((setup, contender.name), []).append(figures)
    rows: list[list[Cell]] = []
    for (setup, name), figures in measured.items():
        rate = middle(figures, "rate")
        ratio = middle(measured[setup, FULL], "rate") / rate
        pushed = round(middle(figures, "pushed")) if name in (FULL, EACH) else None
        waits = [middle(figures, wait) for wait in ("p50", "p99")]
        rows.append(
            [str(setup), name, round(rate), *waits, pushed, round(middle(figures, "used")), ratio]
        )
    heads = (
        "connections",
        "server",
        "accepted/s",
        "p50 ms",
        "p99 ms",
        "pushed/s",
        "CPU µs each",
        "full : it",
    )
    print_table(heads, rows)
    full, front_end, hypercorn = (
        measured[Setup(32), name] for name in (FULL, FRONT_END, HYPERCORN)
    )
    print()
    print_goal("full : hypercorn, 32", middle(full, "rate") / middle(hypercorn, "rate"), least=2.0)
    print_goal("full : front end, 32", middle(full, "rate") / middle(front_end, "rate"), least=0.2)
    print_goal("p99 of full, 32, ms", middle(full, "p99"), below=30)
