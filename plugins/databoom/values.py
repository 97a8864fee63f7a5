"""Values and dates as they are sent. Pure.

Rules, from vendor documentation where nothing else is said:

* Values are numbers. Booleans become 0 and 1, texts that are numbers become those (seen
  in an industrial client).
* Other texts are sent only if asked for. What is not finite, or no value at all, is
  never sent.
* Whole numbers above 2^53 are sent as they are; JavaScript reads them less exactly
  (assumed), so they are counted.
* Dates are UTC, cut to milliseconds, in Databoom's own spelling. A date without a zone
  would be read in the server's, a number of seconds as January 1970.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from bridge.api import JSON

MAX_EXACT = 1 << 53  # above it JavaScript's numbers have gaps

_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_INTEGER = re.compile(r"-?[0-9]{1,18}")  # fits 64 bits, the most that JSON is written with here

Number = int | float | str
"""A value as it is sent; a text only where ``texts`` allows it."""


def sent_value(value: JSON, *, texts: bool) -> Number | None:
    """Give a value as it is sent; None if it is not to be sent."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not isinstance(value, str):
        return None
    if _INTEGER.fullmatch(value):
        return int(value)
    if _NUMBER.fullmatch(value) and math.isfinite(number := float(value)):
        return number
    return value if texts else None


def is_exact(value: Number) -> bool:
    """Tell whether JavaScript can hold the value as it is."""
    return not isinstance(value, int) or -MAX_EXACT <= value <= MAX_EXACT


def sent_date(time: datetime, zone: str = "+0000") -> str:
    """Write a time as Databoom does: ``2020-02-05T02:59:33.000+0000``."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + zone
