"""From events to pushes: the bodies of requests, a list for each batch. Pure, and the
same for the same arguments.

events ──▶ points of each device, by time ──▶ first of each new signal ──▶ array form, with ``meta``
                                          └─▶ the others ───────────────▶ array form if they share one time,
                                                                          else history form

That is ``form = auto``. With ``array`` and ``template`` there is a push for each
moment, with ``history`` none of one.

Rules, from vendor documentation where nothing else is said:

* A push carries one device, in one form. Array form: values that share one date.
  History form: a date for each value. Template form: like array form, and Databoom
  makes the device of a template if need be.
* A signal that a push creates records nothing until a person validates it, unless that
  push describes it by ``meta``. Whether the history form creates a usable signal is
  unknown, so the first value of a signal goes in array form. In history form and in
  template form ``meta`` is not evidenced, and not sent.
* Of two values of one signal in one millisecond the last is kept: whether Databoom
  would keep one or both is unknown.
* No limit of size or number is exceeded. The limits are settings: the vendor publishes
  none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Literal
from urllib.parse import quote

import orjson
from attrs import evolve, field, frozen

from bridge.api import JSON, Reading, Stored

from .settings import DataboomSettings
from .tokens import Names, Unfit, Unmapped
from .values import Number, is_exact, sent_date, sent_value

Form = Literal["array", "history", "template"]


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
        """Give the address of this push, where ``url`` is that of pushes."""
        return (
            f"{url.rstrip('/')}/{quote(self.device, safe='')}" if self.form == "template" else url
        )

    def listed_device(self) -> str:
        """Give the device token under which Databoom lists the signals of this push."""
        return f"{self.template}-{self.device}" if self.form == "template" else self.device

    def halves(self) -> tuple[Push, Push]:
        """Make two pushes of one that holds several points."""
        middle = len(self.points) // 2
        return evolve(self, points=self.points[:middle]), evolve(self, points=self.points[middle:])


def _array_entry(point: Point) -> JSON:
    entry: dict[str, JSON] = {"name": point.signal, "value": point.value}
    return entry if point.meta is None else entry | {"meta": point.meta}


@frozen
class Plan:
    """What becomes of a batch."""

    pushes: tuple[Push, ...]
    """To be sent in this order, which is that of time for each signal."""
    filtered: frozenset[int]
    """Positions of the events that hold nothing to send."""
    unfit: dict[int, str]
    """Position to reason, of the events of which something cannot be sent.

    Their other points are in the pushes.
    """
    left_out: Counter[str]
    """Vendor's signal to number of values that are not sent, because Databoom cannot
    hold them.
    """
    inexact: Counter[str]
    """The same of whole numbers that are sent, but too large for JavaScript."""


def plan(
    events: Sequence[Stored],
    names: Names,
    known: Container[tuple[str, str]],
    settings: DataboomSettings,
    fitting: int | None = None,
) -> Plan:
    """Decide what to send for a batch.

    :param known: (device token, signal token) of the signals that need no introduction.
    :param fitting: size above which pushes of several values are split; None:
        ``most_bytes``.
    """
    unfit: dict[int, str] = {}
    left_out: Counter[str] = Counter()
    inexact: Counter[str] = Counter()
    devices: dict[str, dict[tuple[str, str], Point]] = {}
    texts = settings.texts == "send"
    taken: dict[
        tuple[str, str, str, str], tuple[str, str]
    ] = {}  # a batch asks for few names, many times
    by_label = names.by_label
    for index, stored in enumerate(events):
        for reading in stored.event.readings:
            value = sent_value(reading.value, texts=texts)
            if value is None:
                left_out[reading.signal] += 1
                continue
            try:
                _check_time(reading, stored, settings.future_limit)
                key = stored.source, stored.event.device, stored.event.kind, reading.signal
                if by_label or key not in taken:
                    taken[key] = names.take(stored.source, stored.event, reading)
                device, signal = taken[key]
            except Unfit as exc:
                unfit[index] = str(exc)
                continue
            except Unmapped:
                continue
            if not is_exact(value):
                inexact[reading.signal] += 1
            date = sent_date(reading.time, settings.dates)
            point = Point(index, signal, date, value, reading.signal, reading.unit)
            devices.setdefault(device, {})[signal, date] = point  # of one millisecond the last
    pushes: list[Push] = []
    most = settings.most_bytes if fitting is None else min(fitting, settings.most_bytes)
    for device, points in devices.items():
        by_time = sorted(points.values(), key=lambda point: point.date)
        for push in _pushes(device, by_time, known, settings):
            pushes += _within(most, settings.most_bytes, push, unfit)
    sent = {point.event for push in pushes for point in push.points}
    filtered = frozenset(range(len(events))) - sent - unfit.keys()
    return Plan(tuple(pushes), filtered, unfit, left_out, inexact)


def _check_time(reading: Reading, stored: Stored, limit: float) -> None:
    # Compared with the time of receipt, not with now: a replay must come to the same
    # end.
    if (reading.time - stored.received).total_seconds() > limit:
        raise Unfit(
            f"{reading.signal!r} is stamped {reading.time.isoformat(timespec='seconds')} and was received "
            f"{stored.received.isoformat(timespec='seconds')}, more than future_limit before; set the clock of the "
            "device or of this machine, or raise future_limit and replay"
        )


def _pushes(
    device: str,
    points: Sequence[Point],
    known: Container[tuple[str, str]],
    settings: DataboomSettings,
) -> Iterator[Push]:
    """Share the points of a device, given by time, out to pushes within the limits of
    number.
    """
    first: dict[str, Point] = {}
    for point in points:
        if (device, point.signal) not in known:
            first.setdefault(point.signal, point)
    introductions = {signal: introduced(point, settings) for signal, point in first.items()}
    form = settings.form
    if form == "auto":
        others = [point for point in points if first.get(point.signal) is not point]
        if _of_one_time(points):
            yield from _moments(device, "array", [*introductions.values(), *others], settings)
        else:
            yield from _moments(device, "array", introductions.values(), settings)
            one_time = _of_one_time(others)
            yield from (
                _moments(device, "array", others, settings)
                if one_time
                else _histories(device, others, settings)
            )
        return
    every = [
        introductions[point.signal] if first.get(point.signal) is point else point
        for point in points
    ]
    if form == "history":
        yield from _histories(device, every, settings)
    else:
        yield from _moments(device, form, every, settings)


def introduced(point: Point, settings: DataboomSettings) -> Point:
    """Describe a point as the first of its signal."""
    if not settings.meta or settings.form not in ("auto", "array"):
        return evolve(point, first=True)
    meta: dict[str, JSON] = {"description": point.name, "tags": list(settings.tags)}
    if point.unit:
        meta["unit"] = point.unit
    if type_ := settings.types.get(
        point.name
    ):  # only if named: the effect of one that is not listed is unknown
        meta["type"] = type_
    return evolve(point, first=True, meta=meta)


def _of_one_time(points: Sequence[Point]) -> bool:
    return len({point.date for point in points}) <= 1


def _moments(
    device: str,
    form: Literal["array", "template"],
    points: Iterable[Point],
    settings: DataboomSettings,
) -> Iterator[Push]:
    """Make pushes of one moment each."""
    for _, group in groupby(points, key=lambda point: point.date):
        moment = tuple(group)
        for start in range(0, len(moment), settings.most_signals):
            yield Push(
                device, form, moment[start : start + settings.most_signals], settings.template
            )


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
    if chunk:
        yield Push(device, "history", tuple(chunk))


def _within(fitting: int, most: int, push: Push, unfit: dict[int, str]) -> Iterator[Push]:
    """Split a push until its parts fit, which a single value may miss up to ``most``."""
    size = len(push.body)
    if size <= fitting or (size <= most and len(push.points) == 1):
        yield push
    elif len(push.points) > 1:
        for half in push.halves():
            yield from _within(fitting, most, half, unfit)
    else:
        point = push.points[0]
        unfit[point.event] = (
            f"{point.name!r} alone makes a push of {size} bytes, more than most_bytes = {most}"
        )
