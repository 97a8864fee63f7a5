"""How long a bridge ran with this file: the time by which ages count.

It is summed in the file and goes on where it ended, on a monotonic clock. So neither a
wall clock of 1970 or 2036 nor a month on a shelf makes anything old.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial

from attrs import define

from bridge.spool.transaction import Transaction

WRITE = 10.0  # seconds between two commits that store the sum
WRITE_IDLE = 60.0  # the same where nothing else is stored: a commit only for this


@define(eq=False)
class RunningClock:
    """Seconds for which a bridge ran with this file. May be asked by any thread."""

    monotonic: Callable[[], float]
    """Seconds since any moment, callable from every thread."""
    _offset: float
    _written: float

    @classmethod
    def start(cls, connection: sqlite3.Connection, monotonic: Callable[[], float]) -> RunningClock:
        """Go on where the file ended."""
        before = stored_running(connection)
        return cls(monotonic, before - monotonic(), before)

    def __call__(self) -> float:
        """Return the sum up to now."""
        return self.monotonic() + self._offset

    @property
    def due(self) -> bool:
        """Whether the next commit should store the sum."""
        return self() - self._written >= WRITE

    @property
    def overdue(self) -> bool:
        """Whether it is worth a commit of its own."""
        return self() - self._written >= WRITE_IDLE

    def store(self, transaction: Transaction) -> None:
        """Store the sum."""
        running = round(transaction.running, 3)
        transaction.execute("INSERT OR REPLACE INTO meta VALUES ('running', ?)", (running,))
        transaction.committed.append(partial(setattr, self, "_written", running))


def stored_running(connection: sqlite3.Connection) -> float:
    """Return the sum that the file holds, 0 if it holds none."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'running'").fetchone()
    return float(row[0]) if row is not None and isinstance(row[0], int | float) else 0.0
