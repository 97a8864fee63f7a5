"""A thread that owns a database connection, and how tasks ask it for work.

    task ── ask(request) ──▶ SimpleQueue ──▶ thread: serve([everything that waits])
      ▲                                              │
      └── rescheduled ◀── one run_sync_soon ◀────────┘

Handing over costs a third of ``trio.to_thread.run_sync``, and everything that waits is
served together: this is where group commit comes from. The loop is woken once for all
answers of a serving.

A task that is cancelled while it waits leaves at once; its request is served all the
same, and nobody hears the answer.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import trio
from attrs import define

R = TypeVar("R")

MAX_WAITING = 512  # bounds one serving, and with it the wait of whoever comes next
CLOSING = 10.0  # seconds; a disk that hangs longer than this must not keep the process from ending

log = logging.getLogger(__name__)


@define(eq=False)
class PendingRequest(Generic[R]):
    """A request, and once it was served its answer or error."""

    request: R
    task: trio.lowlevel.Task | None
    """None once the task has left."""
    answer: Any = None
    error: Exception | None = None


@define(eq=False)
class DatabaseThread(Generic[R]):
    """A running thread. Open one with :func:`open_thread`."""

    _serve: Callable[[list[PendingRequest[R]]], None]
    """Runs in the thread: sets ``answer`` or ``error`` of each. Must not raise."""
    _served: Callable[[], None]
    """Runs in the loop after each serving, before those who asked go on."""
    _rest: Callable[[], None]
    """Runs in the thread after each serving, when the answers are on their way."""
    _token: trio.lowlevel.TrioToken
    _queue: queue.SimpleQueue[PendingRequest[R] | None]
    _stopped: trio.Event
    _closed: bool = False

    async def ask(self, request: R) -> Any:
        """Have a request served, and give the answer.

        :raises trio.ClosedResourceError: when the thread has ended.
        """
        if self._closed:
            raise trio.ClosedResourceError("the spool is closed")
        await trio.lowlevel.checkpoint_if_cancelled()
        asked = PendingRequest(request, trio.lowlevel.current_task())
        self._queue.put(asked)

        def leave(_raise_cancel: object) -> trio.lowlevel.Abort:
            asked.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)
        if asked.error is not None:
            raise asked.error
        return asked.answer

    async def stop(self) -> None:
        """Serve what was asked before, then end."""
        self._closed = True
        self._queue.put(None)
        with trio.move_on_after(CLOSING, shield=True):
            await self._stopped.wait()

    def run(self, finish: Callable[[], None]) -> None:
        """Work until stopped, then ``finish``. This is what the thread does."""
        try:
            more = True
            while more:
                batch, more = self._next()
                if batch:
                    self._work(batch)
            finish()
            self._token.run_sync_soon(self._stopped.set)
        except trio.RunFinishedError:
            pass  # the loop ended without us; nobody is there to be told

    def _next(self) -> tuple[list[PendingRequest[R]], bool]:
        """Wait for a request and take all that wait with it; False when it was the last
        time.
        """
        asked = self._queue.get()
        batch: list[PendingRequest[R]] = []
        while asked is not None:
            batch.append(asked)
            if len(batch) == MAX_WAITING:
                return batch, True
            try:
                asked = self._queue.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _work(self, batch: list[PendingRequest[R]]) -> None:
        try:
            self._serve(batch)
        except Exception as exc:  # the only thread of its kind must not end for a mistake of ours
            log.exception("spool: a mistake in bridge")
            for asked in batch:
                asked.error = asked.error or RuntimeError(f"the spool failed: {exc!r}")
        self._token.run_sync_soon(self._answer, batch)
        try:
            self._rest()
        except Exception:
            log.exception("spool: a mistake in bridge")

    def _answer(self, batch: list[PendingRequest[R]]) -> None:
        self._served()
        for asked in batch:
            if asked.task is not None:
                trio.lowlevel.reschedule(asked.task)


def _nothing() -> None:
    pass


@asynccontextmanager
async def open_thread(
    name: str,
    serve: Callable[[list[PendingRequest[R]]], None],
    *,
    finish: Callable[[], None],
    served: Callable[[], None] = _nothing,
    rest: Callable[[], None] = _nothing,
) -> AsyncIterator[DatabaseThread[R]]:
    """Run a thread while the block is entered.

    On leaving, what was asked before is served.
    """
    token = trio.lowlevel.current_trio_token()
    running = DatabaseThread[R](serve, served, rest, token, queue.SimpleQueue(), trio.Event())
    # A daemon: should the disk hang for ever, the interpreter ends without it.
    threading.Thread(target=running.run, args=(finish,), name=name, daemon=True).start()
    try:
        yield running
    finally:
        await running.stop()
