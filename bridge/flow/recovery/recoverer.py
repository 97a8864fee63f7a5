"""Recovery: reading back from a vendor's history what was missed, beside what is live.

    gap ─▶ judge ─▶ job, kept in the spool ─▶ part by part, page by page ─▶ marked, stored ─▶ part done, kept

Rules. A job survives a crash: its parts that are done are kept, and what is read twice
is known once. Before each store it yields: while more waits for a healthy sink than
that sink takes in a moment, it waits too, though never for long. It never gives up:
what may pass is tried again, and what needs a person is shown and tried slowly.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import trio
from attrs import define, evolve, field, frozen

from bridge.api import (
    RECOVERED,
    Event,
    History,
    KeyValue,
    Pause,
    Recovery,
    Reject,
    Report,
    Retry,
    SourceContext,
    SpoolUnavailable,
    backoff,
)
from bridge.flow.ingest import Ingest
from bridge.flow.recovery.gaps import NOT_WORTH_A_WORD, span
from bridge.flow.recovery.jobs import Job

MAX_EVENTS = 100  # stored together: what is live waits for them at most
MAX_PENDING = 500  # events that wait for a healthy sink
MAX_YIELD = 5.0  # seconds, then it goes on: a sink that is always busy must not stop it
YIELD = 0.1
RETRY_BASE, RETRY_CAP = 2.0, 300.0  # seconds
PAUSE_PROBE = 300.0
MAX_JOBS = 20
JOBS = "jobs"

T = TypeVar("T")

log = logging.getLogger(__name__)


@frozen
class RecoveryPolicy:
    """When a source reads back what it missed: as configured, else its kind's defaults."""

    automatic: bool
    after: float
    """Seconds; a shorter gap is left to the vendor."""
    overlap: float
    """Seconds before the gap at which reading begins."""


