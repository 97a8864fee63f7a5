"""Many rows with few statements.

Every step of a statement lets go of the interpreter's lock, and while the loop is busy
each return waits for up to the switch interval. So a commit consists of few steps,
however many rows it holds: a question has one row as its answer, and rows are inserted
many at a time. The numbers of rows in a statement are few, so that they stay prepared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

T = TypeVar("T")

ASKED = (256, 64, 16, 4, 1)  # keys in one question
# Rows in one statement, and any lower number: what is left over is a single statement
# as well. Measured beside a busy loop, 31 rows: 3 times as quick as with these sizes
# alone.
INSERTED = (256, 128, 64, 32)


def known_keys(
    connection: sqlite3.Connection, table: str, column: str, asked: Collection[bytes]
) -> set[bytes]:
    """Return those of some keys of 16 bytes that a table has."""
    known: set[bytes] = set()
    keys = list(asked)
    for start in range(0, len(keys), ASKED[0]):
        part = keys[start : start + ASKED[0]]
        size = min(size for size in ASKED if size >= len(part))
        # Filled up with its last key, so that a prepared statement fits.
        part += part[-1:] * (size - len(part))
        marks = ",".join("?" * size)
        query = f"SELECT group_concat(hex({column}), '') FROM {table} WHERE {column} IN ({marks})"  # noqa: S608  # names of ours, and marks
        (found,) = connection.execute(query, part).fetchone()
        text = bytes.fromhex(found or "")
        known.update(text[at : at + 16] for at in range(0, len(text), 16))
    return known


def insert_rows(
    connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]], end: str = ""
) -> None:
    """Insert rows; ``into`` is a table with its columns, ``end`` what follows the
    values.

    :raises sqlite3.IntegrityError: when one of them is there already. The rows of
        earlier statements are stored then.
    """
    marks = f"({','.join('?' * len(rows[0]))})" if rows else ""
    for part in parts(rows):
        values = ",".join([marks] * len(part))
        statement = f"INSERT INTO {into} VALUES {values} {end}"  # noqa: S608  # names of ours, and marks
        connection.execute(statement, tuple(chain.from_iterable(part)))


def parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut rows into parts for one statement each."""
    start = 0
    for size in INSERTED:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size
    if start < len(rows):
        yield rows[start:]
