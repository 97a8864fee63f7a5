"""In the background of an open spool: deleting what nobody owes, looking for room,
getting over errors.

Each step is an ordinary request to the writer, small enough that it shares a commit
with appends unnoticed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial

import trio
from attrs import define

from bridge.api import SpoolUnavailable
from bridge.spool.operations import prune_events, prune_keys
from bridge.spool.read import NotOpenError, Question, Reader
from bridge.spool.thread import DatabaseThread
from bridge.spool.writer import Maintenance, Request, Writer

TICK = 1.0  # seconds between two rounds
MAX_WAIT = 60.0  # seconds between two attempts to open the file again
WALKS = 100  # times that all keys are looked through in one dedup_window


@define(eq=False)
class Housekeeping:
    """What is done beside the flow of events."""

    _writer: Writer
    _writing: DatabaseThread[Request]
    _reader: Reader
    _reading: DatabaseThread[Question]
    _changed: Callable[[], None]
    """Called when something works again."""
    _now: Callable[[], datetime]
    _window: float
    _sinks: frozenset[str]
    """The configured sinks: nothing is deleted before each of them has begun."""
    _next_key: bytes = b""

    async def run(self) -> None:
        """Keep house until cancelled."""
        wait, next_walk = TICK, trio.current_time()
        while True:
            await trio.sleep(wait)
            if self._writer.failing is not None:
                wait = TICK if await self.recover() else min(2 * wait, MAX_WAIT)
                continue
            refusal = self._writer.refusal
            await self._writing.ask(Maintenance(self._writer.look_after))
            if refusal is not None and self._writer.refusal is None:
                self._changed()
            try:
                await self.prune_events()
                if trio.current_time() >= next_walk and await self.prune_keys():
                    next_walk = trio.current_time() + min(self._window / WALKS, 3600.0)
            except SpoolUnavailable:
                pass  # the writer says why
            wait = TICK

    async def recover(self) -> bool:
        """Close everything, open and check the file again; says whether it can be
        trusted.
        """
        with suppress(NotOpenError):  # it is closed since the last attempt
            await self._reading.ask(self._reader.leave)
        if not await self._writing.ask(Maintenance(self._writer.reopen)):
            return False
        try:
            self._reader.connection = await trio.to_thread.run_sync(self._reader.connect)
        except sqlite3.Error as exc:
            await self._writing.ask(Maintenance(partial(self._writer.mark_untrusted, exc)))
            return False
        self._changed()
        return True

    async def prune_events(self) -> None:
        """Delete what every sink has settled."""
        while self._writer.state.sinks >= self._sinks:
            if not await self._writing.ask(prune_events):
                return

    async def prune_keys(self) -> bool:
        """Delete old keys from the next stretch; says whether this was the last
        stretch.
        """
        before = int(self._now().timestamp() - self._window)
        end = await self._writing.ask(partial(prune_keys, after=self._next_key, before=before))
        self._next_key = end or b""
        return end is None
