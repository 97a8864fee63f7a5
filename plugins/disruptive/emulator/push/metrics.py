"""Emulator of DT: what a connector counts, over the last three hours."""

from __future__ import annotations

import math
from collections import deque
from datetime import datetime, timedelta
from typing import Any

from attrs import define, field, frozen

WINDOW = timedelta(hours=3)


@frozen
class _Attempt:
    time: datetime
    good: bool
    latency: float


@define(eq=False)
class Metrics:
    """The attempts of a connector."""

    _attempts: deque[_Attempt] = field(init=False, factory=deque)

    def note(self, now: datetime, status: int, latency: float) -> None:
        """Count an attempt.

        :param status: 0 for no answer. Other than 2xx is an error here, whatever counts
            as an acknowledgement.
        """
        self._forget(now)
        self._attempts.append(_Attempt(now, 200 <= status < 300, latency))

    def document(self, now: datetime) -> dict[str, Any]:
        """Return the counts as REST does.

        The latency is empty without traffic (assumed).
        """
        self._forget(now)
        latencies = sorted(attempt.latency for attempt in self._attempts)
        good = sum(attempt.good for attempt in self._attempts)
        p99 = f"{latencies[math.ceil(0.99 * len(latencies)) - 1]:.3f}s" if latencies else ""
        return {"successCount": good, "errorCount": len(latencies) - good, "latency99p": p99}

    def _forget(self, now: datetime) -> None:
        while self._attempts and now - self._attempts[0].time >= WINDOW:
            self._attempts.popleft()
