"""From events to pushes: the bodies of requests, a list for each batch. Pure, and the
same for the same arguments.

    events ─▶ points of each device, by time
                ├─ first of each new signal ─▶ array form, with ``meta``
                └─ the others ─▶ array form if they share one time, else history form

That is ``form = auto``. With ``array`` and ``template`` there is a push for each
moment, with ``history`` none of one. Rules, from vendor documentation where nothing
else is said:

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
from datetime import datetime
from itertools import groupby
from typing import Literal

from attrs import evolve, frozen

from bridge.api import JSON, Reading, Stored

from .push import Form, Point, Push, is_exact, sent_date, sent_value
from .settings import DataboomSettings
from .tokens import Tokens, UndeliverableError, UnmappedError


@frozen
class Plan:
    """What becomes of a batch."""

    pushes: tuple[Push, ...]
    """To be sent in this order, which is that of time for each signal."""
    filtered: frozenset[int]
    """Positions of the events that hold nothing to send."""
    dead: dict[int, str]
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
    tokens: Tokens,
    known: Container[tuple[str, str]],
    settings: DataboomSettings,
    fitting: int | None = None,
) -> Plan:
    """Decide what to send for a batch.

    :param known: (device token, signal token) of the signals that need no introduction.
    :param fitting: size above which pushes of several values are split; None:
        ``most_bytes``.
    """
    dead: dict[int, str] = {}
    left_out: Counter[str] = Counter()
    inexact: Counter[str] = Counter()
    devices: dict[str, dict[tuple[str, str], Point]] = {}
    texts = settings.texts == "send"
    # A batch asks for few tokens, many times.
    claimed: dict[tuple[str, str, str, str], tuple[str, str]] = {}
    by_label = tokens.by_label
    for index, stored in enumerate(events):
        for reading in stored.event.readings:
            value = sent_value(reading.value, texts=texts)
            if value is None:
                left_out[reading.signal] += 1
                continue
            try:
                _check_time(reading, stored, settings.future_limit)
                key = stored.source, stored.event.device, stored.event.kind, reading.signal
                if by_label or key not in claimed:
                    claimed[key] = tokens.claim(stored.source, stored.event, reading)
                device, signal = claimed[key]
            except UndeliverableError as exc:
                dead[index] = str(exc)
                continue
            except UnmappedError:
                continue
            if not is_exact(value):
                inexact[reading.signal] += 1
            date = sent_date(reading.time, settings.dates)
            point = Point(index, signal, date, value, reading.signal, reading.unit)
            devices.setdefault(device, {})[signal, date] = point  # of one millisecond the last
    pushes: list[Push] = []
    limit = settings.most_bytes if fitting is None else min(fitting, settings.most_bytes)
    for device, points in devices.items():
        by_time = sorted(points.values(), key=lambda point: point.date)
        for push in _pushes(device, by_time, known, settings):
            pushes += _within(limit, settings.most_bytes, push, dead)
    sent = {point.event for push in pushes for point in push.points}
    filtered = frozenset(range(len(events))) - sent - dead.keys()
    return Plan(tuple(pushes), filtered, dead, left_out, inexact)


def heartbeat_of(
    device: str, time: datetime, known: Container[tuple[str, str]], settings: DataboomSettings
) -> Push:
    """Make the push of a heartbeat.

    :param known: as that of :func:`plan`.
    """
    date = sent_date(time, settings.dates)
    point = Point(-1, settings.heartbeat, date, 1, "heartbeat of the bridge")
    if (device, settings.heartbeat) not in known:
        point = _introduced(point, settings)
    form: Form = "array" if settings.form == "auto" else settings.form
    return Push(device, form, (point,), settings.template)


def _check_time(reading: Reading, stored: Stored, limit: float) -> None:
    # Compared with the time of receipt, not with now: a replay must come to the same
    # end.
    if (reading.time - stored.received).total_seconds() > limit:
        raise UndeliverableError(
            f"{reading.signal!r} is stamped {reading.time.isoformat(timespec='seconds')} and was "
            f"received {stored.received.isoformat(timespec='seconds')}, more than future_limit "
            "before; set the clock of the device or of this machine, or raise future_limit and "
            "replay"
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
    introductions = {signal: _introduced(point, settings) for signal, point in first.items()}
    if settings.form == "auto":
        others = [point for point in points if first.get(point.signal) is not point]
        if _of_one_time(points):
            yield from _moments(device, "array", [*introductions.values(), *others], settings)
        else:
            yield from _moments(device, "array", introductions.values(), settings)
            if _of_one_time(others):
                yield from _moments(device, "array", others, settings)
            else:
                yield from _histories(device, others, settings)
        return
    every = [
        introductions[point.signal] if first.get(point.signal) is point else point
        for point in points
    ]
    if settings.form == "history":
        yield from _histories(device, every, settings)
    else:
        yield from _moments(device, settings.form, every, settings)


def _introduced(point: Point, settings: DataboomSettings) -> Point:
    """Describe a point as the first of its signal."""
    if not settings.meta or settings.form not in ("auto", "array"):
        return evolve(point, first=True)
    meta: dict[str, JSON] = {"description": point.name, "tags": list(settings.tags)}
    if point.unit:
        meta["unit"] = point.unit
    # Only where a person named one: the effect of a type that is not listed is unknown.
    if type_ := settings.types.get(point.name):
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
    size = settings.most_signals
    for _, group in groupby(points, key=lambda point: point.date):
        moment = tuple(group)
        for start in range(0, len(moment), size):
            yield Push(device, form, moment[start : start + size], settings.template)


def _histories(device: str, points: Sequence[Point], settings: DataboomSettings) -> Iterator[Push]:
    """Make pushes of points of several moments."""
    chunk: list[Point] = []
    of_signal: Counter[str] = Counter()
    for point in points:
        full = len(chunk) == settings.most_points
        if full or of_signal[point.signal] == settings.most_points_per_signal:
            yield Push(device, "history", tuple(chunk))
            chunk, of_signal = [], Counter()
        chunk.append(point)
        of_signal[point.signal] += 1
    if chunk:
        yield Push(device, "history", tuple(chunk))


def _within(fitting: int, limit: int, push: Push, dead: dict[int, str]) -> Iterator[Push]:
    """Split a push until its parts fit ``fitting``, or are single values within
    ``limit``.
    """
    size = len(push.body)
    if size <= fitting or (size <= limit and len(push.points) == 1):
        yield push
    elif len(push.points) > 1:
        for half in push.halves():
            yield from _within(fitting, limit, half, dead)
    else:
        point = push.points[0]
        dead[point.event] = (
            f"{point.name!r} alone makes a push of {size} bytes, more than most_bytes = {limit}"
        )
