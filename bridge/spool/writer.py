"""The writer: everything that waits goes into one transaction and shares one fsync.

    serve([append, append, settle, put, ...])
        ─▶ BEGIN ... COMMIT (fsync) ─▶ all are answered ─▶ checkpoint

There is no timer: while one commit is on its way to the disk the next one gathers, so
that the slower the disk, the larger the commits.

What follows when the file cannot be written:

*No room.* The transaction is rolled back, appends are refused, the reserve is given
back to the disk and what remains is tried again: settling and pruning go on. Sources
are let in again once the reserve could be made anew.

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
from typing import Any, TypeAlias, TypeVar

from attrs import define, frozen

from bridge.api import Size, SpoolUnavailable
from bridge.api.spool import Stale
from bridge.spool.append import Append, append_all
from bridge.spool.files import Files, Reserve
from bridge.spool.schema import pragma
from bridge.spool.thread import PendingRequest
from bridge.spool.transaction import Transaction, WriterState

CHECKPOINT = 1000  # pages, about; fewer make single commits quicker and all together slower
MEASURE = 1 << 20  # bytes stored between two looks at the size of the file
# Bytes; a log that grew so far was held back by a reader, and is emptied by force.
LONG_LOG = 32 << 20
# Share of max_size at which sources are let in again: a full spool must not flicker.
RESUME = 0.95

Operation: TypeAlias = Callable[[Transaction], Any]


@frozen
class Maintenance:
    """Work for the writer's thread outside of a transaction."""

    run: Callable[[], Any]


Request: TypeAlias = Append | Operation | Maintenance
S = TypeVar("S", Append, Operation)


