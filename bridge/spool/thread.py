"""A thread that owns a database connection, and how tasks ask it for work.

    task ── ask(request) ──▶ memory channel ──▶ thread: serve([all that wait])
      ▲                                            │
      └── rescheduled ◀── one run_sync_soon ◀──────┘

This is where group commit comes from, and the only place: while the thread is busy with
one batch the next one gathers in the channel. So the slower the disk, the larger the
commits, and nobody had to choose a size. The channel is bounded; whoever finds it full
waits. The loop is woken once for all answers of a batch; asking costs a third of
``trio.to_thread.run_sync``.

A task that is cancelled while it waits leaves at once; its request is served all the
same, and nobody hears the answer.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, TypeVar

import trio
from attrs import define, field

R = TypeVar("R")

MAX_WAITING = 512  # bounds one batch, and with it the wait of whoever comes next
CLOSING = 10.0  # seconds; a disk that hangs longer must not keep the process from ending

log = logging.getLogger(__name__)


@define(eq=False)
class PendingRequest(Generic[R]):
    """A request, and once it was served its answer or error."""

    request: R
    task: trio.lowlevel.Task | None = None
    """Who waits for the answer; None before it waits and once it has left."""
    served: bool = False
    answer: Any = None
    error: Exception | None = None


@define(eq=False)
class DatabaseThread(Generic[R]):
    """A running thread. Open one with :func:`open_thread`."""

    _serve: Callable[[list[PendingRequest[R]]], None]
    """Runs in the thread: sets ``answer`` or ``error`` of each. Must not raise."""
    _served: Callable[[], None]
    """Runs in the loop after each batch, before those who asked go on."""
    _rest: Callable[[], None]
    """Runs in the thread after each batch, when the answers are on their way."""
    _token: trio.lowlevel.TrioToken
    _asking: trio.MemorySendChannel[PendingRequest[R]]
    _waiting: trio.MemoryReceiveChannel[PendingRequest[R]]
    _batches: queue.SimpleQueue[list[PendingRequest[R]] | None] = field(factory=queue.SimpleQueue)
    _busy: bool = False
    """Whether the thread has a batch in hand, or soon will."""
    _finished: trio.Event = field(factory=trio.Event)

    async def ask(self, request: R) -> Any:
        """Have a request served, and return the answer.

        :raises trio.ClosedResourceError: when the thread has ended.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        asked = PendingRequest(request)
        try:
            self._asking.send_nowait(asked)  # send() would cost another turn of the loop
        except trio.WouldBlock:
            await self._asking.send(asked)
        if not self._busy:
            self._busy = True
            # Not at once: whoever else asks in this turn of the loop shares the commit.
            self._token.run_sync_soon(self._hand_over)
        if not asked.served:  # it may be, when the channel was full
            asked.task = trio.lowlevel.current_task()

            def leave(_raise_cancel: object) -> trio.lowlevel.Abort:
                asked.task = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(leave)
        if asked.error is not None:
            raise asked.error
        return asked.answer

    async def stop(self) -> None:
        """Serve what was asked before, then end."""
        self._asking.close()
        if not self._busy:
            self._hand_over()
        with trio.move_on_after(CLOSING, shield=True):
            await self._finished.wait()

    def _hand_over(self) -> None:
        """Hand all that waits to the thread, which is idle."""
        batch: list[PendingRequest[R]] = []
        with suppress(trio.WouldBlock):
            try:
                while len(batch) < MAX_WAITING:
                    batch.append(self._waiting.receive_nowait())
            except trio.EndOfChannel:
                if not batch:
                    self._batches.put(None)
        self._busy = bool(batch)
        if batch:
            self._batches.put(batch)

    def _answer(self, batch: list[PendingRequest[R]]) -> None:
        self._served()
        for asked in batch:
            asked.served = True
            if asked.task is not None:
                trio.lowlevel.reschedule(asked.task)
        self._hand_over()

    def run(self, finish: Callable[[], None]) -> None:
        """Work until stopped, then ``finish``. This is what the thread does."""
        try:
            while (batch := self._batches.get()) is not None:
                self._work(batch)
            finish()
            self._token.run_sync_soon(self._finished.set)
        except trio.RunFinishedError:
            pass  # the loop ended without us; nobody is there to be told

    def _work(self, batch: list[PendingRequest[R]]) -> None:
        try:
            self._serve(batch)
        except Exception as exc:  # the only thread of its kind must outlive a mistake of ours
            log.exception("spool: a mistake in bridge")
            for asked in batch:
                asked.error = asked.error or RuntimeError(f"the spool failed: {exc!r}")
        self._token.run_sync_soon(self._answer, batch)
        try:
            self._rest()
        except Exception:
            log.exception("spool: a mistake in bridge")


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
    channel = trio.open_memory_channel[PendingRequest[R]](MAX_WAITING)
    running = DatabaseThread[R](serve, served, rest, token, *channel)
    # A daemon: should the disk hang for ever, the interpreter ends without it.
    threading.Thread(target=running.run, args=(finish,), name=name, daemon=True).start()
    try:
        yield running
    finally:
        await running.stop()
