"""Known keys: events stored a second while millions of keys are known, beside a spool
that knows none.

    live          463 keys in each second of key_time, which goes on
    a month ago   the same, within one hour a month ago: a history that is fetched
    version 1     the known ones are those of version 1, in no order: every event is
                  asked of them

All spools are open at the same time and take turns. The large file is dropped from the
system's cache at first; the keys of version 1 are warm.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import trio
from attrs import evolve, frozen

from bridge.api import Event, Outlet
from bridge.cli.run import SWITCH_INTERVAL
from bridge.flow.ingest import Ingest
from tests.bench.backlog import event_of, open_spool, utc_now
from tests.bench.report import Cell, middle, print_goal, print_table
from tests.bench.spool import MAX_RATE, SECONDS, WAITERS, append

ROUNDS = 6
PACE = 463  # keys in a second of key_time: 40 million a day
WINDOW = timedelta(days=35)
RECENT = timedelta(hours=6)  # has a fifth of the keys
NEWEST = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MONTH_AGO = NEWEST - timedelta(days=30)
TOGETHER = 100_000  # keys in one insertion
SETTLING = 3.0  # seconds in which the filter of each million of old keys is built

LIVE, BACKFILL = "live", "a month ago"
EMPTY, FULL, OLD = "none", "known", "version 1"
GOALS = {
    (LIVE, FULL): dict(zip(WAITERS, (0.95, 0.92, 0.85), strict=True)),
    (LIVE, OLD): dict.fromkeys(WAITERS, 0.9),
    (BACKFILL, FULL): dict.fromkeys(WAITERS, 0.85),
}


@frozen
class Bench:
    """A spool that knows some keys."""

    outlet: Outlet
    numbers: Iterator[int]

    async def measure(self, load: str, waiters: int) -> dict[str, float]:
        count = round(SECONDS * MAX_RATE)
        events = [event_at(number, load) for number in itertools.islice(self.numbers, count)]
        events.reverse()  # they are taken from the end
        return await append(self.outlet, events, waiters)


def event_at(number: int, load: str) -> Event:
    seconds = number / PACE
    if load == LIVE:
        return evolve(event_of(number), key_time=NEWEST + timedelta(seconds=seconds))
    return evolve(event_of(number), key_time=MONTH_AGO + timedelta(seconds=seconds % 3600))


def fill_known(connection: sqlite3.Connection, count: int) -> None:
    recent = count // 5
    seconds = itertools.chain(
        _even(NEWEST - WINDOW, NEWEST - RECENT, count - recent),
        _even(NEWEST - RECENT, NEWEST, recent),
    )
    hours: Counter[int] = Counter()
    while part := list(itertools.islice(seconds, TOGETHER)):
        hours.update([second // 3600 for second in part])
        keys = sorted([second.to_bytes(4, "big") + os.urandom(12) for second in part])
        connection.executemany("INSERT INTO known VALUES (?, 40000)", [(key,) for key in keys])
    connection.executemany("INSERT INTO hours VALUES (?, ?, 40000, 40000)", hours.items())


def _even(begin: datetime, end: datetime, count: int) -> Iterator[int]:
    first, last = round(begin.timestamp()), round(end.timestamp())
    return (first + number * (last - first) // count for number in range(count))


def fill_old(connection: sqlite3.Connection, count: int) -> None:
    connection.execute(
        "CREATE TABLE keys (digest BLOB PRIMARY KEY, seen INTEGER NOT NULL) WITHOUT ROWID"
    )
    # In the order of the tree, which is built in a fraction of the time.
    for first in range(256):
        here = count * (first + 1) // 256 - count * first // 256
        digests = sorted([bytes([first]) + os.urandom(15) for _ in range(here)])
        connection.executemany(
            "INSERT INTO keys VALUES (?, 1760000000)", [(digest,) for digest in digests]
        )


async def make(state: Path, fill: Any, count: int) -> float:
    """Make a spool with so many keys; gives the bytes of one in the file."""
    async with open_spool(state):
        pass
    file = state / "spool.sqlite"
    before = file.stat().st_size
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        fill(connection, count)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (file.stat().st_size - before) / max(count, 1)


def drop_from_cache(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


async def open_bench(stack: AsyncExitStack, state: Path) -> Bench:
    spool = await stack.enter_async_context(open_spool(state))
    return Bench(Ingest(spool, utc_now).outlet("sensors"), itertools.count())


async def run(work: Path, known: int) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL)
    states = {keys: work / keys.replace(" ", "-") for keys in (EMPTY, FULL, OLD)}
    await make(states[EMPTY], lambda connection, count: None, 0)
    size = await make(states[FULL], fill_known, known)
    size_of_old = await make(states[OLD], fill_old, known)
    drop_from_cache(states[FULL] / "spool.sqlite")
    figures: dict[tuple[str, int, str], list[dict[str, float]]] = {}
    async with AsyncExitStack() as stack:
        benches = {keys: await open_bench(stack, state) for keys, state in states.items()}
        await trio.sleep(SETTLING * (1 + known / 1e6))
        for number in range(ROUNDS):
            # Whoever comes first finds the machine as others left it.
            order = list(benches.items())[:: -1 if number % 2 else 1]
            for load, waiters in itertools.product((LIVE, BACKFILL), WAITERS):
                for keys, bench in order:
                    if load == LIVE or keys != OLD:
                        measured = await bench.measure(load, waiters)
                        figures.setdefault((load, waiters, keys), []).append(measured)
    print(f"\n{known:,} keys of {size:.1f} bytes; of version 1: {size_of_old:.1f} bytes")
    rows: list[list[Cell]] = []
    goals = []
    for load, waiters, keys in itertools.product((LIVE, BACKFILL), WAITERS, (EMPTY, FULL, OLD)):
        measured = figures.get((load, waiters, keys))
        if measured is None:
            continue
        of_empty = median(
            one["rate"] / other["rate"]
            for one, other in zip(measured, figures[load, waiters, EMPTY], strict=True)
        )
        rate, *waits = (middle(measured, name) for name in ("rate", "p50", "p99"))
        rows.append([f"{load}, {waiters} waiting", keys, round(rate), *waits, of_empty])
        least = GOALS.get((load, keys), {}).get(waiters)
        if least is not None:
            goals.append((f"{load}, {waiters} waiting, {keys}", of_empty, least))
    print_table(("", "keys", "events/s", "p50 ms", "p99 ms", "to empty"), rows)
    print()
    for text, of_empty, least in goals:
        print_goal(text, of_empty, least=least)
