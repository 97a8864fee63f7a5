"""SQLite's write-ahead log: how long it may become, and when it goes into the database.

It is laid down on the disk at its full size from the beginning and is never cut below
it: what is written into it needs no room, so that on a full disk cursors still move and
rows can be deleted. That only holds if it is emptied before it is longer, and if no
transaction is longer.
"""

from __future__ import annotations

import os
import sqlite3

from attrs import define

from bridge.spool.files import Files
from bridge.spool.schema import LOG_SIZE

FRAME = 4096 + 24  # bytes of a page in the log
CHECKPOINT = 1000  # pages, about; fewer make single commits quicker and all together slower
CROWDED = LOG_SIZE * 3 // 4 // FRAME  # pages; from here on readers are waited for
# Bytes of events in one transaction; what is more is stored by the next one.
TRANSACTION = 2 << 20
# Bytes that the log has on the disk at most, unless a stranger reads the file all the
# time, or a single request is larger.
LONGEST = 2 * LOG_SIZE


@define(eq=False)
class Log:
    """The log of the writing connection."""

    files: Files
    pages: float = 0.0
    """Pages written since the last checkpoint, about: none means that it is empty."""
    _at_last: int = 0
    """Pages that it held at the last checkpoint."""
    _held: int = 0
    """How long it was when a reader kept it from being emptied; 0: nobody did."""
    _factor: float = 1.0
    """Pages that were found for each one that was estimated."""

    def wrote(self, events: int, size: int, operations: int, changes: int) -> None:
        """A transaction stored events of so many bytes, did so many operations, and
        changed so many rows.
        """
        # Each key lies on a page of its own once there are many; rows that are deleted
        # were neighbours; a cursor or a root page is written in any case.
        others = max(0, changes - 2 * events)
        self.pages += 2 + operations + size // 4096 + events + others // 4

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint: by what is estimated, or because it has
        grown beyond what was laid down.
        """
        return self.pages * self._factor >= CHECKPOINT or self._overgrown

    @property
    def _overgrown(self) -> bool:
        # A stranger that reads for minutes holds it: to wait for him at each commit
        # would only make it worse.
        return self.files.log_size() > (self._held + LOG_SIZE // 2 if self._held else LOG_SIZE)

    @property
    def excess(self) -> int:
        """Bytes by which it is longer than was reckoned with."""
        return max(0, self.files.log_size() - LONGEST)

    @property
    def laid_down(self) -> bool:
        """Whether it has its size on the disk."""
        return self.files.log_size() >= LOG_SIZE

    def lay_down(self) -> bool:
        """Give it its size on the disk; says whether it has it.

        SQLite stops at the first frame that is none of its own: zeros are none.
        """
        if self.laid_down:
            return True
        try:
            descriptor = os.open(self.files.log, os.O_RDWR)
            try:
                os.posix_fallocate(descriptor, 0, LOG_SIZE)
            finally:
                os.close(descriptor)
        except OSError:
            return False  # no room now, or a file system that cannot: it grows as it is written
        return True

    def empty(self, connection: sqlite3.Connection) -> bool:
        """Bring all of it into the database, so that the next commit begins at its
        front; waits for readers. Says whether nobody was in the way.
        """
        return self._checkpoint(connection, "RESTART")

    def tidy(self, connection: sqlite3.Connection) -> None:
        """Bring it into the database as far as no reader needs it."""
        overgrown = self._overgrown
        self._checkpoint(connection, "PASSIVE")
        if overgrown or self._at_last >= CROWDED:
            self._checkpoint(connection, "RESTART")

    def _checkpoint(self, connection: sqlite3.Connection, mode: str) -> bool:
        busy, pages, _ = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        if pages < self._at_last and self.pages >= CHECKPOINT / 10:
            # It began at its front since: all that it holds was written since.
            self._factor = min(4.0, max(0.5, pages / self.pages))
        self.pages, self._at_last = 0.0, pages
        if mode == "RESTART":
            # Cut down by the next commit, which begins at its front.
            self._held = self.files.log_size() if busy else 0
        return not busy
