"""In the background of an open spool: deleting what nobody owes, looking for room,
getting over errors.

Each step is an ordinary request to the writer, small enough that it shares a commit
with appends unnoticed. A file that has to be checked as a whole is checked by a thread
of its own, however long that takes: the writer's refuses at once meanwhile, and shows
that it does not hang.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial

import trio
from attrs import define, field

from bridge.api import Duration, SpoolUnavailable
from bridge.api.spool.problems import BACKLOG_EXPIRES, SIZE_CANNOT_FIT
from bridge.spool.ageing import expire_parked, leave, note_orphans
from bridge.spool.backlog import Bound, backlog_of, expire_oldest
from bridge.spool.budget import RESUME
from bridge.spool.keys_upkeep import KeyUpkeep
from bridge.spool.letters import move_letters
from bridge.spool.operations import note_heads, prune_events
from bridge.spool.outlook import Outlook
from bridge.spool.read import NotOpenError, Question, Reader
from bridge.spool.requests import Maintenance, Request
from bridge.spool.schema import pragma
from bridge.spool.thread import DatabaseThread
from bridge.spool.writer import Writer

TICK = 1.0  # seconds between two rounds
MAX_WAIT = 60.0  # seconds between two attempts to open the file again
AGEING = 60.0  # seconds between two looks at what may have become too old
PARKED_SHARE = 4  # of the room: one sink's parked devices may use one part in so many
NOTES = 48  # times in `keep` that it is noted where the lanes end


@define(eq=False)
class Housekeeping:
    """What is done beside the flow of events."""

    _writer: Writer
    _writing: DatabaseThread[Request]
    _reader: Reader
    _reading: DatabaseThread[Question]
    _changed: Callable[[], None]
    """Called when something works again."""
    _keep: float
    """Seconds of running for which events stay that nobody owes."""
    _park_for: Duration
    _orphan_grace: float
    _now: Callable[[], datetime]
    _sinks: frozenset[str]
    """The configured sinks: nothing is deleted before each of them has begun."""
    _report: Callable[..., None]
    bounds: dict[str, Bound] = field(factory=dict)
    """Of single sinks, by name."""
    window: float = 0.0
    """Seconds for which keys should be known."""
    keys: KeyUpkeep | None = None
    _outlook: Outlook = field(factory=Outlook)
    _foretold: set[str] = field(factory=set)
    """Topics of what was told."""
    _expired: dict[str, float] = field(factory=dict)
    """By sink: when some of its events were given up last, on trio's clock."""
    _next_note: float = 0.0
    _next_ageing: float = 0.0
    _letters_to_move: bool = True
    _told: str | None = None
    """What was told of the room on the disk."""

    async def run(self) -> None:
        """Keep house until cancelled."""
        wait = TICK
        self._tell()
        while True:
            await trio.sleep(wait)
            if self._writer.failing is not None:
                wait = TICK if await self.recover() else min(2 * wait, MAX_WAIT)
                continue
            refusal = self._writer.refusal
            await self._writing.ask(Maintenance(self._writer.look_after))
            self._tell()
            if refusal is not None and self._writer.refusal is None:
                self._changed()
            try:
                await self.move_letters()
                await self.note_heads()
                if trio.current_time() >= self._next_ageing:
                    await self.age()
                    self._next_ageing = trio.current_time() + AGEING
                    self._foretell()
                await self.prune_events()
                await self.bound_backlogs()
            except SpoolUnavailable:
                pass  # the writer says why
            wait = TICK

    def _tell(self) -> None:
        """Say when the disk leaves less room than was set, and when it does no more."""
        room = self._writer.room
        if room.notice != self._told:
            self._told = room.notice
            fits = room.notice is None or not room.explicit
            problem = None if fits else SIZE_CANNOT_FIT
            self._report(room.notice or "", problem=problem, topic="disk")

    def _foretell(self) -> None:
        """Say what will happen if it goes on like this, and take back what will not."""
        room = self._writer.room
        self._outlook.note(self._writer.clock(), room.usage.owed)
        found = None if self.keys is None else self.keys.found
        told = set()
        for topic, problem, text in self._outlook.problems(
            room.usage, room.limit, found, self.window
        ):
            told.add(topic)
            self._report(text, problem=problem, topic=topic)
        for topic in self._foretold - told:
            self._report("", topic=topic)
        self._foretold = told

    async def bound_backlogs(self) -> None:
        """Let go, or refuse, what a sink owes beyond its bound."""
        room = self._writer.room
        room.watched = any(bound.max_backlog is not None for bound in self.bounds.values())
        too_much = ""
        for sink, bound in self.bounds.items():
            over = 0
            if bound.max_backlog is not None:
                look = partial(backlog_of, sink=sink, each=room.usage.each)
                over = await self._writing.ask(look) - bound.max_backlog
                if over > 0 and not bound.expires:
                    too_much = f"{sink} owes more than max_backlog = {bound.max_backlog}; "
                    continue
            if bound.expires and room.refusal is not None:
                over = max(over, room.used - int(RESUME * room.limit))
            if await self._expire(sink, over):
                self._expired[sink] = trio.current_time()
                text = f"{sink} owes too much: its oldest events go, counted as expired"
                self._report(text, problem=BACKLOG_EXPIRES, topic=f"backlog of {sink}")
        for sink, last in list(self._expired.items()):
            if trio.current_time() - last > AGEING:
                del self._expired[sink]
                self._report("", topic=f"backlog of {sink}")
        room.bounded = (
            f"{too_much}let it deliver, raise the bound, or set when_full = expire"
            if too_much
            else None
        )

    async def _expire(self, sink: str, over: int) -> int:
        """Give up about so many bytes; returns how many went."""
        expired = 0
        while expired < over:
            step = partial(expire_oldest, sink=sink, size=over - expired)
            gone = await self._writing.ask(step)
            if not gone:
                break
            expired += gone
        return expired

    async def recover(self) -> bool:
        """Close everything, open and check the file again; says whether it can be
        trusted.
        """
        if not await self._writing.ask(Maintenance(self._writer.find_file)):
            return False
        with suppress(NotOpenError):  # it is closed since the last attempt
            await self._reading.ask(self._reader.leave)
        await self._writing.ask(Maintenance(self._writer.leave))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat)
            trusted = await self._open_again()
            nursery.cancel_scope.cancel()
        if trusted:
            self._changed()
        return trusted

    async def _open_again(self) -> bool:
        try:
            connection = await trio.to_thread.run_sync(
                open_checked, self._writer.connect, abandon_on_cancel=True
            )
            if not await self._writing.ask(Maintenance(partial(self._writer.trust, connection))):
                return False
            self._reader.connection = await trio.to_thread.run_sync(self._reader.connect)
        except sqlite3.Error as exc:
            await self._writing.ask(Maintenance(partial(self._writer.reopening_failed, exc)))
            return False
        return True

    async def _beat(self) -> None:
        while True:
            await self._writing.ask(Maintenance(self._writer.beat))
            await trio.sleep(TICK)

    async def prune_events(self) -> None:
        """Delete what every sink has settled."""
        while self._writer.state.sinks >= self._sinks:
            if not await self._writing.ask(partial(prune_events, keep=self._keep)):
                return

    async def note_heads(self) -> None:
        """Note where the lanes end, some times in the span for which events stay."""
        if self._keep > 0 and self._writer.clock() >= self._next_note:
            self._next_note = self._writer.clock() + self._keep / NOTES
            await self._writing.ask(partial(note_heads, keep=self._keep))

    async def age(self) -> None:
        """Set aside what orphans owe, and give up what waited for too long."""
        await self._writing.ask(partial(note_orphans, configured=self._sinks))
        while await self._writing.ask(partial(leave, grace=self._orphan_grace)):
            pass
        while await self._writing.ask(
            partial(
                expire_parked,
                park_for=self._park_for,
                most=self._writer.room.limit // PARKED_SHARE,
                now=self._now(),
            )
        ):
            pass

    async def move_letters(self) -> None:
        """Bring dead letters of version 1 to where they are now, a step a round."""
        if self._letters_to_move:
            self._letters_to_move = await self._writing.ask(move_letters) > 0


def open_checked(connect: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
    """Open the file, which reads its log from the beginning, and check all of it.

    :raises sqlite3.Error: when it is damaged.
    """
    connection = connect()
    try:
        found = pragma(connection, "quick_check(1)")
    except BaseException:
        connection.close()
        raise
    if found != "ok":
        connection.close()
        raise sqlite3.DatabaseError(f"damaged: {found}")
    return connection
