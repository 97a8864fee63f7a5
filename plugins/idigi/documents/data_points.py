"""Data points: stream, time and value of ``DataPoint``.

Every field may be missing (vendor documentation, recorded traffic); nothing here fails,
it finds less.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import frozen

from bridge.api import JSON, Reading, Value

from .entities import DEVICE_ID, UNKNOWN_DEVICE, Topic
from .json import GREATEST_INTEGER, MIN_INTEGER

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = frozenset({"INTEGER", "LONG"})
_FRACTIONAL = frozenset({"FLOAT", "DOUBLE"})
# A document or bytes, also where it is written as text.
_NO_VALUE = frozenset({"BINARY", "JSON", "GEOJSON"})


@frozen
class Stream:
    """Where a data point belongs."""

    device: str
    signal: str
    path: str
    """The stream path as the server wrote it."""


def stream_of(topic: Topic, point: Mapping[str, Any]) -> Stream:
    """Return device and signal of a data point.

    The device is the first part of the topic's path if that is a device id, else the
    first part of ``streamId`` if that is one (with stream forwarding the two may
    differ), else the stream path itself: a stream of no device is ordered by itself.
    The signal is the stream path without the device in front.
    """
    stream_id = point.get("streamId")
    path = stream_id if isinstance(stream_id, str) and stream_id else topic.rest
    signal = path
    device = ""
    for candidate in (path, topic.rest):
        first, _, others = candidate.partition("/")
        if DEVICE_ID.fullmatch(first):
            device = first
            if candidate is path and others:
                signal = others
    name = path or topic.raw or UNKNOWN_DEVICE
    return Stream(device or name, signal or name, name)


def readings_of(stream: Stream, point: Mapping[str, Any], stamped: datetime) -> tuple[Reading, ...]:
    """Return the reading of a data point: one, or none if its data is no value.

    :param stamped: the time of the event, used if the point carries none.
    """
    value = _value(point.get("data"), point.get("streamType"))
    if value is None:
        return ()
    time = measured(point) or stamped
    unit = point.get("streamUnits")
    return (Reading(stream.signal, value, time, unit if isinstance(unit, str) and unit else None),)


def measured(point: Mapping[str, Any]) -> datetime | None:
    """When a data point was measured: by the device's time, else the server's, else
    None.
    """
    return instant(point.get("timestamp")) or instant(point.get("serverTimestamp"))


def _value(data: JSON, stream_type: JSON) -> Value | None:
    if isinstance(stream_type, str) and stream_type.upper() in _NO_VALUE:
        return None
    if isinstance(data, str):
        number = number_of(data, stream_type)
        return data if number is None else number
    return data if isinstance(data, bool | int | float) else None


def number_of(text: str, stream_type: JSON) -> int | float | None:
    """Read the text of a numeric stream as JSON would read the number; None if it is
    none that can be stored.
    """
    kind = stream_type.upper() if isinstance(stream_type, str) else ""
    text = text.strip()
    if kind in _WHOLE | _FRACTIONAL and re.fullmatch(r"-?[0-9]{1,20}", text):
        number = int(text)
        if MIN_INTEGER <= number <= GREATEST_INTEGER:
            return number
    if kind in _FRACTIONAL and re.fullmatch(
        r"-?[0-9]{1,400}(\.[0-9]{1,400})?([Ee][+-]?[0-9]{1,4})?", text
    ):
        fraction = float(text)
        return fraction if math.isfinite(fraction) else None
    return None


def instant(milliseconds: JSON) -> datetime | None:
    """Read milliseconds since 1970, UTC; None if it is no such number."""
    if not isinstance(milliseconds, int) or isinstance(milliseconds, bool):
        return None
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
