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
from typing import Literal, TypeAlias

from attrs import frozen

from bridge.api import JSON, Value

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
MAX_NUMBER = 64  # characters; more digits than any number that a sensor means
MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}

Unit: TypeAlias = Literal["auto", "ms", "s"]


@frozen(kw_only=True)
class ValuePolicy:
    """What is forwarded as a value, and when it was measured."""

    prefer: Literal["scaled", "raw"]
    booleans: Literal["number", "drop"]
    numeric_strings: bool
    """Whether a number that is written as text in ``payload`` is one."""
    strings: Literal["drop", "text"]
    out_of_service: Literal["skip", "send"]
    timestamp_unit: Unit
    future_limit: float
    """Seconds that a time may be ahead of our clock."""

    def time_of(self, timestamp: JSON) -> datetime:
        """Return a time since the epoch. ``auto`` tells seconds, milliseconds and
        microseconds by their size.

        Vendor documentation has milliseconds for the REST API; for the webhook they are
        assumed.

        :raises ValueError: if it is no whole number above zero, or after 9999.
        """
        if not isinstance(timestamp, int) or isinstance(timestamp, bool) or timestamp <= 0:
            raise ValueError("timestamp is not a whole number above zero")
        unit = _unit_of(timestamp) if self.timestamp_unit == "auto" else self.timestamp_unit
        try:
            return EPOCH + timedelta(microseconds=timestamp * MICROSECONDS[unit])
        except OverflowError:
            raise ValueError("timestamp is beyond the year 9999") from None

    def moment_of(self, value: JSON) -> datetime:
        """Return a time since the epoch, or one in RFC 3339 with a zone.

        :raises ValueError: if it is neither.
        """
        if not isinstance(value, str):
            return self.time_of(value)
        time = datetime.fromisoformat(value)
        if time.tzinfo is None:
            raise ValueError("the time has no zone")
        try:
            return time.astimezone(UTC)
        except OverflowError:
            raise ValueError("the time is outside of the years 1 to 9999") from None

    def check_time(self, time: datetime, now: datetime) -> None:
        """Check that a time is not in the future. :raises DroppedError: if it is."""
        if (time - now).total_seconds() > self.future_limit:
            raise DroppedError("future")  # no setting helps against a wrong clock over there

    def value_of(self, item: Mapping[str, JSON], time: datetime, now: datetime) -> Value:
        """Return the value of an item.

        :param time: when it was measured.
        :raises DroppedError: if it is none that is forwarded.
        """
        if item.get("isOutOfService") is True and self.out_of_service == "skip":
            raise DroppedError("out-of-service")
        self.check_time(time, now)
        if self.prefer == "scaled":
            scaled = item.get("scaledPayload")
            if isinstance(scaled, str):
                scaled = number_in(scaled)
            if isinstance(scaled, int | float) and not isinstance(scaled, bool):
                return scaled
        return self._payload(item.get("payload"))

    def _payload(self, payload: JSON) -> Value:
        if isinstance(payload, bool):
            if self.booleans == "drop":
                raise DroppedError("boolean")
            return int(payload)
        if isinstance(payload, int | float):
            return payload
        if isinstance(payload, str):
            number = number_in(payload) if self.numeric_strings else None
            if number is not None:
                return number
            if self.strings == "text":
                return payload
            raise DroppedError("text")
        if payload is None:
            raise DroppedError("null")
        raise DroppedError("object" if isinstance(payload, dict) else "array")


class DroppedError(Exception):
    """A value is kept and not forwarded."""

    def __init__(self, reason: str, why: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        """One word, to count by."""
        self.why = why
        """A sentence for a person; empty where the word says it all."""


def number_in(text: str) -> int | float | None:
    """Return the decimal number in a text; None if the text is anything else.

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


def _unit_of(timestamp: int) -> str:
    if timestamp < 10**11:
        return "s"
    return "us" if timestamp > 10**14 else "ms"
