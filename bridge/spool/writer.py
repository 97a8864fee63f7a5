"""The writer: everything that waits goes into one transaction and shares one fsync.

    serve([append, append, settle, put, ...])
        ─▶ BEGIN ... COMMIT (fsync) ─▶ all are answered ─▶ checkpoint

There is no timer: while one commit is on its way to the disk the next one gathers, so
that the slower the disk, the larger the commits. Only what would be longer than the log
may be is cut into several.

What follows when the file cannot be written:

*No room.* The transaction is rolled back, appends are refused, the reserve is given
back to the disk and what remains is tried again: settling and pruning go on. Sources
are let in again once there is room, see room.py.

*Any other error.* When an fsync fails, Linux reports it once, marks the pages as clean,
and may drop them: whoever calls fsync again is told that all is well although the data
never reached the disk. From then on neither the file nor the cache can be believed. So
the connection is given up, and nothing is acknowledged until

* every connection was closed, which makes SQLite forget how much of its log it believes
  to be in the database,
* the file was opened again, which reads the log from its beginning and stops at the
  first frame with a wrong checksum,
* the database was checked,
* a checkpoint has written every page of the log anew and synced it.

What was refused meanwhile may turn out to be stored. That is no harm: it was not
acknowledged, it will be sent again, and it is known once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from attrs import define, field

from bridge.api import Problem
from bridge.api.spool.problems import (
    DISK_FULL,
    SPOOL_FAILING,
    SPOOL_FILE_GONE,
    SPOOL_FULL,
)
from bridge.spool.append import Append
from bridge.spool.budget import Memory
from bridge.spool.clock import RunningClock
from bridge.spool.disk import is_busy, is_full
from bridge.spool.files import Files
from bridge.spool.log import Log
from bridge.spool.mark import MarkKeeper
from bridge.spool.presence import Presence
from bridge.spool.requests import Maintenance, Operation, Request, carry_out, parts, refuse
from bridge.spool.room import Room
from bridge.spool.steps import STEP
from bridge.spool.thread import PendingRequest
from bridge.spool.transaction import Transaction, WriterState

# Steps of SQLite's machine between two signs of life within one statement: a tenth of a
# second or less, and rare enough to cost nothing.
BEAT_STEPS = 1_000_000


@define(eq=False)
class Writer:
    """Owns the writing connection.

    Its methods run in its thread; its attributes may be read by all.
    """

    files: Files
    connect: Callable[[], sqlite3.Connection]
    connection: sqlite3.Connection
    state: WriterState
    room: Room
    log: Log
    mark: MarkKeeper
    clock: RunningClock
    presence: Presence
    failing: str | None = None
    """Why nothing at all can be written, or None."""
    gone: bool = False
    """Whether the file is not in its place; it stays open."""
    beaten: float = field(init=False)
    """When the thread last showed that it does not hang, by ``clock.monotonic``."""

    @beaten.default
    def _now(self) -> float:
        return self.clock.monotonic()

    @property
    def refusal(self) -> str | None:
        """Why appends are refused, or None."""
        return self.failing or self.room.refusal

    def beat(self) -> None:
        """Show that the thread does not hang. Long statements do so by themselves."""
        self.beaten = self.clock.monotonic()

    @property
    def problem(self) -> Problem | None:
        """What it is that appends are refused, or None."""
        if self.failing is not None:
            return SPOOL_FILE_GONE if self.gone else SPOOL_FAILING
        if self.room.disk_full is not None:
            return DISK_FULL
        return SPOOL_FULL if self.room.refusal is not None else None

    def serve(self, batch: list[PendingRequest[Request]]) -> None:
        """Do what is asked, in as few transactions as the log has room for."""
        self.beat()
        appends: list[PendingRequest[Append]] = []
        operations: list[PendingRequest[Operation]] = []
        for asked in batch:
            if isinstance(asked.request, Append):
                appends.append(asked)  # type: ignore[arg-type]
            elif isinstance(asked.request, Maintenance):
                asked.answer = asked.request.run()
            else:
                operations.append(asked)  # type: ignore[arg-type]
        fitting = list(parts(appends)) or [[]]
        for part in fitting:
            self._serve_part(part, operations)
            operations = []
            if len(fitting) > 1:
                self.rest()  # else one batch could be longer than the log

    def rest(self) -> None:
        """Do what need not keep anybody waiting: everybody was answered."""
        if self.failing is not None:
            return
        try:
            if self.log.due:
                self.log.tidy(self.connection)
            if self.room.worth_measuring:
                self.room.measure(self.connection, self.state)
            self.mark.keep(self.connection, self.state)
        except sqlite3.Error as exc:
            self._handle_error(exc)

    def look_after(self) -> None:
        """See whether the files are in their place, and whether there is room again."""
        self.beat()
        if self.failing is None and (trouble := self.presence.trouble()) is not None:
            self.failing, self.gone = trouble, True
            with suppress(sqlite3.Error):  # what it held must be missed at the next start
                self.mark.write(self.connection, self.state)
        if self.failing is not None:
            return
        try:
            if self.presence.log_lost():
                self._save_lost_log()
                return
            if self.refusal is not None or self.log.excess:
                self.log.empty(self.connection)
            self.room.look(self.connection, self.state)
            self._give_way(0)
            self.room.reconsider()
            if self.clock.overdue:
                self._store([], [PendingRequest(lambda _transaction: None)])
        except sqlite3.Error as exc:
            self._handle_error(exc)

    def find_file(self) -> bool:
        """See whether the file is back in its place; if not, it must stay open."""
        if self.gone and (trouble := self.presence.trouble()) is not None:
            self.failing = trouble
            return False
        return True

    def mark_untrusted(self, error: sqlite3.Error) -> None:
        """Give up the connection: whatever the error was, the file must be checked."""
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        self.failing = (
            f"{self.files.database} failed ({error}, {name}); nothing is acknowledged until it "
            "has been opened again and checked, which is tried by itself; look at the disk and "
            "the kernel's log"
        )

    def leave(self) -> None:
        """Close the connection, so that the file can be checked and opened anew."""
        with suppress(sqlite3.Error):
            self.connection.close()

    def trust(self, connection: sqlite3.Connection) -> bool:
        """Go on with a connection to a file that was just checked; every other
        connection of ours must be closed.

        Returns whether it worked.
        """
        self.connection = connection
        try:
            if not self.log.empty(connection):
                raise sqlite3.OperationalError("another program is reading it")
            self.state.load(connection)
            self.presence.remember()
            self.log.lay_down()
            connection.set_progress_handler(self.beat, BEAT_STEPS)
            self.room.measure(connection, self.state)
        except sqlite3.Error as exc:
            self.reopening_failed(exc)
            return False
        self.failing, self.gone = None, False
        return True

    def reopening_failed(self, exc: sqlite3.Error) -> None:
        """The file could not be opened, or was found damaged."""
        if is_full(exc, self.files):
            self.room.reserve.release()
        self.mark_untrusted(exc)

    def open(self) -> None:
        """Begin: everything that is read in the file is brought to the disk, so that a
        mark of it is true.
        """
        self.presence.remember()
        self.connection.set_progress_handler(self.beat, BEAT_STEPS)
        self.room.look(self.connection, self.state)
        self._store([], [PendingRequest(self.clock.store)])
        if self.failing is None:
            self.mark.keep(self.connection, self.state)
            self.look_after()

    def close(self) -> None:
        """Close the connection; the mark then says exactly how far it came."""
        if self.failing is None:
            with suppress(sqlite3.Error):
                self._store([], [PendingRequest(self.clock.store)])
                self.mark.write(self.connection, self.state)
        self.presence.part_from_log()
        self.leave()

    def _save_lost_log(self) -> None:
        """Somebody removed the log: what is in it is brought into the database through
        the descriptor that is still open, then everything is opened anew.
        """
        self.log.empty(self.connection)
        self.mark_untrusted(sqlite3.OperationalError(f"{self.files.log.name} was removed"))

    def _serve_part(
        self,
        appends: Sequence[PendingRequest[Append]],
        operations: Sequence[PendingRequest[Operation]],
    ) -> None:
        if appends and self._refuses(sum(asked.request.size for asked in appends)):
            refuse(appends, self.refusal)
            appends = []
        while appends or operations:
            if self.failing is not None:
                refuse(operations, self.failing)
                return
            done = self._store(appends, operations)
            if done < len(operations):
                self.rest()  # the log must not become longer by all that is left
            appends, operations = [], operations[done:]

    def _refuses(self, size: int) -> bool:
        """Whether appends of so many bytes have to be refused, even when the memories
        of the bridge give way.
        """
        if self.refusal is None and not self.room.fits(size):
            try:
                self.room.look(self.connection, self.state)
                self._give_way(size)
            except sqlite3.Error as exc:
                self._handle_error(exc)
            if not self.room.fits(size):
                self.room.refuse_growth()
        return self.refusal is not None

    def _give_way(self, wanted: int) -> None:
        """Let memories give way, for a moment: the next turn goes on with it."""
        until = self.clock.monotonic() + STEP
        stuck: set[Memory] = set()
        while self.failing is None:
            decision = self.room.decide(wanted, stuck)
            if not decision.give_way:
                return
            memory, size = decision.give_way[0]
            step = PendingRequest[Operation](partial(self.room.giving[memory], size=size))
            self._store([], [step])
            if not step.answer:
                stuck.add(memory)
            if self.log.due:
                self.log.tidy(self.connection)
            self.room.measure(self.connection, self.state)
            if self.clock.monotonic() >= until:
                return

    def _store(
        self,
        appends: Sequence[PendingRequest[Append]],
        operations: Sequence[PendingRequest[Operation]],
    ) -> int:
        """Commit, or refuse what could not be committed; returns how many of the
        operations are through: all, unless the log has no room for them at once.
        """
        try:
            return self._transact(appends, operations)
        except (
            sqlite3.IntegrityError,
            sqlite3.ProgrammingError,
            sqlite3.InterfaceError,
            sqlite3.DataError,
        ) as exc:
            self._roll_back()
            self._find_culprit(appends, operations, exc)
        except sqlite3.Error as exc:
            self._roll_back()
            emptied = self._handle_error(exc)
            full = self.room.disk_full
            if full is not None and self.failing is None and (appends or emptied):
                refuse(appends, full)
                return 0  # the operations, once more by themselves
            busy = f"{self.files.database} is held by another program: {exc}"
            reason = self.failing or full or busy
            refuse(appends, reason)
            refuse(operations, reason)
        except Exception as exc:
            self._roll_back()
            self._find_culprit(appends, operations, exc)
        return len(operations)

    def _find_culprit(
        self,
        appends: Sequence[PendingRequest[Append]],
        operations: Sequence[PendingRequest[Operation]],
        exc: Exception,
    ) -> None:
        """One of the requests cannot be written, whatever the file does: it alone must
        fail.
        """
        if len(appends) + len(operations) > 1:
            # One of them may show that the file, or the room on the disk, is not what
            # it was: nothing that follows may be acknowledged as if it were.
            for append in appends:
                if self.refusal is not None:
                    refuse([append], self.refusal)
                else:
                    self._store([append], [])
            for operation in operations:
                if self.failing is not None:
                    refuse([operation], self.failing)
                else:
                    self._store([], [operation])
        elif appends:
            appends[0].error = exc
            if isinstance(exc, sqlite3.IntegrityError):
                # Rows that we do not know of are where this one should go.
                self.mark_untrusted(exc)
        else:
            operations[0].error = exc

    def _transact(
        self,
        appends: Sequence[PendingRequest[Append]],
        operations: Sequence[PendingRequest[Operation]],
    ) -> int:
        """Commit appends and as many operations as the log has room for; returns how
        many.
        """
        transaction = Transaction(self.connection, self.state, self.clock())
        changes = self.connection.total_changes
        transaction.execute("BEGIN IMMEDIATE")
        done = carry_out(transaction, appends, operations)
        wrote = self.connection.total_changes > changes
        if (wrote and self.clock.due) or self.clock.overdue:
            self.clock.store(transaction)
        transaction.execute("COMMIT")
        for remember in transaction.committed:
            remember()
        self.mark.committed()
        requests = [asked.request for asked in appends]
        size = sum(request.size for request in requests) + transaction.copied
        self.room.stored(size)
        rows = sum(len(request.rows) for request in requests)
        self.log.wrote(rows, size, done, self.connection.total_changes - changes)
        return done

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def _handle_error(self, exc: sqlite3.Error) -> bool:
        """Decide what an error means for what comes next; says whether the log has room
        again that it had not.
        """
        if is_full(exc, self.files):
            self.room.refuse_all()
            pages = self.log.pages
            with suppress(sqlite3.Error):
                return self.log.empty(self.connection) and pages > 0
        elif not is_busy(exc):
            self.mark_untrusted(exc)
        return False