@define(eq=False)
class Recoverer:
    """Reads back what one source missed."""

    source: str
    recovery: Recovery[Any]
    settings: Any
    context: SourceContext
    policy: RecoveryPolicy
    ingest: Ingest
    state: KeyValue
    report: Report
    pressure: Callable[[], Awaitable[int]]
    """Gives how many events wait for the healthy sink that is furthest behind."""
    jobs: list[Job] = field(factory=list)
    results: dict[int, str] = field(factory=dict)
    """What became of jobs since the start, by number."""
    _wake: trio.Event = field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.jobs = [Job.from_json(kept) for kept in self.state.get(JOBS) or ()]

    def found(self, since: datetime, up: bool) -> None:
        """Judge a gap that ends now. See :mod:`bridge.flow.recovery.gaps`."""
        now = self.context.now()
        length = (now - since).total_seconds()
        name = f"gap {span(length)}"
        if length < self.policy.after:
            if length >= NOT_WORTH_A_WORD:
                self.report(
                    f"{name}, shorter than backfill_after: {self.recovery.meanwhile(self.settings)}"
                )
        elif not self.policy.automatic:
            meanwhile = self.recovery.meanwhile(self.settings)
            self.report(
                f"{name} until {now:%Y-%m-%d %H:%M} UTC: {meanwhile}; more only by command "
                "(backfill = no)"
            )
        else:
            self.ask_for(name, since, problem=not up and length >= NOT_WORTH_A_WORD)

    def ask_for(self, why: str, since: datetime, *, problem: bool = True) -> None:
        """Add a job that reaches until now, or say what is missing because it cannot be
        done.
        """
        if (lacks := self.recovery.lacks(self.settings)) is not None:
            self.report(
                f"{why} until {self.context.now():%Y-%m-%d %H:%M} UTC: {lacks}", problem=problem
            )
        else:
            self.ask(why, since)

    def ask(self, why: str, start: datetime, end: datetime | None = None) -> Job:
        """Add a job.

        Without an end it reaches until now, and begins before its start by the overlap.
        """
        now = self.context.now()
        begin = start if end is not None else start - timedelta(seconds=self.policy.overlap)
        lost = None
        if self.recovery.reach is not None and begin < (
            reached := now - timedelta(seconds=self.recovery.reach)
        ):
            lost, begin = start if start < reached else None, reached
        number = 1 + max([0, *self.results, *(job.number for job in self.jobs)])
        job = Job(number, why, begin, end or now, lost)
        if (
            len(self.jobs) >= MAX_JOBS
        ):  # so many only if none can be done: the last one takes this in
            last = self.jobs.pop()
            job.start, job.end = min(last.start, job.start), max(last.end, job.end)
        self.jobs.append(job)
        self._wake.set()
        return job

    async def run(self) -> None:
        """Do the jobs, the oldest first, until cancelled."""
        while True:
            if not self.jobs:
                self._wake = trio.Event()
                await self._wake.wait()
            await self.keep()
            job = self.jobs[0]
            await self._do(job)
            self.jobs.remove(job)
            self.results[job.number] = text = job.result(self.recovery.parts)
            await self.keep()
            self.report(text, problem=bool(job.left_out or job.lost_before))

    def progress(self, job: Job) -> str:
        """Tell how far a job is."""
        count = f"{len(job.done)} of {job.parts}" if job.parts else "no"
        return (
            f"{job.why}: {count} {self.recovery.parts} read back, {job.events} events, {job.new} "
            "of them new"
        )

    async def list_parts(self) -> list[str]:
        """Name what a job would read, for a person who asks first.

        One attempt: raises the verdicts of a history.
        """
        async with self.recovery.open(self.settings, self.context) as history:
            return list(await history.parts())

    async def _do(self, job: Job) -> None:
        visible = (job.end - self.context.now()).total_seconds() + self.recovery.delay
        await trio.sleep(min(max(visible, 0.0), self.recovery.delay))
        failures = _Failures(self)
        while True:
            try:
                async with self.recovery.open(self.settings, self.context) as history:
                    await self._read(history, job, failures)
            except Exception as exc:
                await failures.wait(job, exc)
            else:
                return

    async def _read(self, history: History, job: Job, failures: _Failures) -> None:
        parts = await failures.insist(job, history.parts)
        job.parts = len(parts)
        self.report(f"{job.why}, backfilling {len(parts)} {self.recovery.parts}")
        done = set(job.done)
        for part in parts:
            if part in done:
                continue
            try:
                await self._read_part(history, job, part, failures)
            except Reject as reject:
                job.left_out.append(f"{part}: {reject.why}")
            job.done.append(part)
            await self.keep()

    async def _read_part(self, history: History, job: Job, part: str, failures: _Failures) -> None:
        cursor: str | None = None
        cursors: set[str] = set()
        while True:

            async def read(cursor: str | None = cursor) -> Any:
                return await history.page(part, job.start, job.end, cursor)

            page = await failures.insist(job, read)
            for begin in range(0, len(page.events), MAX_EVENTS):
                await self._store(job, page.events[begin : begin + MAX_EVENTS])
            cursor = page.cursor
            if cursor is None:
                return
            if cursor in cursors:
                raise Reject("the vendor's pages go round in circles; what was read is kept")
            cursors.add(cursor)

    async def _store(self, job: Job, events: Sequence[Event]) -> None:
        marked = [evolve(event, labels={**event.labels, RECOVERED: "true"}) for event in events]
        await self._yield()
        while True:
            try:
                job.new += await self.ingest.recover(self.source, marked)
            except SpoolUnavailable as refused:
                await trio.sleep(refused.retry_after)
            except ValueError as exc:
                if len(marked) > 1:
                    for event in events:
                        await self._store(job, [event])
                    return
                job.left_out.append(str(exc))
                return
            else:
                job.events += len(marked)
                return

    async def _yield(self) -> None:
        with trio.move_on_after(MAX_YIELD):
            while await self.pressure() > MAX_PENDING:  # noqa: ASYNC110  # the spool tells nobody when it is less
                await trio.sleep(YIELD)

    async def keep(self) -> None:
        """Keep the jobs.

        Waits while the spool cannot write: a job must not be half known.
        """
        while True:
            try:
                await self.state.put(JOBS, [job.as_json() for job in self.jobs])
            except SpoolUnavailable as refused:
                await trio.sleep(refused.retry_after)
            else:
                return


class _Failures:
    """Waits between the attempts of one job."""

    def __init__(self, owner: Recoverer) -> None:
        self._owner = owner
        self._in_a_row = 0

    async def insist(self, job: Job, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it succeeds. :raises Reject: when the part cannot be read."""
        while True:
            try:
                result = await call()
            except Reject:
                raise
            except Exception as exc:
                await self.wait(job, exc)
            else:
                self._in_a_row = 0
                return result

    async def wait(self, job: Job, exc: Exception) -> None:
        """Report a failure and wait as long as it takes before the next attempt."""
        owner = self._owner
        self._in_a_row += 1
        if isinstance(exc, Pause | Reject):
            owner.report(
                f"{job.why}: backfill waits: {exc.why}; tried again every {span(PAUSE_PROBE)}",
                problem=True,
            )
            await trio.sleep(PAUSE_PROBE)
            return
        after = 0.0
        if isinstance(exc, Retry):
            why, after = exc.why, exc.after or 0.0
        else:
            why = f"the plugin failed: {type(exc).__name__}: {exc}"
            log.error("%s: reading back what was missed failed", owner.source, exc_info=exc)
        owner.report(
            f"{job.why}: backfill is interrupted: {why}; it goes on by itself",
            problem=self._in_a_row > 3,
        )
        await trio.sleep(
            max(backoff(self._in_a_row, RETRY_BASE, RETRY_CAP, owner.context.random), after)
        )
