"""Ways to wait: for what happens more than once, and before trying again."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define, field


@define(eq=False)
class RepeatedEvent:
    """An event that happens again and again.

    Each time it wakes those who wait at that moment.
    """

    _next: trio.Event = field(factory=trio.Event, init=False)

    def set(self) -> None:
        """Wake all who wait now."""
        self._next.set()
        self._next = trio.Event()

    async def wait(self) -> None:
        """Wait for the next time."""
        await self._next.wait()

    def upcoming(self) -> trio.Event:
        """Return the next time, for who looks at something before it waits."""
        return self._next


def backoff(failures: int, base: float, cap: float, random: Callable[[], float]) -> float:
    """Return the seconds to wait after so many failures in a row: full jitter under an
    exponential ceiling.

    :param base: seconds; the ceiling after the first failure.
    :param cap: seconds; the highest ceiling.
    :param random: gives numbers in [0, 1).
    """
    ceiling: float = min(cap, base * 2 ** min(failures - 1, 40))
    return random() * ceiling
