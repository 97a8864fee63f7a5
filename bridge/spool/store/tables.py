"""Columns of tables: those of a file may be of an older version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any


def columns_of(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """Return the names of the columns, empty if there is no such table."""
    return tuple([row[1] for row in connection.execute(f"PRAGMA table_info({table})")])


def insert(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    replace: bool = False,
) -> None:
    """Insert rows. The names are ours.

    :param replace: whether a row of the same key gives way: in a damaged file there may
        be two.
    """
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    verb = "INSERT OR REPLACE" if replace else "INSERT"
    connection.executemany(f"{verb} INTO {table} ({names}) VALUES ({marks})", rows)
