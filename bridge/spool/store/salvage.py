"""Rows out of a file of which some pages are damaged.

A query over a damaged page fails as a whole. So rows are read up to the last one before
it, one by one, and then the first number is looked for from which reading works again.
Every query is short, so that beside a running bridge the log can be emptied.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import frozen

from bridge.spool.steps import StepSize

# Numbers behind the damage that are tried one after the other: more than the rows of a
# page, and of the pages below one. Then the steps become longer.
TRIED = 4096

Row = tuple[Any, ...]


@frozen
class Lost:
    """Numbers of which nothing can be said: their page cannot be read."""

    first: int
    last: int
    why: str


@frozen
class Numbering:
    """How the rows of a table are numbered."""

    to_key: Callable[[int], Any] = int
    """Makes what the query takes of a number."""
    of_key: Callable[[Any], int] = int
    unit: int = 1
    """Numbers that are passed over in one step where nothing can be read."""


PLAIN = Numbering()
KEYS = Numbering(
    lambda number: number.to_bytes(16, "big"),
    lambda key: int.from_bytes(bytes(key)[:16].ljust(16, b"\0"), "big"),
    1 << 96,
)
"""Keys of 16 bytes, of which the first four are the second where they lie."""


def rows_between(
    connection: sqlite3.Connection,
    query: str,
    low: int,
    high: int,
    numbering: Numbering = PLAIN,
) -> Iterator[Row | Lost]:
    """Read all rows with numbers from ``low`` to ``high``, and say what is lost.

    :param query: takes the first and the last number and how many rows at most, and
        returns rows in order that begin with their number.
    """
    key = numbering.to_key

    def fetch(first: int, limit: int) -> list[Row]:
        rows = connection.execute(query, (key(first), key(high), limit)).fetchall()
        # A damaged page may hold numbers that do not belong there.
        if rows and not first <= numbering.of_key(rows[0][0]) <= high:
            raise sqlite3.DatabaseError("rows out of order")
        return rows

    step, single = StepSize(), 0
    while low <= high:
        limit, before = 1 if single else step.rows, time.monotonic()
        try:
            rows = fetch(low, limit)
        except sqlite3.DatabaseError as exc:
            if single == 0:
                single = limit + 1
                continue
            again = _readable_from(fetch, low, high, numbering.unit)
            yield Lost(low, again - 1, str(exc))
            low, single = again, 0
            continue
        if single:
            single -= 1
        else:
            step.took(time.monotonic() - before)
        for row in rows:
            number = numbering.of_key(row[0])
            if low <= number <= high:
                yield row
                low = number + 1
        if len(rows) < limit:
            return


def _readable_from(fetch: Callable[[int, int], list[Row]], low: int, high: int, unit: int) -> int:
    """Return the first number behind ``low`` from which a row can be read, or behind
    which there is none.
    """

    def readable(number: int) -> bool:
        try:
            fetch(number, 1)
        except sqlite3.DatabaseError:
            return False
        return True

    failed, tried, stride = low, 0, unit
    while True:
        at = failed + stride
        if at > high:
            return high + 1
        if readable(at):
            break
        failed, tried = at, tried + 1
        if tried > TRIED:
            stride *= 2
    while at - failed > unit:
        middle = (at + failed) // 2
        if readable(middle):
            at = middle
        else:
            failed = middle
    return at


def joined(found: Iterator[Row | Lost]) -> Iterator[Row | Lost]:
    """Join what is lost side by side."""
    lost: Lost | None = None
    for each in found:
        if isinstance(each, Lost):
            if lost is not None and each.first == lost.last + 1:
                lost = Lost(lost.first, each.last, lost.why)
                continue
            if lost is not None:
                yield lost
            lost = each
            continue
        if lost is not None:
            yield lost
            lost = None
        yield each
    if lost is not None:
        yield lost


def all_rows(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], key: Sequence[str]
) -> tuple[list[Row], str | None]:
    """Read a small table from both ends; returns also why something in between is lost.

    The names are ours.
    """
    wanted = ", ".join(columns)
    rows: dict[Row, Row] = {}
    why = None
    for direction in ("", " DESC"):
        order = ", ".join(name + direction for name in key)
        query = f"SELECT {', '.join(key)}, {wanted} FROM {table} ORDER BY {order}"  # noqa: S608
        try:
            for row in connection.execute(query):
                rows[row[: len(key)]] = row[len(key) :]
        except sqlite3.DatabaseError as exc:
            why = str(exc)
        else:
            return list(rows.values()), None
    return list(rows.values()), why
