"""Recovery: reading back from a vendor's history what was missed, beside what is live.

    gap ─▶ long enough? ─▶ job, kept in the spool
        job ─▶ part by part, page by page ─▶ marked, stored ─▶ part done, kept

Rules. A job survives a crash: its parts that are done are kept, and what is read twice
is known once. Before each store it yields: while more waits for a healthy sink than
that sink takes in a moment, it waits too, though never for long. It never gives up:
what may pass is tried again, and what needs a person is shown and tried slowly.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import trio
from attrs import define, evolve, field, frozen

from bridge.api import (
    RECOVERED,
    Event,
    History,
    KeyValue,
    Page,
    Pause,
    Problem,
    Recovery,
    Reject,
    Report,
    Retry,
    SourceContext,
)
from bridge.api.rest.pages import EndlessListError, follow_pages
from bridge.flow.ingest import Ingest
from bridge.flow.instances.insist import Persistence, Verdict, attempt_until_done
from bridge.flow.problems import BACKFILL_FAILS, BACKFILL_PAUSED, GAP_INCOMPLETE, GAP_STAYS
from bridge.flow.recovery.gaps import NOT_WORTH_A_WORD, span
from bridge.flow.recovery.jobs import Job

MAX_EVENTS = 100  # stored together: what is live waits for them at most
MAX_PENDING = 500  # events that wait for a healthy sink
MAX_YIELD = 5.0  # seconds, then it goes on: a sink that is always busy must not stop it
YIELD = 0.1
PERSISTENCE = Persistence(base=2.0, cap=300.0, probe=300.0)
SPOOL_PERSISTENCE = Persistence(base=0.0, cap=0.0)  # as the spool asks; it reports why itself
FAILURES_WORTH_A_WORD = 3  # in a row; more are a problem
MAX_JOBS = 20
JOBS = "jobs"

T = TypeVar("T")

log = logging.getLogger(__name__)


@frozen
class RecoveryPolicy:
    """When a source reads back what it missed."""

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
    """Returns how many events wait for the healthy sink that is furthest behind."""
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
            self.ask_for(name, since, missed=not up and length >= NOT_WORTH_A_WORD)

    def ask_for(self, why: str, since: datetime, *, missed: bool = True) -> None:
        """Add a job that reaches until now, or say what is missing because it cannot be
        done.

        :param missed: whether something was missed for all that is known.
        """
        if (lacks := self.recovery.lacks(self.settings)) is not None:
            self.report(
                f"{why} until {self.context.now():%Y-%m-%d %H:%M} UTC: {lacks}",
                problem=GAP_STAYS if missed else None,
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
        if len(self.jobs) >= MAX_JOBS:
            # So many only if none can be done: this one takes the last one in.
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
            incomplete = job.left_out or job.lost_before
            self.report(text, problem=GAP_INCOMPLETE if incomplete else None)

    def progress(self, job: Job) -> str:
        """How far a job is, in one sentence."""
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

        async def read() -> None:
            try:
                async with self.recovery.open(self.settings, self.context) as history:
                    await self._read(history, job)
            except Reject as reject:  # not of one part: somebody must act
                raise Pause(reject.why) from reject

        await self._insist(job, read)

    async def _read(self, history: History, job: Job) -> None:
        parts = await self._insist(job, history.parts)
        job.parts = len(parts)
        self.report(f"{job.why}, backfilling {len(parts)} {self.recovery.parts}")
        done = set(job.done)
        for part in parts:
            if part in done:
                continue
            try:
                await self._read_part(history, job, part)
            except Reject as reject:
                job.left_out.append(f"{part}: {reject.why}")
            except EndlessListError:
                why = "the vendor's pages go round in circles; what was read is kept"
                job.left_out.append(f"{part}: {why}")
            job.done.append(part)
            await self.keep()

    async def _read_part(self, history: History, job: Job, part: str) -> None:
        async def read(cursor: str | None) -> tuple[Page, str | None]:
            page = await self._insist(job, partial(history.page, part, job.start, job.end, cursor))
            return page, page.cursor

        async for page in follow_pages(read):
            for begin in range(0, len(page.events), MAX_EVENTS):
                await self._store(job, page.events[begin : begin + MAX_EVENTS])

    async def _insist(self, job: Job, call: Callable[[], Awaitable[T]]) -> T:
        """Attempt until it succeeds. :raises Reject: when the part cannot be read."""

        async def attempt() -> T:
            try:
                return await call()
            except (Retry, Pause, Reject):
                raise
            except Exception as exc:
                log.exception("%s: reading back what was missed failed", self.source)
                raise Retry(f"the plugin failed: {type(exc).__name__}: {exc}") from exc

        def failed(verdict: Verdict, failures: int) -> None:
            problem: Problem | None = None
            if isinstance(verdict, Pause):
                again = f"tried again every {span(PERSISTENCE.probe)}"
                text, problem = f"backfill waits: {verdict}; {again}", BACKFILL_PAUSED
            else:
                text = f"backfill is interrupted: {verdict}; it goes on by itself"
                if failures > FAILURES_WORTH_A_WORD:
                    problem = BACKFILL_FAILS
            self.report(f"{job.why}: {text}", problem=problem)

        return await attempt_until_done(attempt, PERSISTENCE, self.context.random, failed)

    async def _store(self, job: Job, events: Sequence[Event]) -> None:
        marked = [evolve(event, labels={**event.labels, RECOVERED: "true"}) for event in events]
        await self._yield()
        try:
            job.new += await self._when_spool_takes(
                partial(self.ingest.recover, self.source, marked)
            )
        except ValueError as exc:
            if len(events) > 1:
                for event in events:
                    await self._store(job, [event])
            else:
                job.left_out.append(str(exc))
        else:
            job.events += len(events)

    async def _yield(self) -> None:
        with trio.move_on_after(MAX_YIELD):
            # The spool tells nobody when it is less.
            while await self.pressure() > MAX_PENDING:  # noqa: ASYNC110
                await trio.sleep(YIELD)

    async def keep(self) -> None:
        """Keep the jobs.

        Waits while the spool cannot write: a job must not be half known.
        """
        await self._when_spool_takes(
            lambda: self.state.put(JOBS, [job.as_json() for job in self.jobs])
        )

    async def _when_spool_takes(self, store: Callable[[], Awaitable[T]]) -> T:
        return await attempt_until_done(
            store, SPOOL_PERSISTENCE, self.context.random, lambda _verdict, _failures: None
        )
