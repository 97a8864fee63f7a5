"""Background work of an instance: attempted until it succeeds, its state told meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
from attrs import frozen

from bridge.api import Insist, Pause, Report, Retry, SpoolUnavailable, backoff

T = TypeVar("T")


@frozen
class Persistence:
    """How long is waited between attempts; seconds."""

    base: float = 1.0
    """Longest pause after the first failure."""
    cap: float = 300.0
    """Longest pause after many failures."""
    probe: float = 300.0
    """After a refusal that only a person can lift."""

    def pause(
        self, verdict: Retry | Pause | SpoolUnavailable, failures: int, random: Callable[[], float]
    ) -> float:
        """Return the seconds to wait.

        :param failures: in a row, this one counted.
        """
        if isinstance(verdict, Pause):
            return self.probe
        asked = verdict.after if isinstance(verdict, Retry) else verdict.retry_after
        return max(backoff(failures, self.base, self.cap, random), asked or 0.0)


def insisting(report: Report, random: Callable[[], float], persistence: Persistence) -> Insist:
    """Return the function by which an instance insists on what it does beside its work."""

    async def insist(attempt: Callable[[], Awaitable[T]], *, topic: str, doing: str) -> T:
        failures = 0
        while True:
            try:
                result = await attempt()
            except (Retry, Pause, SpoolUnavailable) as verdict:
                failures += 1
                pause = persistence.pause(verdict, failures, random)
                again = (
                    f"tried again every {persistence.probe:g} s"
                    if isinstance(verdict, Pause)
                    else "tried again until it succeeds"
                )
                report(f"{doing} failed: {verdict}; {again}", problem=True, topic=topic)
            else:
                report("", topic=topic)
                return result
            await trio.sleep(pause)

    return insist
