"""One transaction of the writer, and what the process remembers of the file.

The writer remembers heads, sources and what instances keep, so that neither an append
nor a reader looks them up. This state changes only after the commit: an operation adds
what must be remembered to ``transaction.committed``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field

from bridge.spool.keys import Source
from bridge.spool.keys_old import OldKeys, has_old_keys


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
    sources: dict[str, Source] = field(factory=dict)
    """By name."""
    instances: dict[str, dict[str, bytes]] = field(factory=dict)
    """What sources and sinks keep, by instance and key."""
    sinks: set[str] = field(factory=set)
    """Sinks that have cursors."""
    left: set[str] = field(factory=set)
    """Of these, the ones whose cursors keep nothing: they were orphans for too long."""
    parked: dict[str, set[str]] = field(factory=dict)
    """By sink: devices that wait apart. Sets change in place: a reader only asks
    whether a device is in one.
    """
    parkings: int = 0
    """How often something changed about parked devices: who waits for them looks
    again.
    """
    moves: int = 0
    """How often cursors were moved otherwise than by their own leases."""
    old_keys: OldKeys | None = None
    """None: there is no table of them any more."""
    repeats: bool = False
    """Whether the last append held something that was known."""

    def load(self, connection: sqlite3.Connection) -> None:
        """Forget everything and ask the file."""
        names = {
            name: Source(number, salt)
            for name, number, salt in connection.execute("SELECT name, id, salt FROM sources")
        }
        instances: dict[str, dict[str, bytes]] = {}
        for instance, key, value in connection.execute(
            "SELECT instance, key, value FROM state"
        ).fetchall():
            instances.setdefault(instance, {})[key] = value
        self.sinks = {
            sink for (sink,) in connection.execute("SELECT DISTINCT sink FROM cursors").fetchall()
        }
        self.left = {
            sink for (sink,) in connection.execute("SELECT name FROM sinks WHERE left").fetchall()
        }
        parked: dict[str, set[str]] = {}
        for sink, device in connection.execute("SELECT sink, device FROM parked_devices"):
            parked.setdefault(sink, set()).add(device)
        self.parked = parked
        self.parking_changed()
        self.sources, self.instances = names, instances
        self.old_keys = OldKeys() if has_old_keys(connection) else None
        self.heads = [
            head
            for (head,) in connection.execute("SELECT head FROM heads ORDER BY lane").fetchall()
        ]

    def cursors_moved(self) -> None:
        """Let those that remember where cursors are ask again."""
        self.moves += 1
        self.parking_changed()

    def set_parked(self, sink: str, device: str, *, parked: bool) -> None:
        """Note whether a device waits apart now."""
        devices = self.parked.setdefault(sink, set())
        if parked:
            devices.add(device)
        else:
            devices.discard(device)
        self.parking_changed()

    def forget_parked(self, sink: str) -> None:
        """Note that a sink has no parked devices any more."""
        self.parked.pop(sink, None)
        self.parking_changed()

    def parking_changed(self) -> None:
        """Let those that wait for parked devices look again."""
        self.parkings += 1

    def move_instance(self, instance: str, name: str) -> None:
        """Let what an instance keeps go along with its name."""
        kept = self.instances.pop(instance, {})
        self.instances[name] = {**kept, **self.instances.get(name, {})}


@define(eq=False)
class Transaction:
    """A transaction that is open."""

    connection: sqlite3.Connection
    state: WriterState
    running: float = 0.0
    """Seconds for which a bridge ran with this file."""
    copied: int = 0
    """Bytes of bodies that operations wrote. Whoever copies some adds them: the writer
    ends a transaction before it is longer than the log may be.
    """
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
