"""Waiting for what happens more than once."""

from __future__ import annotations

import trio
from attrs import define, field


@define(eq=False)
class RepeatedEvent:
    """An event that happens again and again. Each time it wakes those who wait at that moment."""

    _next: trio.Event = field(factory=trio.Event, init=False)

    def set(self) -> None:
        """Wake all who wait now."""
        self._next.set()
        self._next = trio.Event()

    async def wait(self) -> None:
        """Wait for the next time."""
        await self._next.wait()