@define(eq=False)
class Writer:
    """Owns the writing connection.

    Its methods run in its thread; its attributes may be read by all.
    """

    files: Files
    max_size: int
    connect: Callable[[], sqlite3.Connection]
    reserve: Reserve
    connection: sqlite3.Connection
    state: WriterState
    failing: str | None = None
    """Why nothing at all can be written, or None."""
    disk_full: str | None = None
    too_large: str | None = None
    _used: int = 0
    """Bytes of the file in use, when it was measured last."""
    _grown: int = 0
    """Bytes stored since then, about."""
    _pages: int = 0
    """Pages written to the log since the last checkpoint, about."""

    @property
    def refusal(self) -> str | None:
        """Why appends are refused, or None."""
        return self.failing or self.disk_full or self.too_large

    def serve(self, batch: list[PendingRequest[Request]]) -> None:
        """Do what is asked, in one transaction."""
        appends: list[PendingRequest[Append]] = []
        operations: list[PendingRequest[Operation]] = []
        for asked in batch:
            if isinstance(asked.request, Append):
                appends.append(asked)  # type: ignore[arg-type]
            elif isinstance(asked.request, Maintenance):
                asked.answer = asked.request.run()
            else:
                operations.append(asked)  # type: ignore[arg-type]
        if appends and self._refuses(sum(asked.request.size for asked in appends)):
            _refuse(appends, self.refusal)
            appends = []
        if self.failing is not None:
            _refuse(operations, self.failing)
        elif appends or operations:
            self._store(appends, operations)

    def rest(self) -> None:
        """Do what need not keep anybody waiting: everybody was answered."""
        if self.failing is not None:
            return
        try:
            if self._pages >= CHECKPOINT:
                self._checkpoint("PASSIVE")
            if self._grown >= min(MEASURE, self.max_size // 64):
                self._measure()
        except sqlite3.Error as exc:
            self._handle_error(exc)

    def look_after(self) -> None:
        """See whether there is room again."""
        if self.failing is not None:
            return
        self.disk_full = None if self.reserve.make() else self._no_room()
        try:
            if self.refusal is not None or self.files.log_size() > LONG_LOG:
                self._checkpoint("TRUNCATE")
            self._measure()
        except sqlite3.Error as exc:
            self._handle_error(exc)
        if self._used <= RESUME * self.max_size:
            self.too_large = None

    def mark_untrusted(self, error: sqlite3.Error) -> None:
        """Give up the connection: whatever the error was, the file must be checked."""
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        self.failing = (
            f"{self.files.database} failed ({error}, {name}); nothing is acknowledged until it "
            "has been opened again and checked, which is tried by itself; look at the disk and "
            "the kernel's log"
        )

    def reopen(self) -> bool:
        """Try to trust the file again; every other connection of ours must be closed.

        Returns whether it worked.
        """
        with suppress(sqlite3.Error):
            self.connection.close()
        try:
            self.connection = self.connect()
            found = pragma(self.connection, "quick_check(1)")
            if found != "ok":
                raise sqlite3.DatabaseError(f"damaged: {found}")
            if not self._checkpoint("TRUNCATE"):
                raise sqlite3.OperationalError("another program is reading it")
            self.state.load(self.connection)
            self._measure()
        except sqlite3.Error as exc:
            if _is_full(exc):
                self.reserve.release()
            self.mark_untrusted(exc)
            return False
        self.failing = None
        return True

    def close(self) -> None:
        """Close the connection."""
        with suppress(sqlite3.Error):
            self.connection.close()

    def _refuses(self, size: int) -> bool:
        if self.refusal is None and self._used + self._grown + size > self.max_size:
            try:
                self._checkpoint("TRUNCATE")
                self._measure()
            except sqlite3.Error as exc:
                self._handle_error(exc)
            if self._used + size > self.max_size:
                self.too_large = (
                    f"the spool holds {self._used / (1 << 20):.1f} MiB, "
                    f"the limit is max_size = {Size(self.max_size)}; "
                    "let the sinks deliver, purge sinks that are gone, or raise the limit"
                )
        return self.refusal is not None

    def _store(
        self,
        appends: Sequence[PendingRequest[Append]],
        operations: Sequence[PendingRequest[Operation]],
    ) -> None:
        """Commit everything, or refuse what could not be committed."""
        try:
            self._transact(appends, operations)
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
            self._handle_error(exc)
            if self.disk_full is not None and self.failing is None and appends:
                _refuse(appends, self.disk_full)
                if operations:
                    self._store([], operations)
            else:
                reason = (
                    self.failing
                    or self.disk_full
                    or f"{self.files.database} is held by another program: {exc}"
                )
                _refuse(appends, reason)
                _refuse(operations, reason)
        except Exception as exc:
            self._roll_back()
            self._find_culprit(appends, operations, exc)

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
                    _refuse([append], self.refusal)
                else:
                    self._store([append], [])
            for operation in operations:
                if self.failing is not None:
                    _refuse([operation], self.failing)
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
    ) -> None:
        transaction = Transaction(self.connection, self.state)
        transaction.execute("BEGIN IMMEDIATE")
        requests = [asked.request for asked in appends]
        if requests:
            for asked, count in zip(appends, append_all(transaction, requests), strict=True):
                asked.answer = count
        for asked_for in operations:
            asked_for.error = None
            try:
                asked_for.answer = asked_for.request(transaction)
            except Stale as stale:  # raised before it wrote anything
                asked_for.error = stale
        transaction.execute("COMMIT")
        for remember in transaction.committed:
            remember()
        size = sum(request.size for request in requests)
        self._grown += size
        # Each key lies on a page of its own once there are many; a cursor or a root
        # page is written in any case.
        self._pages += (
            2 + len(operations) + size // 4096 + sum(len(request.rows) for request in requests)
        )

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def _handle_error(self, exc: sqlite3.Error) -> None:
        """Decide what an error means for what comes next."""
        if _is_full(exc):
            self.reserve.release()
            self.disk_full = self._no_room()
        elif not _is_busy(exc):
            self.mark_untrusted(exc)

    def _no_room(self) -> str:
        return (
            f"no room left in {self.files.directory}; sources are refused until there is, sinks "
            "go on"
        )

    def _checkpoint(self, mode: str) -> bool:
        """Bring the log into the database; says whether nobody was in the way."""
        busy: int = pragma(self.connection, f"wal_checkpoint({mode})")
        self._pages = 0
        return not busy

    def _measure(self) -> None:
        pages = pragma(self.connection, "page_count") - pragma(self.connection, "freelist_count")
        self._used = pages * pragma(self.connection, "page_size") + self.files.log_size()
        self._grown = 0


def _refuse(waiting: Sequence[PendingRequest[S]], reason: str | None) -> None:
    for asked in waiting:
        asked.error = SpoolUnavailable(reason or "the spool cannot be written")


def _code(exc: sqlite3.Error) -> int:
    return getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without the extension


def _is_full(exc: sqlite3.Error) -> bool:
    return _code(exc) == sqlite3.SQLITE_FULL


def _is_busy(exc: sqlite3.Error) -> bool:
    return _code(exc) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
