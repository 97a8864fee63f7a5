"""Cursors of a damaged spool, and what has to change so that each account balances:

position - start + again = delivered + filtered + dead + expired + parked
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from bridge.spool.checksum import LOST
from bridge.spool.schema import LANE_BITS, POSITION
from bridge.spool.store.salvage import all_rows
from bridge.spool.store.tables import columns_of, insert

Place = tuple[str, int]
"""Sink and lane."""
COUNTS = ("delivered", "filtered", "dead", "expired", "again")


class Cursors:
    """Reads cursors, judges them by what else was found, and writes them."""

    def __init__(
        self, old: sqlite3.Connection, new: sqlite3.Connection, found: Callable[[str], None]
    ) -> None:
        self._old, self._new, self._found = old, new, found
        self._rows: dict[Place, dict[str, Any]] = {}
        self._sinks: set[str] = set()
        self._letters: Counter[Place] = Counter()
        self._parked: Counter[Place] = Counter()
        self._why: str | None = None

    def read(self) -> None:
        """Read what can be read, the sinks before."""
        old = columns_of(self._old, "cursors")
        columns = [name for name in columns_of(self._new, "cursors") if name in old]
        rows, self._why = all_rows(self._old, "cursors", columns, ("sink", "lane"))
        for row in rows:
            cursor = dict.fromkeys(("again", "generation", "rewound"), 0) | dict(
                zip(columns, row, strict=True)
            )
            if all(isinstance(cursor[name], int) for name in cursor if name != "sink"):
                self._rows[cursor["sink"], cursor["lane"]] = cursor
        # A sink without any cursor is one that was purged.
        self._sinks = {sink for sink, _ in self._rows}
        if self._why is not None:
            self._sinks |= {sink for (sink,) in self._new.execute("SELECT name FROM sinks")}

    def lanes(self) -> set[int]:
        """Return the lanes that cursors name."""
        return {lane for _, lane in self._rows}

    def highest(self, lane: int) -> int:
        """Return the highest position that a sink settled: so far the lane came."""
        places = (row["position"] for (_, at), row in self._rows.items() if at == lane)
        return int(max([0, *places]))

    def count_letter(self, sink: str, sequence: int) -> None:
        """There is a dead letter of this life of a sink."""
        self._letters[sink, sequence >> LANE_BITS] += 1

    def keeps_parked(self, sink: str, sequence: int) -> bool:
        """Count a parked event; False: it comes again with its lane."""
        place = (sink, sequence >> LANE_BITS)
        cursor = self._rows.get(place)
        if cursor is not None and sequence & POSITION > cursor["position"]:
            return False
        self._parked[place] += 1
        return True

    def damaged_parked(self, device: Mapping[str, Any], event: Mapping[str, Any], why: str) -> None:
        """Make a parked event a dead letter."""
        place = (device["sink"], event["sequence"] >> LANE_BITS)
        self._letter(device, event, f"cannot be read back: {why}")
        if (cursor := self._rows.get(place)) is not None:
            cursor["dead"] += 1
            self._letters[place] += 1

    def write(self) -> None:
        """Write a cursor for each sink and lane."""
        lanes = dict(self._new.execute("SELECT lane, pruned FROM lanes").fetchall())
        heads = dict(self._new.execute("SELECT lane, head FROM heads").fetchall())
        left = {sink for (sink,) in self._new.execute("SELECT name FROM sinks WHERE left")}
        for sink in sorted(self._sinks):
            for lane, pruned in lanes.items():
                place = (sink, lane)
                cursor = self._rows.get(place)
                # What an orphan that was given up had not settled may be deleted.
                lowest = 0 if sink in left else pruned
                if cursor is not None and self._mended(cursor, place, lowest, heads[lane]):
                    insert(self._new, "cursors", list(cursor), [list(cursor.values())])
                else:
                    self._begin_again(place, pruned)
            self._new.execute("INSERT OR IGNORE INTO sinks (name) VALUES (?)", (sink,))
        self._new.execute("DELETE FROM parked_devices WHERE events = 0")
        self._new.execute(
            "UPDATE parked_devices SET (oldest, since) = (SELECT received, since FROM parked "
            "WHERE device = parked_devices.id ORDER BY sequence LIMIT 1)"
        )

    def _sound(self, cursor: Mapping[str, Any]) -> bool:
        return min(int(cursor[name]) for name in (*COUNTS, "position", "start")) >= 0

    def _mended(self, cursor: dict[str, Any], place: Place, lowest: int, head: int) -> bool:
        """Bring a cursor into agreement with the rows; False: it is damaged itself."""
        if not self._sound(cursor) or not lowest <= cursor["position"] <= head:
            return False
        # Letters that are lost were given up.
        lost = cursor["dead"] - self._letters[place]
        if lost < 0:
            return False
        if lost:
            self._found(f"{place[0]}, lane {place[1]}: {lost} dead letters are lost")
        cursor["dead"] -= lost
        cursor["expired"] += lost
        settled = sum(cursor[name] for name in COUNTS) - 2 * cursor["again"]
        parked = cursor["position"] - cursor["start"] - settled
        missing = parked - self._parked[place]
        if missing < 0:
            return False
        if missing:
            self._found(
                f"{place[0]}, lane {place[1]}: {missing} parked events are lost, they are "
                "counted as expired"
            )
            cursor["expired"] += missing
        return True

    def _begin_again(self, place: Place, pruned: int) -> None:
        sink, lane = place
        self._found(f"{sink}, lane {lane}: its cursor goes back to its oldest event")
        # What it refused before belongs to an earlier life; what is still parked from
        # below its new beginning was not received in this one.
        for table in ("letters", "dead_letters"):
            self._new.execute(
                f"UPDATE {table} SET purged = 1 WHERE sink = ? AND sequence >> ? = ?",  # noqa: S608
                (sink, LANE_BITS, lane),
            )
        values = {"sink": sink, "lane": lane, "start": pruned, "position": pruned}
        self._new.execute(
            "DELETE FROM parked WHERE sequence > ? AND sequence >> ? = ? AND device IN "
            "(SELECT id FROM parked_devices WHERE sink = ?)",
            ((lane << LANE_BITS) + pruned, LANE_BITS, lane, sink),
        )
        again = self._new.execute(
            "SELECT count(*) FROM parked WHERE sequence >> ? = ? AND device IN "
            "(SELECT id FROM parked_devices WHERE sink = ?)",
            (LANE_BITS, lane, sink),
        ).fetchone()[0]
        values["again"] = again
        insert(self._new, "cursors", list(values), [list(values.values())])

    def _letter(self, device: Mapping[str, Any], event: Mapping[str, Any], why: str) -> None:
        body = event["body"] if isinstance(event["body"], bytes) else b""
        columns = (
            "sink", "source", "device", "sequence", "received", "reason", "attempts", "time",
            "kept", "size",
        )  # fmt: skip
        values = (
            device["sink"], event["source"], device["device"], event["sequence"],
            event["received"], why, device["attempts"], event["received"], 0, len(body),
        )  # fmt: skip
        insert(self._new, "letters", columns, [values])
        number = self._new.execute("SELECT last_insert_rowid()").fetchone()[0]
        checksum = event["checksum"] if body else LOST
        insert(self._new, "letter_bodies", ("id", "checksum", "body"), [(number, checksum, body)])
