"""Rows of a damaged spool into a new file, table by table."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from bridge.spool.checksum import LOST, damage
from bridge.spool.keys import hour_of
from bridge.spool.schema import LANE_BITS, MIGRATIONS, POSITION
from bridge.spool.store.cursors import Cursors
from bridge.spool.store.salvage import KEYS as BY_KEY
from bridge.spool.store.salvage import PLAIN, Lost, Numbering, all_rows, joined, rows_between
from bridge.spool.store.tables import columns_of, insert

PROBE = 10_000  # positions behind the newest known one that are looked at
LANES = 1024  # most lanes of a spool

SMALL = {
    "sources": ("id",),
    "sinks": ("name",),
    "state": ("instance", "key"),
    "past_heads": ("lane", "running"),
    "meta": ("name",),
}
"""Tables of few rows, with their keys."""
COPIED = ("events", "cursors", "letters", "dead_letters", "parked", "known", "keys", "state")
"""Tables whose rows are counted in the end."""
(KEYS_OF_VERSION_1,) = (text for text in MIGRATIONS[0] if "TABLE keys" in text)
KEY_TABLES = {"known": ("key", 16), "keys": ("digest", 16)}
"""Tables of known keys: column and its length."""


class Rebuild:
    """Copies what can be read, and keeps what was found."""

    def __init__(
        self,
        old: sqlite3.Connection,
        new: sqlite3.Connection,
        beat: Callable[[], None],
    ) -> None:
        self.old, self.new, self.beat = old, new, beat
        self.findings: list[str] = []
        self.rows: Counter[str] = Counter()
        self.cursors = Cursors(old, new, self.found)

    def found(self, text: str) -> None:
        """Keep a finding."""
        self.findings.append(text)

    def run(self) -> None:
        """Copy everything. In this order: the later ones are judged by the earlier."""
        for table, key in SMALL.items():
            self._small(table, key)
        if not columns_of(self.old, "meta"):
            self.new.execute("UPDATE sources SET salt = name")
        self.cursors.read()
        self._lanes_and_events()
        for table in ("letters", "dead_letters"):
            self._letters(table)
        self._parked()
        self.cursors.write()
        for table, (column, length) in KEY_TABLES.items():
            self._keys(table, column, length)
        self._hours()
        self._sources()
        self._numbers()
        self._running()
        for table in filter(partial(columns_of, self.new), COPIED):
            count = self.new.execute(f"SELECT count(*) FROM {table}")  # noqa: S608
            self.rows[table] = count.fetchone()[0]

    def _small(self, table: str, key: Sequence[str]) -> None:
        columns = self._columns(table)
        if not columns:
            return
        rows, why = all_rows(self.old, table, columns, key)
        if table == "meta":  # what triggers count is counted anew
            self.new.execute("DELETE FROM meta WHERE name <> 'letters'")
            rows = [row for row in rows if row[0] != "letters"]
        insert(self.new, table, columns, rows, replace=True)
        if why is not None:
            self.found(f"{table}: a part cannot be read ({why}) and is lost")
        if table == "meta" and not any(row[0] == "id" for row in rows):
            self.new.execute("INSERT INTO meta VALUES ('id', lower(hex(randomblob(16))))")

    def _lanes_and_events(self) -> None:
        pruned = {
            row[0]: row[1]
            for row in self._numbered("lanes", ("lane", "pruned"), 0, LANES - 1)
            if not isinstance(row, Lost) and isinstance(row[1], int)
        }
        for lane in range(1 + max([-1, *pruned, *self.cursors.lanes()])):
            high = self._newest(lane, pruned.get(lane))
            if lane in pruned:
                low = pruned[lane] + 1
            else:
                self.found(f"lane {lane}: begins with its oldest event that is there")
                low = self._first(lane, high)
            base = lane << LANE_BITS
            self._events(lane, base + low, base + high)
            self.new.execute("INSERT INTO lanes VALUES (?, ?)", (lane, low - 1))

    def _newest(self, lane: int, pruned: int | None) -> int:
        """Return how far a lane came, as far as anything still says."""
        base = lane << LANE_BITS
        query = "SELECT max(id) FROM events WHERE id BETWEEN ? AND ?"
        try:
            newest = self.old.execute(query, (base, base | POSITION)).fetchone()[0]
            if newest is not None:
                return int(newest) & POSITION
        except sqlite3.DatabaseError:
            pass
        else:
            return self.cursors.highest(lane) if pruned is None else pruned
        high = max(pruned or 0, self.cursors.highest(lane))
        # Its last page is damaged. What was on it has a place if something behind it is
        # found; a page holds far fewer events than are tried.
        tried = high
        while tried < high + PROBE:
            low, tried = base + tried + 1, tried + PROBE
            query = "SELECT id FROM events WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
            for row in rows_between(self.old, query, low, base + tried):
                if not isinstance(row, Lost):
                    high = int(row[0]) & POSITION
        return high

    def _first(self, lane: int, high: int) -> int:
        base = lane << LANE_BITS
        query = "SELECT min(id) FROM events WHERE id BETWEEN ? AND ?"
        try:
            first = self.old.execute(query, (base, base | POSITION)).fetchone()[0]
        except sqlite3.DatabaseError:
            return 1
        return high + 1 if first is None else first & POSITION

    def _events(self, lane: int, low: int, high: int) -> None:
        """Copy the events of a lane; what is lost keeps its place."""
        columns = self._columns("events")
        names = ", ".join(columns)
        query = f"SELECT {names} FROM events WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"  # noqa: S608
        expected, before = low, (self._any_source(), 0)
        for row in self._rows(query, low, high):
            if isinstance(row, Lost):
                continue
            self._lost_events(lane, expected, row[0] - 1, before)
            event = {"checksum": None} | dict(zip(columns, row, strict=True))
            if why := damage(event["body"], event["checksum"]):
                self.found(f"event {row[0] & POSITION} of lane {lane}: {why}")
            if self._put("events", columns, row):
                expected, before = row[0] + 1, (event["source"], event["received"])
        self._lost_events(lane, expected, high, before)

    def _any_source(self) -> int:
        row = self.new.execute("SELECT min(id) FROM sources").fetchone()
        return int(row[0] or 0)

    def _lost_events(self, lane: int, first: int, last: int, before: tuple[int, int]) -> None:
        """Keep the places of events that are lost. Of which source they were, and when
        they were received, is taken from the event before.
        """
        if first > last:
            return
        until = "" if first == last else f" to {last & POSITION}"
        self.found(
            f"event {first & POSITION}{until} of lane {lane}: cannot be read, its bytes are lost"
        )
        columns = ("id", "source", "received", "body", "checksum")
        rows = ((number, *before, b"", LOST) for number in range(first, last + 1))
        insert(self.new, "events", columns, rows)

    def _put(self, table: str, columns: Sequence[str], row: Sequence[Any]) -> bool:
        """Copy a row; False: it is none that was ever stored."""
        try:
            insert(self.new, table, columns, [row])
        except sqlite3.IntegrityError:
            return False
        return True

    def _letters(self, table: str) -> None:
        columns = self._columns(table)
        if not columns:
            return
        lost = 0
        for row in self._numbered(table, columns, 1, self._highest(table)):
            if isinstance(row, Lost) or not self._put(table, columns, row):
                lost += 1
                continue
            letter = dict(zip(columns, row, strict=True))
            if not letter["purged"]:
                self.cursors.count_letter(letter["sink"], letter["sequence"])
        if lost:
            self.found(f"{table}: {lost} cannot be read, they are counted as expired")
        if table == "letters":
            self._letter_bodies()

    def _letter_bodies(self) -> None:
        columns = ("id", "checksum", "body")
        there = {row[0] for row in self.new.execute("SELECT id FROM letters")}
        for row in self._numbered("letter_bodies", columns, 1, self._highest("letter_bodies")):
            if isinstance(row, Lost) or row[0] not in there:
                continue
            if not self._put("letter_bodies", columns, row):
                continue
            there.remove(row[0])
            if why := damage(row[2], row[1]):
                self.found(f"dead letter {row[0]}: {why}")
        for number in sorted(there):
            self.found(f"dead letter {number}: its bytes are lost")
            insert(self.new, "letter_bodies", columns, [(number, LOST, b"")])

    def _parked(self) -> None:
        columns = self._columns("parked")
        if not columns:
            return
        kept = [name for name in self._columns("parked_devices") if name not in ("events", "bytes")]
        for device in self._numbered("parked_devices", kept, 1, self._highest("parked_devices")):
            if isinstance(device, Lost) or not self._put("parked_devices", kept, device):
                self.found("parked_devices: one cannot be read and is lost")
                continue
            told = dict(zip(kept, device, strict=True))
            names = ", ".join(columns)
            query = (
                f"SELECT sequence, {names} FROM parked WHERE device = {int(device[0])} "  # noqa: S608
                "AND sequence BETWEEN ? AND ? ORDER BY sequence LIMIT ?"
            )
            for row in self._rows(query, 0, LANES << LANE_BITS):
                if isinstance(row, Lost):
                    continue
                event = dict(zip(columns, row[1:], strict=True))
                if why := damage(event["body"], event["checksum"]):
                    self.found(f"{told['sink']}: a parked event of {told['device']}: {why}")
                    self.cursors.damaged_parked(told, event, why)
                elif self.cursors.keeps_parked(told["sink"], event["sequence"]):
                    self._put("parked", columns, row[1:])

    def _keys(self, table: str, column: str, length: int) -> None:
        if table == "keys" and columns_of(self.old, table) and not columns_of(self.new, table):
            self.new.execute(KEYS_OF_VERSION_1)  # a file that was made anew has none
        columns = self._columns(table)
        if not columns:
            return
        names = ", ".join(columns)
        query = (
            f"SELECT {names} FROM {table} WHERE {column} BETWEEN ? AND ? "  # noqa: S608
            f"ORDER BY {column} LIMIT ?"
        )
        dropped = 0
        for row in self._rows(query, 0, (1 << 128) - 1, BY_KEY):
            if isinstance(row, Lost):
                dropped += 1
            elif isinstance(row[0], bytes) and len(row[0]) == length and isinstance(row[1], int):
                insert(self.new, table, columns, [row], replace=True)
            else:
                dropped += 1
        if dropped:
            self.found(f"{table}: keys in {dropped} places cannot be read and are dropped")

    def _hours(self) -> None:
        """Count the keys of each hour anew."""
        hours: dict[int, list[int]] = {}
        for key, stored in self.new.execute("SELECT key, stored FROM known"):
            found = hours.setdefault(hour_of(key), [0, stored, stored])
            found[0] += 1
            found[1] = min(found[1], stored)
            found[2] = max(found[2], stored)
        rows = [(hour, *found) for hour, found in hours.items()]
        insert(self.new, "hours", ("hour", "count", "oldest", "newest"), rows)

    def _sources(self) -> None:
        """Give a name to sources whose own is lost: without one, all that they sent
        would be dead letters.
        """
        unnamed = self.new.execute(
            "SELECT DISTINCT source FROM (SELECT source FROM events UNION SELECT source FROM "
            "letters UNION SELECT source FROM dead_letters UNION SELECT source FROM parked) "
            "WHERE source NOT IN (SELECT id FROM sources) AND typeof(source) = 'integer'"
        ).fetchall()
        for (number,) in unnamed:
            name = f"lost-{number}"
            insert(self.new, "sources", ("id", "name", "salt"), [(number, name, name)])
            self.found(
                f"source {number}: its name is lost, it is called {name} now; before the bridge "
                f"runs again, write formerly = {name} into the section of the source it was"
            )

    def _numbers(self) -> None:
        """A number that was given once is not given again."""
        rows, _ = all_rows(self.old, "sqlite_sequence", ("name", "seq"), ("name",))
        for table, number in rows:
            self.new.execute(
                "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (number, table)
            )
            self.new.execute(
                "INSERT INTO sqlite_sequence SELECT ?, ? WHERE NOT EXISTS "
                "(SELECT 1 FROM sqlite_sequence WHERE name = ?)",
                (table, number, table),
            )

    def _running(self) -> None:
        """How long a bridge ran: if that is lost, what was stamped with it tells."""
        if self.new.execute("SELECT 1 FROM meta WHERE name = 'running'").fetchone() is None:
            self.new.execute(
                "INSERT INTO meta SELECT 'running', "
                "max(ifnull((SELECT max(kept) FROM letters), 0), "
                "ifnull((SELECT max(running) FROM past_heads), 0), "
                "ifnull((SELECT max(newest) FROM hours), 0) * 60)"
            )

    def _numbered(self, table: str, columns: Sequence[str], low: int, high: int) -> Iterator[Any]:
        """Read rows that begin with their number."""
        names = ", ".join(columns)
        query = (
            f"SELECT {names} FROM {table} WHERE {columns[0]} BETWEEN ? AND ? "  # noqa: S608
            f"ORDER BY {columns[0]} LIMIT ?"
        )
        if self._columns(table):
            yield from self._rows(query, low, high)

    def _rows(self, query: str, low: int, high: int, numbering: Numbering = PLAIN) -> Iterator[Any]:
        found = rows_between(self.old, query, low, high, numbering)
        for number, row in enumerate(joined(found)):
            if number % 100 == 0:
                self.beat()
            yield row

    def _highest(self, table: str) -> int:
        """Return the highest number that was ever given, as far as anything says it."""
        highest = 0
        for query in (
            f"SELECT ifnull(max(id), 0) FROM {table}",  # noqa: S608
            f"SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = '{table}'",  # noqa: S608
        ):
            try:
                highest = max(highest, self.old.execute(query).fetchone()[0])
            except sqlite3.DatabaseError:
                continue
        return int(highest)

    def _columns(self, table: str) -> tuple[str, ...]:
        """Return what both files know of a table."""
        old = columns_of(self.old, table)
        return tuple([name for name in columns_of(self.new, table) if name in old])
