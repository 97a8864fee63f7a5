"""Who may make an attempt: lanes, and one parked device among them.

At most ``in_flight`` attempts are under way, and at most one of them is for a parked
device, however many of those are due: they cost the lanes one slot, no more. Where that
is the only one, they have it after every ninth turn of the lanes, or when the lanes
want none.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from bridge.api import RepeatedEvent

LANE_TURNS = 9  # between two turns of parked devices where they have no slot of their own
QUIET = 1.0  # seconds without any turn after which the lanes want none


class Slots:
    """The slots of one sink."""

    def __init__(self, in_flight: int) -> None:
        self._free = trio.Semaphore(in_flight)
        self._lane_turns = LANE_TURNS if in_flight == 1 else 0
        self._turns = self._lane_turns  # of lanes, since the last one of a parked device
        self._lanes = 0  # that have a slot or wait for one
        self._quiet_at = -math.inf
        self._changed = RepeatedEvent()

    async def wait_free(self) -> None:
        """Wait until a lane could have a slot at once."""
        async with self._free:
            pass

    @asynccontextmanager
    async def lane(self) -> AsyncIterator[None]:
        """Have a slot for a lane."""
        self._lanes += 1
        self._changed.set()
        try:
            async with self._free:
                yield
        finally:
            self._lanes -= 1
            self._turns += 1
            self._quiet_at = trio.current_time() + QUIET
            self._changed.set()

    @asynccontextmanager
    async def parked(self) -> AsyncIterator[None]:
        """Have a slot for a parked device, in its turn."""
        while not self._is_quiet and self._turns + self._lanes < self._lane_turns:
            await self._change()  # who waits already goes first
        async with self._free:
            self._turns = 0
            yield

    async def quiet(self) -> None:
        """Wait until the lanes want no slot."""
        while not self._is_quiet:
            await self._change()

    @property
    def _is_quiet(self) -> bool:
        return not self._lanes and trio.current_time() >= self._quiet_at

    async def _change(self) -> None:
        with trio.move_on_at(math.inf if self._lanes else self._quiet_at):
            await self._changed.wait()
