"""The times in an answer: when to come again, and what the clock of the server says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER = 3600.0  # seconds; a longer one is a mistake, and once an hour harms nobody


def read_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds of ``Retry-After``, whether it is a number or a date.

    A date counts from the answer's own ``Date`` where it has one: two clocks differ.

    :param headers: by lower-case name.
    :returns: at most ``MAX_RETRY_AFTER``; None without a usable one.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", text, re.ASCII):
        return min(float(text), MAX_RETRY_AFTER)
    until = _date(text)
    if until is None:
        return None
    seconds = (until - (_date(headers.get("date", "")) or now)).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def clock_difference(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds by which our clock is ahead of the answer's ``Date``; None
    without one.

    :param headers: by lower-case name.
    """
    date = _date(headers.get("date", ""))
    return None if date is None else (now - date).total_seconds()


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
