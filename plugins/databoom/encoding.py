"""From events to pushes: the bodies of requests, a list for each batch. Pure, and the same for the same batch.

events ──▶ points of each device, by time ──▶ first of each new signal ──▶ array form, with ``meta``
                                          └─▶ the others ───────────────▶ array form if they share one time,
                                                                          else history form

Rules, from vendor documentation where nothing else is said:

* A push carries one device, in one form. Array form: values that share one date. History form: a date for each value.
* A signal that a push creates records nothing until a person validates it, unless that push describes it by ``meta``.
  Whether the history form creates a usable signal is unknown, so the first value of a signal goes in array form.
* Values are numbers. Booleans become 0 and 1, texts that are numbers become those (seen in an industrial client).
* Dates are UTC, cut to milliseconds, in Databoom's own spelling. A date without a zone would be read in the server's.
* Of two values of one signal in one millisecond the last is kept: whether Databoom would keep one or both is unknown.
* No limit of size or number is exceeded. The limits are settings: the vendor publishes none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Literal

import orjson
from attrs import evolve, frozen

from bridge.api import JSON, Reading, Stored, Value
from bridge_plugins.databoom.naming import Names, Unfit
from bridge_plugins.databoom.settings import DataboomSettings

_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_INTEGER = re.compile(r"-?[0-9]{1,18}")  # fits 64 bits, the most that JSON is written with here

Number = int | float | str
"""A value as it is sent; a text only where ``texts`` allows it."""


@frozen
class Point:
    """One value on its way."""

    event: int
    """Position of its event in the batch."""
    signal: str
    """Signal token."""
    date: str
    """As it is sent; sorts by time."""
    value: Number
    name: str
    """The vendor's name of the signal."""
    unit: str | None
    meta: bool = False
    """Whether the signal is described, because Databoom may not know it."""


@frozen
class Push:
    """One request."""

    device: str
    """Device token."""
    form: Literal["array", "history"]
    points: tuple[Point, ...]
    """By date; all of one date in array form."""

    def body(self) -> bytes:
        """Write the request body."""
        if self.form == "array":
            entries = [_array_entry(point) for point in self.points]
            return orjson.dumps({"device": self.device, "date": self.points[0].date, "signals": entries})
        signals: dict[str, dict[str, list[JSON]]] = {}
        for point in self.points:
            entry = signals.setdefault(point.signal, {"history": []})
            entry["history"].append({"date": point.date, "value": point.value})
        return orjson.dumps({"device": self.device, "signals": signals})

    def halves(self) -> tuple[Push, Push]:
        """Make two pushes of one that holds several points."""
        middle = len(self.points) // 2
        return evolve(self, points=self.points[:middle]), evolve(self, points=self.points[middle:])


def _array_entry(point: Point) -> JSON:
    entry: dict[str, JSON] = {"name": point.signal, "value": point.value}
    if point.meta:
        # No ``type``: what happens with one that is not in Databoom's list is unknown.
        entry["meta"] = {"description": point.name, "tags": ["bridge"]} | ({"unit": point.unit} if point.unit else {})
    return entry


@frozen
class Plan:
    """What becomes of a batch."""

    pushes: tuple[Push, ...]
    """To be sent in this order, which is that of time for each signal."""
    filtered: frozenset[int]
    """Positions of the events that hold nothing to send."""
    unfit: dict[int, str]
    """Position to reason, of the events of which something cannot be sent. Their other points are in the pushes."""


