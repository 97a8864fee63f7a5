"""Keeping requests apart, and off while the other side wants to be left alone."""

from __future__ import annotations

import math

import trio
from attrs import define, field


@define(eq=False)
class RequestSpacing:
    """Gives turns that lie at least ``interval`` apart, by trio's clock.

    One is shared by all tasks that send to one limit of a vendor.
    """

    interval: float = 0.0
    """Seconds between two requests."""
    _next: float = field(default=-math.inf, init=False)
    _held_until: float = field(default=-math.inf, init=False)

    async def turn(self) -> None:
        """Wait for our turn; turns come in the order in which they were asked for."""
        turn = max(trio.current_time(), self._next, self._held_until)
        self._next = turn + self.interval
        await trio.sleep_until(turn)

    def hold_off(self, seconds: float) -> None:
        """Let nobody go for so long: the other side said that it is too much."""
        self._held_until = max(self._held_until, trio.current_time() + seconds)

    @property
    def held_off(self) -> float:
        """Seconds until turns are given again; 0 if they are."""
        return max(self._held_until - trio.current_time(), 0.0)
