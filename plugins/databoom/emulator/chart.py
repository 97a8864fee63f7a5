"""The chart of the emulator: recorded values read back, each by itself or one for an
hour, a day, a month.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby

from bridge.api import JSON, Value

from .dates import javascript
from .model import Signal

MAX_VALUES = 10_080  # vendor documentation
GRANULARITIES = ("a", "*", "h", "d", "m")

Row = tuple[datetime, Value]


def chart(signals: Iterable[Signal], start: datetime, end: datetime, granularity: str) -> JSON:
    """Return the answer of a chart.

    ``a``, automatic, is taken as every value; the nesting of ``info`` is assumed.
    """
    used = "*" if granularity == "a" else granularity
    charted: dict[str, JSON] = {}
    info: dict[str, JSON] = {}
    for signal in signals:
        rows = sorted(
            (row for row in signal.points if start <= row[0] <= end), key=lambda row: row[0]
        )
        groups = [
            list(group)
            for _, group in groupby(enumerate(rows), key=lambda each: _place(each, used))
        ]
        charted[signal.id] = [
            _entry([row for _, row in group], used) for group in groups[:MAX_VALUES]
        ]
        info[signal.id] = {"granularity": used, "overBound": len(groups) > MAX_VALUES}
    return charted | {"info": info}


def _place(each: tuple[int, Row], granularity: str) -> datetime | int:
    """Return the group of a row: its hour, day or month, else only itself."""
    index, (time, _) = each
    return index if granularity == "*" else _beginning(time, granularity)


def _beginning(time: datetime, granularity: str) -> datetime:
    hour = time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if granularity == "h":
        return hour
    return hour.replace(hour=0) if granularity == "d" else hour.replace(day=1, hour=0)


def _entry(rows: Sequence[Row], granularity: str) -> JSON:
    time = rows[-1][0] if granularity == "*" else _beginning(rows[0][0], granularity)
    date = javascript(time)
    entry = {"_id": {"data": date}, "date": date, "value": rows[-1][1]}
    numbers = [value for _, value in rows if not isinstance(value, str)]
    if not numbers:
        return entry
    total = sum(numbers)
    return entry | {
        "mean": total / len(numbers),
        "total_sum": total,
        "max_t": max(numbers),
        "min_t": min(numbers),
    }
