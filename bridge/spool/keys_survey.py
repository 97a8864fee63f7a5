"""How many keys there are, how long they can stay, and which hours are due.

Questions to the reader: all hours are looked at, some hundreds mostly, a million where
a sensor stamps its values at random.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping

from attrs import define, field, frozen

from bridge.spool.keys_store import SECONDS_A_MINUTE

KEY_SIZE = 30  # bytes in the file, measured: with the time of storing, and room in pages
HOURS_A_STEP = 20_000  # looked at in some 20 ms
MOST_HOURS = 1000  # named in one answer

# Share of the bound that the keys may take: above it the oldest go.
FILLED = 0.95
# Seconds for which a key is known, however little room there is: what is sent again
# mostly comes within a day.
MIN_WINDOW = 86400.0

DAYS = 7  # looked back for the rate
# An hour that is walked is walked again when this share of the window has passed: each
# time all of it is read.
REST = 1 / 32

_BY_AGE = """
    WITH some AS (SELECT * FROM hours WHERE hour > ? ORDER BY hour LIMIT ?)
    SELECT (SELECT group_concat(oldest || ' ' || newest || ' ' || count, ',') FROM (
        SELECT oldest / 60 AS oldest, newest / 60 AS newest, sum(count) AS count
        FROM some GROUP BY 1, 2)),
    (SELECT max(hour) FROM some)
"""


@frozen
class KeySurvey:
    """What is known of the keys at one moment."""

    count: int
    a_day: int | None
    """Keys stored on an ordinary day of the last week; None: no day has passed."""
    window: float
    """Seconds of running for which a key is known from now on: less than is wanted
    where the keys take more room than they may.
    """
    foretold: float | None
    """The same, at the rate of these days; not below a day."""
    cut: int
    """Minute of running time up to which what was stored is due."""

    @property
    def size(self) -> int:
        """Bytes that they take, about."""
        return self.count * KEY_SIZE


@define
class Ages:
    """How many keys were stored in which hours of running time."""

    _found: Counter[tuple[int, int]] = field(factory=Counter)
    """Keys by the first and the last hour in which they may have been stored."""
    _after: int = -1

    def read(self, connection: sqlite3.Connection) -> bool:
        """Look at the next hours of key_time; says whether there are more."""
        text, last = connection.execute(_BY_AGE, (self._after, HOURS_A_STEP)).fetchone()
        for row in text.split(",") if text else ():
            oldest, newest, count = map(int, row.split())
            self._found[oldest, newest] += count
        self._after = last
        return last is not None

    @property
    def count(self) -> int:
        """How many there are."""
        return self._found.total()

    def by_hour(self) -> dict[int, float]:
        """Return how many were stored in each hour, the newest first.

        Of those that took longer it is not known when: evenly, then.
        """
        counts: defaultdict[int, float] = defaultdict(float)
        for (oldest, newest), count in self._found.items():
            share = count / (newest - oldest + 1)
            for hour in range(oldest, newest + 1):
                counts[hour] += share
        return dict(sorted(counts.items(), reverse=True))


def survey(ages: Ages, *, running: float, window: float, room: int) -> KeySurvey:
    """Say what follows from the ages of all keys.

    :param room: bytes that the keys may take.
    """
    by_hour = ages.by_hour()
    fitting = int(room * FILLED) // KEY_SIZE
    begin = running - window
    if ages.count > fitting:
        begin = max(begin, min(_begin_of(by_hour, fitting), running - MIN_WINDOW))
    a_day = _ordinary_day(by_hour, int(running // 3600), int(max(begin, 0.0) // 3600))
    foretold = None
    if a_day is not None:
        foretold = min(window, max(MIN_WINDOW, 86400 * fitting / max(a_day, 1)))
    # Minutes are cut off when a key is stored: nothing goes before its time.
    cut = int(begin // SECONDS_A_MINUTE) - 1
    return KeySurvey(ages.count, a_day, running - begin, foretold, cut)


def _begin_of(by_hour: Mapping[int, float], count: int) -> float:
    """Return the time since which no more than so many keys came, by whole hours."""
    left = float(count)
    hour = 0
    for hour, stored in by_hour.items():
        left -= stored
        if left < 0:
            return (hour + 1) * 3600.0
    return hour * 3600.0


def _ordinary_day(by_hour: Mapping[int, float], now: int, since: int) -> int | None:
    """Return how many were stored on the lesser half of the last days: a history that
    was fetched is no rate.
    """
    days = [
        sum(by_hour.get(hour, 0.0) for hour in range(end - 24, end))
        for end in range(now, max(since + 23, now - 24 * DAYS), -24)
    ]
    return round(sorted(days)[(len(days) - 1) // 2]) if days else None


def due_hours(connection: sqlite3.Connection, cut: int) -> list[int]:
    """Return hours of which all keys are due, those stored longest ago first."""
    query = (
        "SELECT group_concat(hour) FROM "
        "(SELECT hour FROM hours WHERE newest <= ? ORDER BY newest LIMIT ?)"
    )
    (text,) = connection.execute(query, (cut, MOST_HOURS)).fetchone()
    return [int(hour) for hour in text.split(",")] if text else []


def hour_to_walk(connection: sqlite3.Connection, cut: int, window: float) -> int | None:
    """Return the hour with the oldest keys among those that are due in part, and were
    not walked lately.
    """
    rest = int(window * REST / 60)
    query = "SELECT hour FROM hours WHERE oldest <= ? AND newest > ? ORDER BY oldest LIMIT 1"
    found: tuple[int] | None = connection.execute(query, (cut - rest, cut)).fetchone()
    return None if found is None else found[0]
