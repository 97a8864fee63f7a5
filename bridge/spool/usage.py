"""What each memory of the spool takes up, without looking at its rows.

Counted: keys by the hours they lie in, letters and parked events where they are
written, events by the positions of cursors. What an event takes up is what is left of
the pages in use, shared among all of them: so the sum is always right.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from attrs import frozen

from bridge.spool.budget import Memory
from bridge.spool.keys_old import has_old_keys
from bridge.spool.schema import pragma

KEY_BYTES = 32  # of a row of `known`, with what is left empty in its pages
OLD_KEY_BYTES = 40  # of a row of `keys`: digests lie at random, a third of a page is empty
BASE = 1 << 17  # bytes of an empty file and of what instances keep
SAMPLE = 1000  # digests that are looked at to learn how many there are


@frozen
class Usage:
    """Bytes in use."""

    used: int
    """Of the file, free pages left out."""
    free_inside: int
    """Of its free pages."""
    memories: Mapping[Memory, int]
    """What may give way; the rest is owed."""
    each: float = 0.0
    """Of an event, on average."""

    @property
    def owed(self) -> int:
        """What configured sinks still owe, and the little that is always there."""
        return max(0, self.used - sum(self.memories.values()))


def used_and_free(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return bytes of pages in use, and of free ones."""
    free = pragma(connection, "freelist_count")
    size = pragma(connection, "page_size")
    return (pragma(connection, "page_count") - free) * size, free * size


def measure(connection: sqlite3.Connection, heads: Sequence[int]) -> Usage:
    """Measure. Takes less than a millisecond, however large the file is."""
    used, free = used_and_free(connection)
    keys = known_keys(connection) * KEY_BYTES + old_keys(connection) * OLD_KEY_BYTES
    letters = _letters(connection)
    parked, orphaned = _parked(connection)
    kept, orphans, events = _events(connection, heads)
    rest = max(0, used - BASE - keys - letters - parked - orphaned)
    each = rest / events if events else 0.0
    memories = {
        Memory.KEPT: int(kept * each),
        Memory.ORPHANS: int(orphans * each) + orphaned,
        Memory.LETTERS: letters,
        Memory.KEYS: keys,
    }
    return Usage(used, free, memories, each)


def known_keys(connection: sqlite3.Connection) -> int:
    """Count the keys of all hours."""
    return int(connection.execute("SELECT ifnull(sum(count), 0) FROM hours").fetchone()[0])


def old_keys(connection: sqlite3.Connection) -> int:
    """Estimate how many keys of version 1 there are: digests are spread evenly, so the
    place of the thousandth tells.
    """
    if not has_old_keys(connection):
        return 0
    query = "SELECT digest FROM keys ORDER BY digest LIMIT 1 OFFSET ?"
    found = connection.execute(query, (SAMPLE,)).fetchone()
    if found is None:
        return int(connection.execute("SELECT count(*) FROM keys").fetchone()[0])
    return int(SAMPLE * 2**32 / (int.from_bytes(found[0][:4], "big") + 1))


def _letters(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM meta WHERE name = 'letters'").fetchone()
    return max(0, int(row[0])) if row is not None else 0


def _parked(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return bytes of what is parked for sinks that are configured, and for orphans."""
    row = connection.execute(
        "SELECT ifnull(sum(bytes), 0), ifnull(sum(iif(orphaned IS NULL, 0, bytes)), 0) "
        "FROM parked_devices LEFT JOIN sinks ON sinks.name = parked_devices.sink"
    ).fetchone()
    return row[0] - row[1], row[1]


def _events(connection: sqlite3.Connection, heads: Sequence[int]) -> tuple[int, int, int]:
    """Count events that are kept only, those that only orphans owe, and all."""
    kept = orphans = events = 0
    # A sink whose cursors were given up does not count; no cursor at all: owed, for
    # sinks that have yet to begin.
    rows = connection.execute(
        "SELECT lanes.lane, pruned, min(position), "
        "min(iif(orphaned IS NULL, position, NULL)) FROM lanes LEFT JOIN ("
        "SELECT c.lane, c.position, s.orphaned FROM cursors c "
        "LEFT JOIN sinks s ON s.name = c.sink WHERE NOT ifnull(s.left, 0)"
        ") USING (lane) GROUP BY lanes.lane"
    )
    for lane, pruned, lowest, configured in rows.fetchall():
        head = heads[lane]
        events += head - pruned
        if lowest is None:
            continue
        kept += max(0, lowest - pruned)
        orphans += max(0, (head if configured is None else configured) - max(lowest, pruned))
    return kept, orphans, events
