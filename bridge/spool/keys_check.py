"""Whether the hours say how many keys there are: a part of the audit."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta

from bridge.spool.keys import EPOCH, SECONDS_AN_HOUR, bounds_of

LAST_HOUR = ((1 << 32) - 1) // SECONDS_AN_HOUR

# Never looks at more than one key beyond what the hour is said to have.
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM known WHERE key >= ? AND key < ? LIMIT ? + 1)"
_ANY = "SELECT EXISTS (SELECT 1 FROM known WHERE key >= ? AND key < ?)"


def check_keys(connection: sqlite3.Connection) -> Iterator[str]:
    """Say of each hour of which the number of keys is wrong what is wrong.

    It only reads, and no hour takes longer than the keys that it is said to have; all
    together some seconds for 50 million.
    """
    expected = 0
    for hour, count, oldest, newest in connection.execute(
        "SELECT hour, count, oldest, newest FROM hours ORDER BY hour"
    ):
        yield from _between(connection, expected, hour - 1)
        expected = hour + 1
        (found,) = connection.execute(_COUNT, (*bounds_of(hour, hour), max(count, 0))).fetchone()
        if found > max(count, 0):
            yield f"keys {_name(hour)}: {count} are counted, there are more"
        elif found != count or not count:
            yield f"keys {_name(hour)}: {count} are counted, there are {found}"
        if oldest > newest:
            yield f"keys {_name(hour)}: the newest is said to be older than the oldest"
    yield from _between(connection, expected, LAST_HOUR)


def _between(connection: sqlite3.Connection, first: int, last: int) -> Iterator[str]:
    """What lies in no hour is not counted, and would never go."""
    if first <= last and connection.execute(_ANY, bounds_of(first, last)).fetchone()[0]:
        yield f"keys between {_time(first)} and {_time(last + 1)}: none are counted, there are some"


def _name(hour: int) -> str:
    return f"of the hour from {_time(hour)} on" if hour else "without a time"


def _time(hour: int) -> str:
    return f"{EPOCH + timedelta(hours=hour):%Y-%m-%d %H:%M}"
