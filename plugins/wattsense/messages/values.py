"""From a member of a Wattsense message to a number and a time.

Which member to read is the same for a point at all times: readers that take the scaled
value now and the raw one later draw curves that jump. A value that cannot be forwarded
has a reason, one word, and is never replaced by 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from bridge.api import JSON, Value

if TYPE_CHECKING:
    from ..settings import Settings

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
MAX_NUMBER = 64  # characters; more digits than any number that a sensor means
MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}


class Dropped(Exception):
    """A value that is kept and not forwarded."""

    def __init__(self, reason: str, why: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        """One word, to count by."""
        self.why = why
        """A sentence for a person; empty where the word says it all."""


def value_of(item: Mapping[str, JSON], settings: Settings) -> Value:
    """Give the value of an item.

    :raises Dropped: if it is none that these settings forward.
    """
    if settings.prefer == "scaled":
        scaled = item.get("scaledPayload")
        if isinstance(scaled, str):
            scaled = number_in(scaled)
        if isinstance(scaled, int | float) and not isinstance(scaled, bool):
            return scaled
    return _payload(item.get("payload"), settings)


def _payload(payload: JSON, settings: Settings) -> Value:
    if isinstance(payload, bool):
        if settings.booleans == "drop":
            raise Dropped("boolean")
        return int(payload)
    if isinstance(payload, int | float):
        return payload
    if isinstance(payload, str):
        number = number_in(payload) if settings.numeric_strings else None
        if number is not None:
            return number
        if settings.strings == "text":
            return payload
        raise Dropped("text")
    if payload is None:
        raise Dropped("null")
    raise Dropped("object" if isinstance(payload, dict) else "array")


def number_in(text: str) -> int | float | None:
    """Read a decimal number; None if the text is anything else.

    Spelled as in JSON, a leading plus allowed.
    """
    text = text.strip()
    if (
        len(text) > MAX_NUMBER
        or re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text) is None
    ):
        return None
    if text.lstrip("+-").isdigit() and abs(int(text)) < 1 << 63:
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else None


def time_of(timestamp: JSON, unit: Literal["auto", "ms", "s"]) -> datetime:
    """Read a time since the epoch. ``auto`` tells seconds, milliseconds and
    microseconds by their size.

    Vendor documentation has milliseconds for the REST API; for the webhook they are
    assumed.

    :raises ValueError: if it is no whole number above zero, or beyond the year 9999.
    """
    if not isinstance(timestamp, int) or isinstance(timestamp, bool) or timestamp <= 0:
        raise ValueError("timestamp is not a whole number above zero")
    try:
        return EPOCH + timedelta(
            microseconds=timestamp * MICROSECONDS[_unit(timestamp) if unit == "auto" else unit]
        )
    except OverflowError:
        raise ValueError("timestamp is beyond the year 9999") from None


def moment_of(value: JSON, unit: Literal["auto", "ms", "s"]) -> datetime:
    """Read a time since the epoch, or one in RFC 3339 with a zone.

    :raises ValueError: if it is neither.
    """
    if not isinstance(value, str):
        return time_of(value, unit)
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError("the time has no zone")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time is outside of the years 1 to 9999") from None


def _unit(timestamp: int) -> str:
    if timestamp < 10**11:
        return "s"
    return "us" if timestamp > 10**14 else "ms"
