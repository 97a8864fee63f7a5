"""One push as it is sent: its form, its body, how values and dates are written in it,
and how large it may be. Pure.

Rules, from vendor documentation where nothing else is said:

* Values are numbers. Booleans become 0 and 1, texts that are numbers become those (seen
  in an industrial client).
* Other texts are sent only if asked for. What is not finite, or no value at all, is
  never sent.
* Whole numbers above 2^53 are sent as they are; JavaScript reads them less exactly
  (assumed), so they are counted.
* Dates are UTC, cut to milliseconds, in Databoom's own spelling. A date without a zone
  would be read in the server's, a number of seconds as January 1970.
* No limit of size is published: it is learned from 413.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TypeAlias
from urllib.parse import quote

import orjson
from attrs import define, evolve, field, frozen

from bridge.api import JSON

GROWS_AFTER = 3600.0  # seconds; where the limit stays, that costs one refused push an hour
MAX_EXACT = 1 << 53  # above it JavaScript's numbers have gaps

_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_INTEGER = re.compile(r"-?[0-9]{1,18}")  # fits 64 bits, the most that JSON is written with here

Number: TypeAlias = int | float | str
"""A value as it is sent; a text only where ``texts`` allows it."""

Form: TypeAlias = Literal["array", "history", "template"]


@frozen
class Point:
    """One value on its way."""

    event: int
    """Position of its event in the batch; -1 for a heartbeat."""
    signal: str
    """Signal token."""
    date: str
    """As it is sent; sorts by time."""
    value: Number
    name: str
    """The vendor's name of the signal."""
    unit: str | None = None
    first: bool = False
    """Whether Databoom may not know the signal yet."""
    meta: JSON = None
    """Description of such a signal, or None."""


@frozen
class Push:
    """One request."""

    device: str
    """Device token; in template form the unique value that makes one."""
    form: Form
    points: tuple[Point, ...]
    """By date; all of one date in array form and template form."""
    template: str = ""
    """Template token, in template form."""
    body: bytes = field(init=False, eq=False, repr=False)
    """The request body. Written once: what is sent again is identical."""

    @body.default
    def _write(self) -> bytes:
        if self.form == "history":
            return orjson.dumps({"device": self.device, "signals": self._histories()})
        moment = {
            "date": self.points[0].date,
            "signals": [_array_entry(point) for point in self.points],
        }
        if self.form == "template":
            return orjson.dumps({"type": "data", "message": [{"template": self.template} | moment]})
        return orjson.dumps({"device": self.device} | moment)

    def _histories(self) -> JSON:
        signals: dict[str, JSON] = {}
        for point in self.points:
            entry = signals.setdefault(point.signal, {"history": []})
            if point.first:
                entry["description"] = point.name
            entry["history"].append({"date": point.date, "value": point.value})
        return signals

    def url(self, url: str) -> str:
        """Return the address of this push, where ``url`` is that of pushes."""
        if self.form != "template":
            return url
        return f"{url.rstrip('/')}/{quote(self.device, safe='')}"

    def listed_device(self) -> str:
        """Return the device token under which Databoom lists these signals."""
        return f"{self.template}-{self.device}" if self.form == "template" else self.device

    def halves(self) -> tuple[Push, Push]:
        """Make two pushes of one that holds several points."""
        middle = len(self.points) // 2
        return evolve(self, points=self.points[:middle]), evolve(self, points=self.points[middle:])


def _array_entry(point: Point) -> JSON:
    entry: dict[str, JSON] = {"name": point.signal, "value": point.value}
    return entry if point.meta is None else entry | {"meta": point.meta}


@define(eq=False)
class PushSize:
    """The largest push that is likely to be taken.

    Half of what was refused; doubled, hour by hour, up to the setting.
    """

    max_bytes: int
    """As the settings have it."""
    now: Callable[[], datetime]
    _learned: int | None = None
    _since: datetime | None = None

    @property
    def bytes(self) -> int:
        """Size that a push of several values should not exceed."""
        if self._learned is None or self._since is None:
            return self.max_bytes
        hours = max(0, int((self.now() - self._since).total_seconds() // GROWS_AFTER))
        size = self._learned << min(hours, 40)
        if size >= self.max_bytes:
            self._learned = None
            return self.max_bytes
        return size

    def refused(self, size: int) -> None:
        """A push of several values and this size was too large."""
        self._learned = min(self.bytes, max(size // 2, 1))
        self._since = self.now()


def sent_value(value: JSON, *, texts: bool) -> Number | None:
    """Return a value as it is sent; None if it is not to be sent."""
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
    """Return whether JavaScript can hold the value as it is."""
    return not isinstance(value, int) or -MAX_EXACT <= value <= MAX_EXACT


def sent_date(time: datetime, zone: str = "+0000") -> str:
    """Write a time as Databoom does: ``2020-02-05T02:59:33.000+0000``."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + zone
