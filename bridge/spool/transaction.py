"""One transaction of the writer, and what the process remembers of the file.

The writer remembers heads, sources and what instances keep, so that neither an append
nor a reader looks them up. This state changes only after the commit: an operation adds
what must be remembered to ``transaction.committed``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen


@define(eq=False)
class WriterState:
    """What is known of the file without asking it. Changed by the writer's thread, read
    by all.

    Values are replaced or added, never changed in place while somebody may iterate over
    them.
    """

    heads: list[int] = field(factory=list)
    """By lane: position of the newest event. A new list after each commit that stored
    events.
    """
    sources: dict[str, int] = field(factory=dict)
    instances: dict[str, dict[str, bytes]] = field(factory=dict)
    """What sources and sinks keep, by instance and key."""
    sinks: set[str] = field(factory=set)
    """Sinks that have cursors."""

    def load(self, connection: sqlite3.Connection) -> None:
        """Forget everything and ask the file."""
        names = dict(connection.execute("SELECT name, id FROM sources").fetchall())
        instances: dict[str, dict[str, bytes]] = {}
        for instance, key, value in connection.execute(
            "SELECT instance, key, value FROM state"
        ).fetchall():
            instances.setdefault(instance, {})[key] = value
        self.sinks = {
            sink for (sink,) in connection.execute("SELECT DISTINCT sink FROM cursors").fetchall()
        }
        self.sources, self.instances = names, instances
        self.heads = [
            head
            for (head,) in connection.execute("SELECT head FROM heads ORDER BY lane").fetchall()
        ]


@frozen
class Transaction:
    """A transaction that is open."""

    connection: sqlite3.Connection
    state: WriterState
    committed: list[Callable[[], object]] = field(factory=list)
    """Called in order once the transaction is on disk, in the writer's thread."""

    def execute(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
    ) -> sqlite3.Cursor:
        """Run a statement."""
        return self.connection.execute(sql, parameters)

    def value(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
        """Run a query for one value."""
        return self.connection.execute(sql, parameters).fetchone()[0]
