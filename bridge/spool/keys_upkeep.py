"""Keys kept for as long as they should be, in the background."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import trio
from attrs import define

from bridge.api import SpoolUnavailable
from bridge.spool.keys_prune import empty_old_keys, prune_hours, walk_hour
from bridge.spool.keys_survey import Ages, KeySurvey, due_hours, hour_to_walk, survey
from bridge.spool.transaction import Transaction, WriterState

TICK = 1.0  # seconds between two rounds
LOOK = 60.0  # seconds between two looks at all hours; keys are stored by the minute
FILTER_STEPS = 50  # in one round, together a second of the reader


@define
class Walk:
    """An hour that is looked through, key by key."""

    hour: int
    cut: int
    after: bytes = b""


@define(eq=False)
class KeyUpkeep:
    """Deletes what is due, and knows how long keys can stay."""

    _write: Callable[[Callable[[Transaction], Any]], Awaitable[Any]]
    _read: Callable[[Any], Awaitable[Any]]
    _state: WriterState
    _window: float
    """Seconds of running for which a key is known."""
    _room: Callable[[], int]
    """Bytes that the keys may take."""
    found: KeySurvey | None = None
    """As of the last look; None before the first."""
    _next_look: float = 0.0
    _walk: Walk | None = None
    busy: bool = False
    """Whether there may be hours to walk."""

    async def run(self) -> None:
        """Keep house until cancelled."""
        while True:
            await trio.sleep(TICK)
            with suppress(SpoolUnavailable):  # the writer says why
                await self.round()

    async def round(self) -> None:
        """Do what is due now.

        :raises SpoolUnavailable: when the file cannot be written now.
        """
        await self._filter_old_keys()
        if trio.current_time() >= self._next_look:
            await self._look()
            self._next_look = trio.current_time() + LOOK
        if self._walk is None and self.busy and self.found is not None:
            self._walk = await self._next_walk(self.found.cut)
            self.busy = self._walk is not None
        if self._walk is not None:
            walk = self._walk
            step = partial(walk_hour, hour=walk.hour, after=walk.after, cut=walk.cut)
            after = await self._write(step)
            self._walk = None if after is None else Walk(walk.hour, walk.cut, after)

    async def _look(self) -> None:
        running: float = await self._write(_running)
        ages = Ages()
        while await self._read(ages.read):
            pass
        self.found = found = survey(ages, running=running, window=self._window, room=self._room())
        while hours := await self._read(partial(due_hours, cut=found.cut)):
            while hours:
                done = await self._write(partial(prune_hours, hours=hours, cut=found.cut))
                hours = hours[done:]
        self.busy = True
        while self._state.old_keys is not None and await self._write(
            partial(empty_old_keys, window=self._window)
        ):
            pass

    async def _next_walk(self, cut: int) -> Walk | None:
        hour = await self._read(partial(hour_to_walk, cut=cut, window=self._window))
        return None if hour is None else Walk(hour, cut)

    async def _filter_old_keys(self) -> None:
        old = self._state.old_keys
        for _ in range(FILTER_STEPS):
            if old is None or not await self._read(old.build):
                return


def _running(transaction: Transaction) -> float:
    return transaction.running
