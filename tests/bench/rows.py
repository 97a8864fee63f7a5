"""The rows of ``--against``: what is measured of a version that is only run and talked
to. Gives figures by names that have the unit.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import trio
from attrs import frozen

from tests.bench import delivery
from tests.bench.memory import start
from tests.bench.processes import PATIENCE, load, memory, processor_time, sink_section
from tests.bench.webhooks import Contender, Numbers, Setup, open_daemon
from tests.end_to_end.site import Site, free_port

REST_SECONDS = 1.0
LOOK_SECONDS = 0.005  # between two looks at a file

BACKLOG_CONNECTIONS = 256
# Only a load with a rate sends an exact number of requests; none is accepted at this
# rate, so that they follow each other as fast as possible.
BACKLOG_RATE = 6000
BACKLOG_SECONDS = 4.7

Figures = dict[str, float]


@frozen
class Live:
    """A daemon that had nothing at its start."""

    site: Site
    daemon: Contender
    numbers: Numbers


async def open_live(stack: AsyncExitStack, name: str, site: Site) -> Live:
    """Start it, and its destination."""
    return Live(site, await open_daemon(stack, name, site, site), Numbers())


async def rest(live: Live) -> Figures:
    await trio.sleep(REST_SECONDS)
    return {"RSS MiB": memory(live.daemon.pid)}


async def webhooks(setup: Setup, live: Live) -> Figures:
    measured = await live.daemon.run(setup, live.site.ca_file, live.numbers)
    return {
        "events/s": measured["rate"],
        "answer p50 ms": measured["p50"],
        "answer p99 ms": measured["p99"],
        # Both share the processor: more taken in may be less pushed.
        "pushed/s": measured["pushed"],
        "CPU µs/event": measured["used"],
        "RSS MiB": memory(live.daemon.pid),
    }


async def paced(rate: int, live: Live) -> Figures:
    most = int(rate * (delivery.SECONDS + 1))
    measured = await delivery.pace(live.daemon, rate, live.numbers.take(most))
    return {
        "answer p50 ms": measured["answer p50"],
        "answer p99 ms": measured["answer p99"],
        "to sink p50 ms": measured["p50"],
        "to sink p99 ms": measured["p99"],
        "CPU µs/event": measured["used"],
        "RSS MiB": memory(live.daemon.pid),
    }


@frozen
class Backlog:
    """Events that wait, as one version keeps them."""

    state: Path
    count: int


async def take_in_backlog(site: Site) -> Backlog:
    """Let a daemon keep webhooks that it cannot deliver, and stop it.

    How a spool is written is the matter of each version, so each fills its own.
    """
    site.sections["sink:databoom"] = dead_sink(site)
    await start(site)
    result = await load(
        site.port,
        connections=BACKLOG_CONNECTIONS,
        seconds=BACKLOG_SECONDS,
        rate=BACKLOG_RATE,
        first=0,
    )
    await site.stop()
    return Backlog(site.state, result["answered"])


def dead_sink(site: Site) -> dict[str, str]:
    return sink_section(site, f"https://127.0.0.1:{free_port()}/v1/signals/push")


async def until_ready(site: Site, _count: int) -> Figures:
    site.sections["sink:databoom"] = dead_sink(site)
    seconds = await start(site)
    assert site.process is not None
    used = processor_time(site.process.pid)
    await trio.sleep(REST_SECONDS)
    return {
        "ready ms": seconds * 1000,
        "CPU ms": used * 1000,
        "RSS MiB": memory(site.process.pid),
    }


async def push(site: Site, count: int) -> Figures:
    measured = await delivery.drain(site, count)
    return {
        "events/s": measured["rate"],
        "CPU µs/event": measured["used"],
        "RSS MiB": measured["memory"],
    }


async def write_file(site: Site, count: int) -> Figures:
    path = site.folder / "out.jsonl"
    # The size is never reached: it stays one file.
    settings = {"plugin": "jsonlines", "path": str(path), "max_size": "1GiB"}
    site.sections["sink:lines"] = settings | {"from": "beginning"}
    site.start()
    await site.ready()
    assert site.process is not None
    before = processor_time(site.process.pid)
    rate = await rate_of_lines(path, count)
    return {
        "events/s": rate,
        "CPU µs/event": (processor_time(site.process.pid) - before) / count * 1e6,
        "RSS MiB": memory(site.process.pid),
    }


async def rate_of_lines(path: Path, count: int) -> float:
    """Wait until a file has so many lines; gives how many were added a second."""
    with trio.fail_after(PATIENCE):
        while not path.exists():
            await trio.sleep(LOOK_SECONDS)
        with path.open("rb") as file:
            first = lines = file.read().count(b"\n")
            began = time.monotonic()
            while lines < count:
                await trio.sleep(LOOK_SECONDS)
                lines += file.read().count(b"\n")
    return (count - first) / (time.monotonic() - began)


LIVE: dict[str, Callable[[Live], Awaitable[Figures]]] = {
    "rest": rest,
    "webhooks-1": partial(webhooks, Setup(1)),
    "webhooks-32": partial(webhooks, Setup(32)),
    "webhooks-256": partial(webhooks, Setup(256)),
    "tls-1": partial(webhooks, Setup(1, tls=True)),
    "tls-32": partial(webhooks, Setup(32, tls=True)),
    "tls-256": partial(webhooks, Setup(256, tls=True)),
    "paced-50": partial(paced, 50),
    "paced-200": partial(paced, 200),
}
"""Rows that follow each other in the life of one daemon."""

WAITING: dict[str, Callable[[Site, int], Awaitable[Figures]]] = {
    "start": until_ready,
    "push": push,
    "file": write_file,
}
"""Rows of a daemon that finds so many events; each has one of its own."""

ROWS = (*LIVE, *WAITING)
