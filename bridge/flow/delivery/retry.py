"""When to try again.

A lane that failed waits by itself (``backoff``). When a sink fails again and again its
breaker opens: then one attempt at a time goes through, as a probe, and everybody else
waits for its outcome. There is no time after which anything is given up: waiting costs
disk, and the disk has a limit of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import trio

from bridge.api import backoff

FAILURES_TO_OPEN = 3  # one lost request among good ones is no outage
MAX_RETRY_AFTER = 3600.0  # a destination that asks for more is asked again after an hour


class Breaker:
    """The gate before one destination.

    ``closed``: attempts go as they come. ``open``: the destination fails. ``paused``:
    it refuses credentials or configuration. In the latter two one probe goes at a time,
    when its time has come.
    """

    def __init__(self, base: float, cap: float, pause: float, random: Callable[[], float]) -> None:
        self._base = base
        self._cap = cap
        self._pause = pause
        self._random = random
        self._changed = trio.Event()
        self._probing = False
        self.state: Literal["closed", "open", "paused"] = "closed"
        self.failures = 0
        """Failures in a row."""
        self.probe_at = 0.0
        """When the next probe may go, on trio's clock; meaningful unless closed."""

    async def permit(self) -> None:
        """Wait until an attempt may go.

        Its outcome is told by one of the methods below.
        """
        while self.state != "closed":
            if not self._probing and trio.current_time() >= self.probe_at:
                self._probing = True
                return
            deadline = float("inf") if self._probing else self.probe_at
            with trio.move_on_at(deadline):
                await self._changed.wait()
        await trio.lowlevel.checkpoint_if_cancelled()

    async def wait_closed(self) -> None:
        """Wait until attempts go as they come."""
        while self.state != "closed":
            await self._changed.wait()

    def succeeded(self) -> None:
        """The destination answered and took events, or judged them."""
        self.failures = 0
        self._to("closed")

    def failed(self, after: float | None) -> None:
        """The attempt failed.

        ``after``: seconds that the destination asked for, or None.
        """
        self.failures += 1
        if after is not None or self.failures >= FAILURES_TO_OPEN or self.state != "closed":
            wait = backoff(self.failures, self._base, self._cap, self._random)
            self.probe_at = trio.current_time() + max(wait, min(after or 0.0, MAX_RETRY_AFTER))
            self._to("open")

    def paused(self) -> None:
        """The destination refuses until a person acts: probe slowly."""
        self.failures += 1
        self.probe_at = trio.current_time() + self._pause
        self._to("paused")

    def _to(self, state: Literal["closed", "open", "paused"]) -> None:
        self.state = state
        self._probing = False
        self._changed.set()
        self._changed = trio.Event()
