"""Restarting what crashed.

A plugin that fails is a line in the status, not an outage: each instance runs in a
supervisor of its own, which waits longer after every crash and forgets about them after
a time of health. Cancellation passes by.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from bridge.api import Report, backoff

log = logging.getLogger(__name__)

MIN_PAUSE = 1.0
MAX_PAUSE = 60.0
HEALTHY_AFTER = 120.0  # seconds without a crash that make the next one the first


class Run(Protocol):
    """What is supervised."""

    def __call__(self, *, task_status: trio.TaskStatus[None]) -> Awaitable[None]:
        """Run until cancelled."""
        ...


class _StartedOnce:
    """Passes on the first ``started()`` of many runs: trio allows one."""

    def __init__(self, status: trio.TaskStatus[None]) -> None:
        self._status = status
        self._done = False

    def started(self, value: None = None) -> None:
        if not self._done:
            self._done = True
            self._status.started(value)


async def supervise(
    name: str,
    run: Run,
    report: Report,
    random: Callable[[], float],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run an instance until cancelled, again and again.

    :param run: called with the status object on which it says that it is ready; only
        the first time counts.
    """
    status = _StartedOnce(task_status)
    crashes = 0
    told = ""
    while True:
        began = trio.current_time()
        why, exc = await _run_once(run, status)
        if why != told:
            told = why
            log.error("%s: %s", name, why, exc_info=exc)
        if trio.current_time() - began >= HEALTHY_AFTER:
            crashes = 0
        crashes += 1
        pause = max(MIN_PAUSE, backoff(crashes, 2 * MIN_PAUSE, MAX_PAUSE, random))
        report(f"{why}; started again after a pause that grows to {MAX_PAUSE:.0f} s", problem=True)
        await trio.sleep(pause)


async def _run_once(run: Run, status: trio.TaskStatus[None]) -> tuple[str, BaseException | None]:
    """Run once and say why it ended. Only cancellation leaves as an exception."""
    first: BaseException | None = None
    try:
        await run(task_status=status)
    except* Exception as group:
        first = _first(group)
    if first is None:
        return "ended by itself, which it should not", None
    return f"failed: {type(first).__name__}: {first}", first


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Give the first exception inside a group, however deep."""
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc
