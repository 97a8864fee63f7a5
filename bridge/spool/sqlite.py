"""The spool in one SQLite file, as the contract wants it.

async with open_sqlite(settings, context) as spool:      lock ⊃ threads ⊃ housekeeping
    await spool.append(arrivals)                         returns after the fsync
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import trio
from attrs import define, field

from bridge.api import Arrival, SpoolUnavailable
from bridge.api.spool import Account, SpoolContext
from bridge.spool import operations
from bridge.spool.append import prepared
from bridge.spool.commit_listener import CommitListener
from bridge.spool.files import Files, claim
from bridge.spool.housekeeping import Housekeeping
from bridge.spool.instances import InstanceState
from bridge.spool.opening import open_writer
from bridge.spool.operations import Settlement
from bridge.spool.read import NotOpenError, Question, Reader, read_accounts, read_positions
from bridge.spool.schema import connect
from bridge.spool.settings import SqliteSettings
from bridge.spool.subscription import SpoolHandles, SqliteSubscription
from bridge.spool.thread import DatabaseThread, open_thread
from bridge.spool.writer import Maintenance, Operation, Request, Writer


@define(eq=False)
class SqliteSpool:
    """An open spool."""

    _context: SpoolContext
    _writer: Writer
    _writing: DatabaseThread[Request]
    _reading: DatabaseThread[Question]
    _listener: CommitListener
    housekeeping: Housekeeping
    """What is done in the background; it may also be asked to do it now."""
    _subscribed: list[str] = field(factory=list)
    """Sinks, once for each subscription."""

    @property
    def refusal(self) -> str | None:
        """Why ``append`` refuses now, or None."""
        return self._writer.refusal

    async def append(self, arrivals: Sequence[Arrival]) -> int:
        """Store events together; returns how many were new, once they are on disk."""
        request = prepared(arrivals, len(self._writer.state.heads))
        if (
            self._writer.refusal is not None
        ):  # at once, without waiting for a writer that may be checking the file
            await trio.lowlevel.checkpoint()
            raise SpoolUnavailable(self._writer.refusal)
        count: int = await self._writing.ask(request)
        return count

    @asynccontextmanager
    async def subscribe(
        self,
        sink: str,
        *,
        batch: int,
        sources: Collection[str] | None = None,
        start: Literal["now", "beginning"] = "now",
    ) -> AsyncIterator[SqliteSubscription]:
        """Open the way out for a sink.

        :raises SpoolUnavailable: when the file cannot be read now, or cannot be written
            for a sink that is new.
        """
        if sink not in self._writer.state.sinks:
            await self._write(partial(operations.begin, sink=sink, start=start))
        handles = SpoolHandles(
            self._reading,
            self._writer.state,
            self._settle,
            self._begin_again,
            self._mark_untrusted,
            self._context.now,
        )
        wanted = None if sources is None else frozenset(sources)
        positions = await self._read(partial(read_positions, sink=sink))
        subscription = SqliteSubscription(handles, sink, batch, wanted, positions)
        self._subscribed.append(sink)
        self._listener.waiting.add(subscription.news)
        try:
            yield subscription
        finally:
            self._subscribed.remove(sink)
            self._listener.waiting.discard(subscription.news)

    def state(self, instance: str) -> InstanceState:
        """Give the durable memory of an instance."""
        return InstanceState(instance, self._writer.state, self._put)

    async def accounts(self, configured: Collection[str]) -> list[Account]:
        """Give the balance of every sink.

        :raises SpoolUnavailable: when the file cannot be read now.
        """
        accounts: list[Account] = await self._read(partial(read_accounts, configured=configured))
        return accounts

    async def purge(self, sink: str) -> int:
        """Forget a sink; gives how many events it owed. One that is subscribed begins
        again, now.

        :raises SpoolUnavailable: when the spool cannot be written now.
        """
        pending: int = await self._write(partial(operations.purge, sink=sink))
        if sink in self._subscribed:
            await self._begin_again(sink)
        return pending

    async def _read(self, question: Question) -> Any:
        try:
            return await self._reading.ask(question)
        except NotOpenError:
            raise SpoolUnavailable(
                self._writer.refusal or "the spool is being opened again"
            ) from None
        except sqlite3.Error as exc:
            await self._mark_untrusted(exc)
            raise SpoolUnavailable(self._writer.refusal or str(exc)) from exc

    async def _write(self, operation: Operation) -> Any:
        if self._writer.failing is not None:
            await trio.lowlevel.checkpoint()
            raise SpoolUnavailable(self._writer.failing)
        return await self._writing.ask(operation)

    async def _settle(self, settlement: Settlement) -> None:
        await self._write(partial(operations.settle, settlement=settlement))

    async def _put(self, instance: str, key: str, value: bytes | None) -> None:
        await self._write(partial(operations.put, instance=instance, key=key, value=value))

    async def _begin_again(self, sink: str) -> None:
        await self._write(partial(operations.begin, sink=sink, start="now"))

    async def _mark_untrusted(self, error: sqlite3.Error) -> None:
        await self._writing.ask(Maintenance(partial(self._writer.mark_untrusted, error)))


@asynccontextmanager
async def open_sqlite(
    settings: SqliteSettings, context: SpoolContext, *, vfs: str | None = None
) -> AsyncIterator[SqliteSpool]:
    """Open the spool of a state folder, and make it if there is none.

    :param vfs: name of the SQLite VFS that does the input and output; None: SQLite's
        own.
    :raises SpoolError: when another process has it, or it cannot be used.
    """
    files = Files(context.directory.absolute())
    connect_writer = partial(connect, files, vfs=vfs)
    connect_reader = partial(connect, files, vfs=vfs, read_only=True)
    with claim(files):
        opening = partial(
            open_writer, files, connect_writer, max_size=settings.max_size, lanes=settings.lanes
        )
        writer = await trio.to_thread.run_sync(opening)
        listener = CommitListener(writer, context.report)
        async with open_thread(
            "spool writer",
            writer.serve,
            served=listener.served,
            rest=writer.rest,
            finish=writer.close,
        ) as writing:
            reader = Reader(connect_reader, connect_reader())
            async with open_thread("spool reader", reader.serve, finish=reader.close) as reading:
                lanes = len(writer.state.heads)
                if lanes != settings.lanes:
                    context.report(
                        f"lanes = {settings.lanes} has no effect: the spool was made with {lanes}",
                        problem=True,
                    )
                housekeeping = Housekeeping(
                    writer,
                    writing,
                    reader,
                    reading,
                    listener.wake,
                    context.now,
                    settings.dedup_window,
                    frozenset(context.sinks),
                )
                async with trio.open_nursery() as background:
                    background.start_soon(housekeeping.run)
                    yield SqliteSpool(context, writer, writing, reading, listener, housekeeping)
                    background.cancel_scope.cancel()