def plan(events: Sequence[Stored], names: Names, known: Container[tuple[str, str]], settings: DataboomSettings) -> Plan:
    """Decide what to send for a batch.

    :param known: (device token, signal token) of the signals that need no introduction.
    """
    unfit: dict[int, str] = {}
    devices: dict[str, dict[tuple[str, str], Point]] = {}
    for index, stored in enumerate(events):
        for reading in stored.event.readings:
            value = sent_value(reading.value, texts=settings.texts == "send")
            if value is None:
                continue
            try:
                _check_time(reading, stored, settings.future_limit)
                device = names.device_of(stored)
                signal = names.signal_of(device, stored, reading)
            except Unfit as exc:
                unfit[index] = str(exc)
                continue
            point = Point(index, signal, sent_date(reading.time), value, reading.signal, reading.unit)
            devices.setdefault(device, {})[signal, point.date] = point  # of one millisecond the last
    pushes: list[Push] = []
    for device, points in devices.items():
        by_time = sorted(points.values(), key=lambda point: point.date)
        for push in _pushes(device, by_time, known, settings):
            pushes += _within(settings.most_bytes, push, unfit)
    sent = {point.event for push in pushes for point in push.points}
    return Plan(tuple(pushes), frozenset(range(len(events))) - sent - unfit.keys(), unfit)


def sent_value(value: Value, *, texts: bool) -> Number | None:
    """Give a value as it is sent; None for a text that is no number, unless ``texts`` allows it."""
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        return value
    if _INTEGER.fullmatch(value):
        return int(value)
    if _NUMBER.fullmatch(value) and math.isfinite(number := float(value)):
        return number
    return value if texts else None


def sent_date(time: datetime) -> str:
    """Write a time as Databoom does: ``2020-02-05T02:59:33.000+0000``."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "+0000"


def _check_time(reading: Reading, stored: Stored, limit: float) -> None:
    # Compared with the time of receipt, not with now: a retry must come to the same body.
    if (reading.time - stored.received).total_seconds() > limit:
        raise Unfit(
            f"{reading.signal!r} is stamped {reading.time.isoformat(timespec='seconds')} and was received "
            f"{stored.received.isoformat(timespec='seconds')}, more than future_limit before; set the clock of the "
            "device or of this machine, or raise future_limit and replay"
        )


def _pushes(
    device: str, points: Sequence[Point], known: Container[tuple[str, str]], settings: DataboomSettings
) -> Iterator[Push]:
    """Share the points of a device, given by time, out to pushes within the limits of number."""
    first: dict[str, Point] = {}
    for point in points:
        if (device, point.signal) not in known:
            first.setdefault(point.signal, point)
    introductions = [evolve(point, meta=settings.meta) for point in first.values()]
    others = [point for point in points if first.get(point.signal) is not point]
    if _of_one_time(points):
        yield from _arrays(device, [*introductions, *others], settings)
    elif _of_one_time(others):
        yield from _arrays(device, introductions, settings)
        yield from _arrays(device, others, settings)
    else:
        yield from _arrays(device, introductions, settings)
        yield from _histories(device, others, settings)


def _of_one_time(points: Sequence[Point]) -> bool:
    return len({point.date for point in points}) <= 1


def _arrays(device: str, points: Iterable[Point], settings: DataboomSettings) -> Iterator[Push]:
    for _, group in groupby(points, key=lambda point: point.date):
        moment = tuple(group)
        for start in range(0, len(moment), settings.most_signals):
            yield Push(device, "array", moment[start : start + settings.most_signals])


def _histories(device: str, points: Sequence[Point], settings: DataboomSettings) -> Iterator[Push]:
    """Make pushes of points of several moments."""
    chunk: list[Point] = []
    of_signal: dict[str, int] = {}
    for point in points:
        full = len(chunk) == settings.most_points
        if full or of_signal.get(point.signal) == settings.most_points_per_signal:
            yield Push(device, "history", tuple(chunk))
            chunk, of_signal = [], {}
        chunk.append(point)
        of_signal[point.signal] = of_signal.get(point.signal, 0) + 1
    yield Push(device, "history", tuple(chunk))


def _within(most_bytes: int, push: Push, unfit: dict[int, str]) -> Iterator[Push]:
    size = len(push.body())
    if size <= most_bytes:
        yield push
    elif len(push.points) > 1:
        for half in push.halves():
            yield from _within(most_bytes, half, unfit)
    else:
        point = push.points[0]
        unfit[point.event] = f"{point.name!r} alone makes a push of {size} bytes, more than most_bytes = {most_bytes}"
