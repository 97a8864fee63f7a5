"""The spool in one SQLite file, as the contract wants it.

async with open_sqlite(settings, context) as spool:      lock ⊃ threads ⊃ housekeeping
    await spool.append(arrivals)                         returns after the fsync
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any, Literal

import orjson
import trio
from attrs import define, field

from bridge.api import (
    JSON,
    Arrival,
    Size,
    SpoolUnavailable,
)
from bridge.api.spool import (
    Account,
    KeptLetter,
    LetterEvent,
    LetterFilter,
    ParkedDevice,
    Rewind,
    SpoolContext,
)
from bridge.api.spool.problems import DAMAGED_ROWS, LANES_IGNORED
from bridge.spool import letters, operations, parking, replay, sinks
from bridge.spool.append import add_sources, microseconds, prepared
from bridge.spool.backlog import Bound
from bridge.spool.budget import SHARE
from bridge.spool.files import Files, claim
from bridge.spool.housekeeping import Housekeeping
from bridge.spool.keys_upkeep import KeyUpkeep
from bridge.spool.opening import open_writer
from bridge.spool.read import (
    NotOpenError,
    Question,
    Reader,
    read_accounts,
    read_positions,
    read_received_since,
)
from bridge.spool.read_parked import read_parked_devices
from bridge.spool.requests import Maintenance, Operation, Request
from bridge.spool.schema import connect
from bridge.spool.settings import SqliteSettings
from bridge.spool.subscription import CommitListener, SpoolHandles, SqliteSubscription
from bridge.spool.thread import DatabaseThread, open_thread
from bridge.spool.transaction import WriterState
from bridge.spool.writer import Writer


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
    _running: Callable[[], float]
    """Seconds for which a bridge has run with this spool."""
    _subscribed: list[str] = field(factory=list)
    """Sinks, once for each subscription."""

    @property
    def refusal(self) -> str | None:
        """Why ``append`` refuses now, or None."""
        return self._writer.refusal

    @property
    def writing_connection(self) -> sqlite3.Connection:
        """The connection that writes: only it can copy the file while it is in use."""
        return self._writer.connection

    async def append(self, arrivals: Sequence[Arrival]) -> int:
        """Store events together; returns how many were new, once they are on disk."""
        if self._writer.refusal is not None:
            # At once, without waiting for a writer that may be checking the file.
            await trio.lowlevel.checkpoint()
            raise SpoolUnavailable(self._writer.refusal)
        # Once for each source. While we wait it may get another name, hence the loop.
        while new := {arrival.source for arrival in arrivals} - self._writer.state.sources.keys():
            await self._write(partial(add_sources, names=sorted(new)))
        request = prepared(arrivals, len(self._writer.state.heads), self._writer.state.sources)
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
        max_backlog: Size | None = None,
        when_full: Literal["refuse", "expire"] = "refuse",
    ) -> AsyncIterator[SqliteSubscription]:
        """Open the way out for a sink.

        :raises SpoolUnavailable: when the file cannot be read now, or cannot be written
            for a sink that is new.
        """
        if sink not in self._writer.state.sinks:
            await self._write(partial(sinks.begin, sink=sink, start=start))
        elif sink in self._writer.state.left:
            missed = await self._write(partial(sinks.come_back, sink=sink))
            self._context.report(
                f"{sink}: no section named it for too long: it goes on with what was parked for "
                f"it; {missed} events that came since were not kept, and are counted as expired"
            )
        handles = SpoolHandles(
            self._reading,
            self._writer.state,
            self._write,
            self._begin_again,
            self._mark_untrusted,
            self._context.now,
            self._running,
            partial(self._context.report, problem=DAMAGED_ROWS, topic="damage"),
        )
        self.housekeeping.bounds[sink] = Bound(max_backlog, when_full == "expire")
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

    async def parked(self, sink: str, *, after: str = "", limit: int = 100) -> list[ParkedDevice]:
        """Return parked devices of a sink."""
        question = partial(
            read_parked_devices, sink=sink, running=self._running(), after=after, limit=limit
        )
        devices: list[ParkedDevice] = await self._read(question)
        return devices

    async def retry_parked(self, sink: str, device: str | None = None) -> int:
        """Make parked devices due now."""
        count: int = await self._write(partial(parking.retry_parked, sink=sink, device=device))
        return count

    async def letters(
        self, wanted: LetterFilter, *, after: int = 0, limit: int = 100
    ) -> list[KeptLetter]:
        """Return dead letters."""
        page: list[KeptLetter] = await self._read(
            partial(letters.read_letters, wanted=wanted, after=after, limit=limit)
        )
        return page

    async def letter(self, number: int) -> LetterEvent | None:
        """Return a dead letter with its event."""
        found: LetterEvent | None = await self._read(partial(letters.read_letter, number=number))
        return found

    async def replay(self, numbers: Sequence[int]) -> int:
        """Park the events of dead letters, due now."""
        count: int = await self._write(partial(replay.replay, numbers=numbers))
        return count

    async def drop(self, numbers: Sequence[int]) -> int:
        """Forget dead letters, and count them as expired."""
        count: int = await self._write(partial(letters.drop, numbers=numbers))
        return count

    async def purge(self, sink: str) -> int:
        """Forget a sink; returns how many events it owed. One that is subscribed begins
        again, now.

        :raises SpoolUnavailable: when the spool cannot be written now.
        """
        pending: int = await self._write(partial(sinks.purge, sink=sink))
        if sink in self._subscribed:
            await self._begin_again(sink)
        return pending

    async def rename(self, sink: str, name: str) -> None:
        """Give what a sink owes and keeps another name."""
        await self._write(partial(sinks.rename, sink=sink, name=name))
        self._listener.wake()

    async def rename_source(self, source: str, name: str) -> None:
        """Give a source another name."""
        await self._write(partial(sinks.rename_source, source=source, name=name))

    async def rewind(self, sink: str, to: datetime, *, plan: bool = False) -> Rewind:
        """Make pending again what was received at a time or later."""
        found = await self._read(partial(read_received_since, sink=sink, to=microseconds(to)))
        done: Rewind = await self._write(partial(sinks.rewind, sink=sink, found=found, plan=plan))
        return done

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

    async def _put(self, instance: str, key: str, value: bytes | None) -> None:
        await self._write(partial(operations.put, instance=instance, key=key, value=value))

    async def _begin_again(self, sink: str) -> None:
        await self._write(partial(sinks.begin, sink=sink, start="now"))

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
        monotonic = trio.lowlevel.current_clock().current_time
        opening = partial(
            open_writer, files, connect_writer, settings, now=context.now, monotonic=monotonic
        )
        writer, notes = await trio.to_thread.run_sync(opening)
        for note in notes:
            context.report(note, topic="file")
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
                        problem=LANES_IGNORED,
                    )
                housekeeping = Housekeeping(
                    writer,
                    writing,
                    reader,
                    reading,
                    listener.wake,
                    settings.keep,
                    settings.park_for,
                    settings.orphan_grace,
                    context.now,
                    frozenset(context.sinks),
                    context.report,
                )
                spool = SqliteSpool(
                    context, writer, writing, reading, listener, housekeeping, writer.clock
                )
                keys = KeyUpkeep(
                    spool._write,
                    spool._read,
                    writer.state,
                    settings.dedup_window,
                    lambda: min(settings.dedup_size, writer.room.limit // SHARE),
                )
                housekeeping.keys, housekeeping.window = keys, settings.dedup_window
                async with trio.open_nursery() as background:
                    background.start_soon(housekeeping.run)
                    background.start_soon(keys.run)
                    yield spool
                    background.cancel_scope.cancel()
