"""The spool in one SQLite file, as the contract wants it.

async with open_sqlite(settings, context) as spool:      lock ⊃ threads ⊃ housekeeping
    await spool.append(arrivals)                         returns after the fsync
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import orjson
import trio
from attrs import define, field, frozen

from bridge.api import (
    JSON,
    Arrival,
    Duration,
    SettingError,
    Size,
    SpoolUnavailable,
    at_least,
    between,
    setting,
)
from bridge.api.spool import Account, SpoolContext, SpoolError
from bridge.spool import operations
from bridge.spool.append import prepared
from bridge.spool.files import Files, Reserve, claim
from bridge.spool.housekeeping import Housekeeping
from bridge.spool.operations import Settlement
from bridge.spool.read import NotOpenError, Question, Reader, read_accounts, read_positions
from bridge.spool.schema import connect, prepare
from bridge.spool.subscription import CommitListener, SpoolHandles, SqliteSubscription
from bridge.spool.thread import DatabaseThread, open_thread
from bridge.spool.transaction import WriterState
from bridge.spool.writer import Maintenance, Operation, Request, Writer

# The empty file with its lanes is some 100 KiB; below this the limit would be the rule.
MIN_SIZE = Size(1 << 20)


@frozen
class SqliteSettings:
    """Settings of the SQLite spool."""

    max_size: Size = setting(
        Size(10 << 30), help="disk space of the spool; beyond it sources are refused, sinks go on"
    )
    dedup_window: Duration = setting(
        Duration(31 * 86400),
        help="how long a key is known; longer than any source repeats",
        validator=at_least(1),
    )
    lanes: int = setting(
        16,
        help="shares of the devices that go to a sink side by side; used when the spool is created",
        validator=between(1, 1024),
    )

    def __attrs_post_init__(self) -> None:
        if self.max_size < MIN_SIZE:
            raise SettingError("max_size", f"expected {MIN_SIZE} or more, got {self.max_size}")


@define(eq=False)
class InstanceState:
    """What one source or sink keeps: read from memory, written by the writer."""

    instance: str
    _writer_state: WriterState
    _put: Callable[[str, str, bytes | None], Awaitable[None]]

    def get(self, key: str) -> JSON:
        """Return the value, or None."""
        value = self._writer_state.instances.get(self.instance, {}).get(key)
        return None if value is None else orjson.loads(value)

    async def put(self, key: str, value: JSON) -> None:
        """Store a value; None removes the key."""
        await self._put(self.instance, key, None if value is None else orjson.dumps(value))


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
        if self._writer.refusal is not None:
            # At once, without waiting for a writer that may be checking the file.
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
        """Return the durable memory of an instance."""
        return InstanceState(instance, self._writer.state, self._put)

    async def accounts(self, configured: Collection[str]) -> list[Account]:
        """Return the balance of every sink.

        :raises SpoolUnavailable: when the file cannot be read now.
        """
        accounts: list[Account] = await self._read(partial(read_accounts, configured=configured))
        return accounts

    async def purge(self, sink: str) -> int:
        """Forget a sink; returns how many events it owed. One that is subscribed begins
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


def open_writer(
    files: Files, connect: Callable[[], sqlite3.Connection], *, max_size: int, lanes: int
) -> Writer:
    """Open the file for writing, make its tables if it is empty, and learn where its
    lanes end.

    Quick however large the file is: it is not checked as a whole,
    ``bridge.spool.audit`` does that.

    :raises SpoolError: when it cannot be used.
    """
    reserve = Reserve(files)
    try:
        connection, state = _open(files, connect, lanes)
    except sqlite3.Error as exc:
        # A full disk has no room even for SQLite's side files; the reserve has.
        if not reserve.release():
            raise _unusable(files, exc) from exc
        try:
            connection, state = _open(files, connect, lanes)
        except sqlite3.Error as again:
            raise _unusable(files, again) from again
    writer = Writer(files, max_size, connect, reserve, connection, state)
    writer.look_after()
    return writer


def _open(
    files: Files, connect: Callable[[], sqlite3.Connection], lanes: int
) -> tuple[sqlite3.Connection, WriterState]:
    connection = connect()
    try:
        prepare(connection, files, lanes)
        state = WriterState()
        state.load(connection)
    except BaseException:
        connection.close()
        raise
    return connection, state


def _unusable(files: Files, exc: sqlite3.Error) -> SpoolError:
    if getattr(exc, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    ):
        return SpoolError(
            f"{files.database} is damaged ({exc}); keep a copy of the folder, then put a "
            "backup in its place, or save what can be read with: "
            f"sqlite3 {files.database} .recover"
        )
    return SpoolError(
        f"{files.database} cannot be opened ({exc}); look at the room on the disk, the rights "
        "of the folder and whether another program uses the file"
    )
