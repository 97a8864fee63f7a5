"""Restarting what ended.

A plugin that fails is a line in the status, not an outage: each instance runs in a
supervisor of its own. A ``Retry`` or ``Pause`` that a source raises is its daily life:
it is run again when the verdict says. Anything else is a crash: the supervisor waits
longer after every one and forgets about them after a time of health. Cancellation
passes by.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio
from attrs import define, frozen

from bridge.api import Pause, Problem, Report, Retry, SpoolUnavailable, backoff
from bridge.flow.instances.insist import Persistence, Verdict
from bridge.flow.problems import (
    PLUGIN_CRASHES,
    SINK_FAILS,
    SINK_PAUSED,
    SOURCE_FAILS,
    SOURCE_PAUSED,
    SOURCE_REFUSED,
)

log = logging.getLogger(__name__)

MIN_PAUSE = 1.0
MAX_PAUSE = 60.0
HEALTHY_AFTER = 120.0  # seconds without a crash that make the next one the first
DAILY = Persistence()
STABLE_AFTER = 60.0  # seconds after which a verdict ends a good run, not an attempt


class Run(Protocol):
    """What is supervised."""

    def __call__(self, *, task_status: trio.TaskStatus[None]) -> Awaitable[None]:
        """Run until cancelled."""
        ...


@frozen
class VerdictProblems:
    """Which problem it is that a run ends with a verdict."""

    fails: Problem
    paused: Problem
    refused: Problem
    """By the spool."""

    def of(self, verdict: Verdict) -> Problem:
        if isinstance(verdict, Pause):
            return self.paused
        return self.fails if isinstance(verdict, Retry) else self.refused


SOURCE_VERDICTS = VerdictProblems(SOURCE_FAILS, SOURCE_PAUSED, SOURCE_REFUSED)
SINK_VERDICTS = VerdictProblems(SINK_FAILS, SINK_PAUSED, SINK_FAILS)


@define(eq=False)
class _StartedOnce:
    """Passes on the first ``started()`` of many runs: trio allows one."""

    status: trio.TaskStatus[None]
    passed: bool = False
    at: float | None = None
    """When the present run said so, by trio's clock; None: it has not."""

    def started(self, value: None = None) -> None:
        if self.at is None:
            self.at = trio.current_time()
        if not self.passed:
            self.passed = True
            self.status.started(value)


async def supervise(
    name: str,
    run: Run,
    report: Report,
    random: Callable[[], float],
    *,
    problems: VerdictProblems = SOURCE_VERDICTS,
    persistence: Persistence = DAILY,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run an instance until cancelled, again and again.

    :param run: called with the status object on which it says that it is ready; only
        the first time counts.
    :param problems: what it is that a run ends with a verdict.
    :param persistence: how long is waited after a verdict.
    """
    status = _StartedOnce(task_status)
    crashes = failures = 0
    told = ""
    while True:
        began = trio.current_time()
        status.at = None
        exc = await _run_once(run, status)
        if isinstance(exc, Retry | Pause | SpoolUnavailable):
            stable = status.at is not None and trio.current_time() - status.at >= STABLE_AFTER
            failures = 1 if stable else failures + 1
            pause = persistence.pause(exc, failures, random)
            if isinstance(exc, Pause):
                again = f"trying again every {persistence.probe:g} s"
            else:
                again = "trying again until it succeeds"
            # What ends after a good run is daily life, unless a person must act.
            daily = stable and not isinstance(exc, Pause)
            report(f"{exc}; {again}", problem=None if daily else problems.of(exc))
        else:
            why = "ended by itself, which it should not"
            if exc is not None:
                why = f"failed: {type(exc).__name__}: {exc}"
            if why != told:
                told = why
                log.error("%s: %s", name, why, exc_info=exc)
            if trio.current_time() - began >= HEALTHY_AFTER:
                crashes = 0
            crashes += 1
            pause = max(MIN_PAUSE, backoff(crashes, 2 * MIN_PAUSE, MAX_PAUSE, random))
            again = f"started again after a pause that grows to {MAX_PAUSE:.0f} s"
            report(f"{why}; {again}", problem=PLUGIN_CRASHES)
        await trio.sleep(pause)


async def _run_once(run: Run, status: _StartedOnce) -> BaseException | None:
    """Run once and return what ended it. Only cancellation leaves as an exception."""
    first: BaseException | None = None
    try:
        await run(task_status=status)
    except* Exception as group:
        first = min(_leaves(group), key=_rank)
    return first


def _leaves(exc: BaseException) -> list[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for inner in exc.exceptions for leaf in _leaves(inner)]
    return [exc]


def _rank(exc: BaseException) -> int:
    """What matters most of several: a crash, then what a person must mend."""
    return 2 if isinstance(exc, Retry | SpoolUnavailable) else 1 if isinstance(exc, Pause) else 0
