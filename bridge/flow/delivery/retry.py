"""When to try again.

A lane that failed waits by itself (``backoff``). When a sink fails again and again its
breaker opens: then one attempt at a time goes through, as a probe, and everybody else
waits for its outcome. Who holds a lease probes with it; if nobody does, one is taken
when the probe is due. There is no time after which anything is given up: waiting costs
disk, and the disk has a limit of its own.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import trio

from bridge.api import RepeatedEvent, backoff

FAILURES_TO_OPEN = 3  # one lost request among good ones is no outage
MAX_RETRY_AFTER = 3600.0  # a destination that asks for more is asked again after an hour


class Breaker:
    """The gate before one destination.

    ``closed``: attempts go as they come. ``open``: the destination fails. ``paused``:
    it refuses credentials or configuration. In the latter two one probe goes at a time,
    when its time has come. While a person holds the sink, nothing goes at all.
    """

    def __init__(
        self,
        base: float,
        cap: float,
        pause: float,
        random: Callable[[], float],
        wait_resumed: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint_if_cancelled,
    ) -> None:
        """:param wait_resumed: waits while a person holds the sink."""
        self._base = base
        self._cap = cap
        self._pause = pause
        self._random = random
        self._wait_resumed = wait_resumed
        self._changed = RepeatedEvent()
        self._probing = False
        self._holders = 0
        self.state: Literal["closed", "open", "paused"] = "closed"
        self.failures = 0
        """Failures in a row."""
        self.probe_at = 0.0
        """When the next probe may go, on trio's clock; meaningful unless closed."""

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Be one of those who can probe."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            self._changed.set()

    @property
    def held(self) -> bool:
        """Whether somebody can probe."""
        return self._holders > 0

    async def permit(self) -> bool:
        """Wait until an attempt may go; returns whether it is a probe.

        Its outcome is told by one of the methods below.
        """
        await self._wait_resumed()
        while self.state != "closed":
            if not self._probing and trio.current_time() >= self.probe_at:
                self._probing = True
                return True
            deadline = math.inf if self._probing else self.probe_at
            with trio.move_on_at(deadline):
                await self._changed.wait()
            await self._wait_resumed()
        await trio.lowlevel.checkpoint_if_cancelled()
        return False

    async def wait_wanted(self, patience: float = 0.0) -> None:
        """Wait until attempts go as they come, or until nobody holds a lease with which
        to make a probe that is due.

        :param patience: seconds for which others may still take one.
        """
        await self._wait_resumed()
        while self.state != "closed":
            wanted_at = math.inf if self.held else self.probe_at + patience
            if trio.current_time() >= wanted_at:
                return
            with trio.move_on_at(wanted_at):
                await self._changed.wait()
            await self._wait_resumed()

    def pass_on(self) -> None:
        """No attempt was made: another may be, as the probe."""
        self._probing = False
        self._changed.set()

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
