"""Background work: attempted until it succeeds, its state told meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import trio
from attrs import frozen

from bridge.api import Insist, Pause, Problem, Report, Retry, SpoolUnavailable, backoff
from bridge.api.problems import WORK_FAILS

T = TypeVar("T")

Verdict: TypeAlias = Retry | Pause | SpoolUnavailable
Told: TypeAlias = Callable[[Verdict, int], None]
"""Called with why an attempt failed, and how many did so in a row."""


@frozen
class Persistence:
    """How long is waited between attempts; seconds."""

    base: float = 1.0
    """Longest pause after the first failure."""
    cap: float = 300.0
    """Longest pause after many failures."""
    probe: float = 300.0
    """After a refusal that only a person can lift."""

    def pause(self, verdict: Verdict, failures: int, random: Callable[[], float]) -> float:
        """Return the seconds to wait.

        :param failures: in a row, this one counted.
        """
        if isinstance(verdict, Pause):
            return self.probe
        asked = verdict.after if isinstance(verdict, Retry) else verdict.retry_after
        return max(backoff(failures, self.base, self.cap, random), asked or 0.0)


async def attempt_until_done(
    attempt: Callable[[], Awaitable[T]],
    persistence: Persistence,
    random: Callable[[], float],
    failed: Told,
) -> T:
    """Return the result of the first attempt that succeeds.

    :raises Exception: what an attempt raises that is no verdict.
    """
    failures = 0
    while True:
        try:
            return await attempt()
        except (Retry, Pause, SpoolUnavailable) as verdict:
            failures += 1
            pause = persistence.pause(verdict, failures, random)
            failed(verdict, failures)
        await trio.sleep(pause)


def insisting(report: Report, random: Callable[[], float], persistence: Persistence) -> Insist:
    """Return ``context.insist`` of an instance."""

    async def insist(
        attempt: Callable[[], Awaitable[T]],
        *,
        topic: str,
        doing: str,
        problem: Problem | None = None,
    ) -> T:
        def failed(verdict: Verdict, _failures: int) -> None:
            again = "tried again until it succeeds"
            if isinstance(verdict, Pause):
                again = f"tried again every {persistence.probe:g} s"
            text = f"{doing} failed: {verdict}; {again}"
            report(text, problem=problem or WORK_FAILS, topic=topic)

        result = await attempt_until_done(attempt, persistence, random, failed)
        report("", topic=topic)
        return result

    return insist
