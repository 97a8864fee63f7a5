"""What an entity says: which device it is about, and which readings it holds.

The entity is the vendor's object inside the envelope, such as ``DataPoint`` or ``DeviceCore``. Every field may be
missing (vendor documentation, recorded traffic); nothing here fails, it finds less.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import unquote_plus

from attrs import frozen

from bridge.api import JSON, Reading, Value

UNKNOWN_DEVICE = "unknown"

_DEVICE_ID = re.compile(r"(?<![0-9A-Za-z-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{8}){3}(?![0-9A-Za-z-])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = frozenset({"INTEGER", "LONG"})
_FRACTIONAL = frozenset({"FLOAT", "DOUBLE"})


@frozen
class Topic:
    """The topic of an event, ``{customer id}/{name}/{rest}``."""

    raw: str
    """As the server wrote it; empty if it wrote none."""
    parts: tuple[str, ...]
    """Percent-decoded after splitting (``+`` is a blank: assumed)."""

    @classmethod
    def parse(cls, raw: str) -> Topic:
        """Take a topic apart."""
        return cls(raw, tuple(unquote_plus(part) for part in raw.split("/")))

    @property
    def name(self) -> str:
        """The kind of event, such as ``DataPoint``; empty if the topic has none."""
        return self.parts[1] if len(self.parts) > 1 else ""

    @property
    def rest(self) -> str:
        """What follows the name."""
        return "/".join(self.parts[2:])


def device_of(topic: Topic, entity: JSON) -> str:
    """Find the device that an event is about. The same fields always give the same device.

    The first of these that is there: ``devConnectwareId`` of the entity or of its ``id``; ``device_name``; the ``id``
    of topic ``devices``; a device id anywhere in the topic, then in the source of an alarm; the topic itself.
    """
    fields = entity if isinstance(entity, Mapping) else {}
    compound = fields.get("id")
    inner = compound if isinstance(compound, Mapping) else {}
    named = [fields.get("devConnectwareId"), inner.get("devConnectwareId"), fields.get("device_name")]
    if topic.name == "devices":
        named.append(compound)
    for candidate in named:
        if isinstance(candidate, str) and candidate:
            return candidate
    for text in (topic.rest, inner.get("almsSourceEntityId"), fields.get("source")):
        if isinstance(text, str) and (found := _DEVICE_ID.search(text)):
            return found[0]
    return topic.raw or UNKNOWN_DEVICE


@frozen
class Stream:
    """Where a data point belongs."""

    device: str
    signal: str
    path: str
    """The stream path as the server wrote it."""


def stream_of(topic: Topic, point: Mapping[str, Any]) -> Stream:
    """Tell device and signal of a data point.

    The device is the first part of the topic's path if that is a device id, else the first part of ``streamId`` if that
    is one (with stream forwarding the two may differ), else the stream path itself: a stream of no device is ordered by
    itself. The signal is the stream path without the device in front.
    """
    stream_id = point.get("streamId")
    path = stream_id if isinstance(stream_id, str) and stream_id else topic.rest
    signal = path
    device = ""
    for candidate in (path, topic.rest):
        first, _, others = candidate.partition("/")
        if _DEVICE_ID.fullmatch(first):
            device = first
            if candidate is path and others:
                signal = others
    name = path or topic.raw or UNKNOWN_DEVICE
    return Stream(device or name, signal or name, name)


def readings_of(stream: Stream, point: Mapping[str, Any], stamped: datetime) -> tuple[Reading, ...]:
    """Give the reading of a data point: one, or none if its data is no value.

    :param stamped: the time of the event, used if the point carries none.
    """
    value = _value(point.get("data"), point.get("streamType"))
    if value is None:
        return ()
    time = measured(point) or stamped
    unit = point.get("streamUnits")
    return (Reading(stream.signal, value, time, unit if isinstance(unit, str) and unit else None),)


def measured(point: Mapping[str, Any]) -> datetime | None:
    """Tell when a data point was measured: the device's time, else the server's, else None."""
    return instant(point.get("timestamp")) or instant(point.get("serverTimestamp"))


def _value(data: JSON, stream_type: JSON) -> Value | None:
    """Take the value as JSON says it. Text of a numeric stream becomes a number if that number says the same."""
    if not isinstance(data, str):
        return data if isinstance(data, bool | int | float) else None
    if not isinstance(stream_type, str):
        return data
    if stream_type in _WHOLE and re.fullmatch(r"-?\d{1,19}", data, re.ASCII):
        whole = int(data)
        return whole if -(1 << 63) <= whole < 1 << 63 else data
    if stream_type in _FRACTIONAL and re.fullmatch(r"-?\d{1,30}(\.\d{1,30})?([Ee][+-]?\d{1,3})?", data, re.ASCII):
        number = float(data)
        return number if math.isfinite(number) and Decimal(repr(number)) == Decimal(data) else data
    return data


def instant(milliseconds: JSON) -> datetime | None:
    """Read milliseconds since 1970, UTC; None if it is no such number."""
    if not isinstance(milliseconds, int) or isinstance(milliseconds, bool):
        return None
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def moment(text: JSON) -> datetime | None:
    """Read an ISO 8601 time, UTC where it names no zone; None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
