"""This version against an older one, measured in turns.

    rest          memory of a daemon that has received nothing
    webhooks-N    N connections send as fast as they are answered; pushed to a
                  destination at the same time
    tls-N         the same over TLS
    paced-N       N webhooks a second, answered, and seen at the destination
    start         until ready, while events wait for a destination that is away
    push          these events to the destination
    file          these events to a file

Of the older version only ``python -m bridge run`` is used, with a configuration that
both understand, so that its modules may lie anywhere. Load and destination are those of
this version. In each round each row is measured with the old version, then with the
new one, and a ratio is of such a pair. Daemons live for one round, because two
processes of one version differ as well.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio
from attrs import define, field

from tests.bench.bystanders import read_load
from tests.bench.pairs import (
    HEADS,
    MORE_IS_BETTER,
    NEW,
    OLD,
    TOLERANCE,
    Turn,
    compare,
    disturbed,
    table_of,
)
from tests.bench.processes import open_site
from tests.bench.report import print_table
from tests.bench.rows import (
    LIVE,
    WAITING,
    Backlog,
    Figures,
    open_live,
    take_in_backlog,
)
from tests.bench.versions import (
    UnavailableError,
    Version,
    find_commit,
    install_commit,
    install_current,
)
from tests.end_to_end.site import Site

T = TypeVar("T")


LOG_LINES = 20  # of a daemon that failed
BUSY = 3.0  # load average before the start that is worth a warning


class FailedError(Exception):
    """A row could not be measured; the text says which, and why."""


@define
class Run:
    """One comparison."""

    versions: tuple[Version, Version]
    """The old one first."""
    rounds: int
    work: Path
    turns: list[Turn] = field(factory=list)
    _backlogs: dict[str, Backlog] = field(factory=dict)
    """By the names of the versions."""

    async def measure(self, rows: Sequence[str]) -> None:
        """Measure rows in all rounds.

        :raises FailedError: with the first that fails; ``turns`` has those before.
        """
        live = [row for row in rows if row in LIVE]
        waiting = [row for row in rows if row in WAITING]
        await self._prepare(with_backlog=bool(waiting))
        began = time.monotonic()
        for number in range(1, self.rounds + 1):
            if live:
                await self._measure_live(number, live)
            for row in waiting:
                await self._measure_waiting(number, row)
            took = time.monotonic() - began
            left = took / number * (self.rounds - number)
            say(f"round {number} of {self.rounds}: done after {took:.0f} s, {left:.0f} s to go")

    async def _prepare(self, *, with_backlog: bool) -> None:
        """Try each version once, so that one that cannot be used is found at once."""
        for version in self.versions:
            say(f"{version.name}: {version.text}")
            folder = self.work / f"{version.name}-live"
            with open_site(folder, version.python) as site:
                async with AsyncExitStack() as stack:
                    await attempt(
                        f"{version.name} does not start", site, open_live(stack, "", site)
                    )
            if with_backlog:
                folder = self.work / f"{version.name}-backlog"
                with open_site(folder, version.python) as site:
                    self._backlogs[version.name] = await attempt(
                        f"{version.name} does not take in events", site, take_in_backlog(site)
                    )

    async def _measure_live(self, number: int, rows: Sequence[str]) -> None:
        async with AsyncExitStack() as stack:
            opened = []
            for version in self.versions:
                folder = self.work / f"{version.name}-live-{number}"
                site = stack.enter_context(open_site(folder, version.python))
                starting = open_live(stack, version.name, site)
                live = await attempt(f"round {number}: {version.name}", site, starting)
                opened.append((version, live))
            for row in rows:
                for version, live in opened:
                    await self._turn(row, number, version, live.site, partial(LIVE[row], live))

    async def _measure_waiting(self, number: int, row: str) -> None:
        for version in self.versions:
            backlog = self._backlogs[version.name]
            folder = self.work / f"{version.name}-{row}-{number}"
            with open_site(folder, version.python) as site:
                shutil.copytree(backlog.state, site.state)
                measure = partial(WAITING[row], site, backlog.count)
                await self._turn(row, number, version, site, measure)
            shutil.rmtree(folder)

    async def _turn(
        self,
        row: str,
        number: int,
        version: Version,
        site: Site,
        measure: Callable[[], Awaitable[Figures]],
    ) -> None:
        before = read_load()
        what = f"round {number}: {row}, {version.name}"
        figures = await attempt(what, site, measure())
        others = read_load().others_since(before)
        self.turns.append(Turn(row, number, version.name, figures, others))
        name, figure = next(iter(figures.items()))
        say(f"{what}: {name} {figure:,.2f}; others used {others:.1f} cores")


async def attempt(what: str, site: Site, action: Awaitable[T]) -> T:
    """Await something that needs a site's daemon.

    :raises FailedError: if it fails, with the end of the daemon's log.
    """
    try:
        return await action
    except (AssertionError, RuntimeError, OSError, trio.TooSlowError) as exc:
        # What Site asserts is the whole log, of which the end is enough.
        why = "" if isinstance(exc, AssertionError) else f": {type(exc).__name__}: {exc}"
        log = (site.folder / "log").read_text() if (site.folder / "log").exists() else ""
        raise FailedError("\n".join([what + why, *log.splitlines()[-LOG_LINES:]])) from exc


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def run(rev: str, rounds: int, rows: Sequence[str], work: Path) -> str:
    """Compare and print. Gives what went wrong, or nothing."""
    before = os.getloadavg()[0]
    if before > BUSY:
        say(f"others are busy: the load average is {before:.1f}")
    try:
        commit = find_commit(rev)
        say(f"installing {rev} and this version")
        versions = (install_commit(OLD, commit, work / OLD), install_current(NEW, work / NEW))
    except UnavailableError as exc:
        return str(exc)
    comparison = Run(versions, rounds, work)
    failed = ""
    try:
        trio.run(comparison.measure, rows)
    except FailedError as exc:
        failed = str(exc)
    except KeyboardInterrupt:
        failed = "ended before all rounds were done"
    print_result(comparison)
    print(f"\nload average {before:.1f} before, {os.getloadavg()[0]:.1f} after")
    return failed


def print_result(comparison: Run) -> None:
    """Print what was measured, all of it or a part."""
    old, new = comparison.versions
    print(f"\nold: {old.text}\nnew: {new.text}")
    compared = compare(comparison.turns)
    if not compared:
        return
    others = disturbed(comparison.turns)
    print_table(HEADS, table_of(compared, others))
    print(
        f"\nOf {' and '.join(sorted(MORE_IS_BETTER))} more is better, of all else less. Medians; "
        f"ratios are of pairs. Worse: by more than {TOLERANCE:.0%}."
    )
    if others:
        print(
            "Others: cores that other processes used meanwhile, at most. So disturbed, even one "
            f"version differs from itself.\nTo repeat these rows: --rows {','.join(others)}"
        )
