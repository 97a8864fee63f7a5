"""Whether the file of a spool is sound: its pages, its rows, its mark.

The balance is another question, and another command answers it: the audit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from attrs import frozen

from bridge.api.spool import SpoolError
from bridge.spool.checksum import damage
from bridge.spool.files import Files, claim
from bridge.spool.mark import missing, read_identity, read_mark
from bridge.spool.problems import SQLITE_DEFECTIVE
from bridge.spool.schema import LANE_BITS, POSITION
from bridge.spool.store.folder import existing, opened
from bridge.spool.store.salvage import Lost, joined, rows_between
from bridge.spool.store.tables import columns_of

MAX_PROBLEMS = 50  # of one kind

EVENTS = "SELECT id, body, {checksum} FROM events WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
LETTERS = (
    "SELECT id, body, checksum FROM letter_bodies WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
)


@frozen
class Check:
    """What was found."""

    problems: tuple[str, ...]
    """What is damaged, in sentences."""
    notes: tuple[str, ...]
    """What is worth knowing."""
    looked_at: int
    """Rows with a body."""

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.problems


def check(directory: Path, *, beat: Callable[[], None] = lambda: None) -> Check:
    """Look at every row of a spool, and at every page where no bridge runs with it.
    Takes some seconds for a gigabyte; run it in a thread.

    :param beat: called between two steps of some 100 ms.
    :raises SpoolError: when there is no spool, or it cannot be read at all.
    """
    files = existing(directory)
    notes = []
    if defect := log_reset_defect(sqlite3.sqlite_version_info):
        notes.append(f"{defect} ({SQLITE_DEFECTIVE.name})")
    with ExitStack() as stack:
        try:
            stack.enter_context(claim(files, create=False))
        except SpoolError:
            # SQLite's own check is one long reading, and meanwhile the log only grows.
            notes.append(
                "a bridge runs with this spool: its rows were checked, not all of its pages"
            )
            alone = False
        else:
            alone = True
        connection = stack.enter_context(opened(files))
        checking = _Checking(connection, beat)
        problems = [
            *_some(mark_problems(connection, files)),
            *_some(checking.events()),
            *_some(checking.letters()),
            *_some(checking.parked()),
            *(_some(pages(connection)) if alone else ()),
        ]
    return Check(tuple(problems), tuple(notes), checking.looked_at)


def log_reset_defect(version: Sequence[int]) -> str | None:
    """Say so if this SQLite may lose commits of a file that two connections write, or
    check-point: 3.7.0 to 3.51.2, but for versions that were mended.
    """
    number = tuple(version[:3])
    mended = (3, 44, 6) <= number < (3, 45, 0) or (3, 50, 7) <= number < (3, 51, 0)
    if number < (3, 7, 0) or number >= (3, 51, 3) or mended:
        return None
    return (
        f"SQLite {'.'.join(map(str, number))} may lose commits when more than one connection "
        "writes to a file or empties its log. The bridge uses one; let no other program write "
        "to the file while the bridge runs"
    )


class _Checking:
    """Rows with bodies, lane by lane and step by step."""

    def __init__(self, connection: sqlite3.Connection, beat: Callable[[], None]) -> None:
        self.connection, self.beat = connection, beat
        self.looked_at = 0

    def events(self) -> Iterator[str]:
        checksum = "checksum" if "checksum" in columns_of(self.connection, "events") else "NULL"
        query = EVENTS.format(checksum=checksum)
        heads = self.connection.execute("SELECT lane, pruned, head FROM heads")
        for lane, pruned, head in heads.fetchall():
            low, high = (lane << LANE_BITS) + pruned + 1, (lane << LANE_BITS) + head
            yield from self._rows(query, low, high, lambda number: f"event {number & POSITION}"
                                  f" of lane {number >> LANE_BITS}")  # fmt: skip

    def letters(self) -> Iterator[str]:
        if columns_of(self.connection, "letter_bodies"):
            found = self.connection.execute("SELECT ifnull(max(id), 0) FROM letter_bodies")
            highest = found.fetchone()[0]
            yield from self._rows(LETTERS, 1, highest, lambda number: f"dead letter {number}")

    def parked(self) -> Iterator[str]:
        if not columns_of(self.connection, "parked"):
            return
        for device, name, sink in self.connection.execute(
            "SELECT id, device, sink FROM parked_devices"
        ).fetchall():
            self.beat()
            try:
                for sequence, body, checksum in self.connection.execute(
                    "SELECT sequence, body, checksum FROM parked WHERE device = ?", (device,)
                ):
                    self.looked_at += 1
                    if why := damage(body, checksum):
                        yield f"{sink}: event {sequence} of {name}, parked: {why}"
            except sqlite3.DatabaseError as exc:
                yield f"{sink}: what is parked of {name} cannot be read: {exc}"

    def _rows(self, query: str, low: int, high: int, name: Callable[[int], str]) -> Iterator[str]:
        for row in joined(rows_between(self.connection, query, low, high)):
            if isinstance(row, Lost):
                until = "" if row.first == row.last else f" to {row.last & POSITION}"
                yield f"{name(row.first)}{until}: cannot be read: {row.why}"
                continue
            self.looked_at += 1
            if self.looked_at % 100 == 0:
                self.beat()
            if why := damage(row[1], row[2]):
                yield f"{name(row[0])}: {why}"


def mark_problems(connection: sqlite3.Connection, files: Files) -> Iterator[str]:
    """Say in what a file is not the one that its mark knows."""
    try:
        mark = read_mark(files.mark)
    except (ValueError, OSError) as exc:
        yield f"{files.mark} cannot be read: {exc}"
        return
    if mark is None:
        return
    identity = read_identity(connection)
    if identity.id != mark.id:
        yield f"{files.database} is another spool than its mark says"
    elif lost := missing(mark, identity):
        yield f"{files.database} is older than its mark: at least {lost} events are missing"


def pages(connection: sqlite3.Connection) -> Iterator[str]:
    """SQLite's own check; it finds damage that no row shows, such as lost pages."""
    try:
        for (found,) in connection.execute(f"PRAGMA quick_check({MAX_PROBLEMS})"):
            if found != "ok":
                yield f"SQLite: {found}"
    except sqlite3.DatabaseError as exc:
        yield f"SQLite: {exc}"


def _some(found: Iterator[str]) -> list[str]:
    """A file that is beyond saving is not described row by row."""
    problems = list(found)
    if len(problems) > MAX_PROBLEMS:
        rest = len(problems) - MAX_PROBLEMS
        problems = [*problems[:MAX_PROBLEMS], f"... and {rest} more like the last"]
    return problems
