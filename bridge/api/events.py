"""Events and readings, and the one text in which they are stored.

An event is one message about one device. It is stored as one line of JSON, written by
:func:`encode` and read back by :func:`decode`, so that any engine can keep it as plain
bytes and any person can read it.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import orjson
from attrs import field, frozen

JSON: TypeAlias = Any
"""What a JSON text can say: None, bool, int, float, str, list and dict of these."""

Value: TypeAlias = float | int | bool | str

MAX_WRITTEN = (
    254  # levels that orjson writes, though it reads 1,024: what was read must be storable
)
MAX_NESTED = 200


@frozen
class Reading:
    """One value of one signal at one time."""

    signal: str
    """The vendor's name of the quantity, such as ``temperature`` or
    ``metrics/sys/level``.
    """
    value: Value
    """A finite number, a boolean or a text. Integers are exact within 64 bits."""
    time: datetime
    """When it was measured, with a time zone."""
    unit: str | None = None
    """As the vendor writes it, such as ``°C``; None where the vendor names none."""


@frozen
class Event:
    """One message about one device."""

    key: str | None
    """Unique within the source: an event whose key is known already is a duplicate.
    None for what can never come again the same: no key is kept of it.
    """
    device: str
    """The vendor's device id. Events of one device stay in order."""
    kind: str
    """The vendor's word for the message, such as ``temperature``, ``DataPoint`` or
    ``alarm``.
    """
    time: datetime
    """As the vendor stamped it, with a time zone."""
    readings: tuple[Reading, ...] = ()
    labels: Mapping[str, str] = field(factory=dict)
    """Names that people gave to the device, and other short texts a sink may put into a
    template.
    """
    data: JSON = None
    """The vendor's own object, whole; see :func:`raw_data` for bytes that would not
    parse.
    """
    former_keys: tuple[str, ...] = field(default=(), kw_only=True, eq=False)
    """How earlier versions made the key: the event is a duplicate if one of these is
    known. Not stored, so no part of equality: what is read back equals what was stored.
    A plugin gives them for as long as keys are remembered after the change.
    """
    key_time: datetime | None = field(default=None, kw_only=True, eq=False)
    """The vendor's own instant that comes again identically whenever the event does,
    with a time zone: keys lie where their neighbours in time are. The same key has
    always the same one. None: nothing that the vendor sends is such an instant. Not
    stored, as ``former_keys``.
    """


@frozen
class Arrival:
    """An event on its way into the spool."""

    source: str
    """Name of the source: the NAME of its section ``[source:NAME]``."""
    key: str | None
    device: str
    body: bytes
    """The event as written by :func:`encode`."""
    received: datetime
    """When the bridge received it, UTC."""
    former_keys: tuple[str, ...] = ()
    """See :class:`Event`, as for ``key_time``."""
    key_time: datetime | None = None


@frozen
class Stored:
    """An event as the spool hands it to a sink."""

    sequence: int
    """Unique in its spool, ascending within a device."""
    source: str
    received: datetime
    event: Event


def parse_json(text: bytes) -> JSON:
    """Read a JSON text as strictly as it must be stored again.

    Bytes must be UTF-8; NaN, Infinity, lone surrogates and more than ``MAX_NESTED``
    levels are refused.

    :raises ValueError: saying what is wrong with the text and where.
    """
    value = orjson.loads(text)
    if text.count(b"[") + text.count(b"{") > MAX_NESTED and _too_deep(value):
        raise ValueError(f"nested deeper than {MAX_NESTED} levels")
    return value


def _too_deep(value: JSON) -> bool:
    """Check whether a value read from JSON is nested deeper than allowed, by having it
    written inside other lists.
    """
    for _ in range(MAX_WRITTEN - MAX_NESTED):
        value = [value]
    try:
        orjson.dumps(value)
    except TypeError:
        return True
    return False


def raw_data(raw: bytes) -> JSON:
    """Keep bytes that would not parse: ``{"base64": "..."}``."""
    return {"base64": b64encode(raw).decode("ascii")}


def encode(event: Event) -> bytes:
    """Write an event as one line of JSON.

    :raises ValueError: for a time without a zone, a number that is not finite, or data
        that JSON cannot say.
    """
    try:
        return orjson.dumps(
            {
                "key": event.key,
                "device": event.device,
                "kind": event.kind,
                "time": _zoned(event.time),
                "readings": [_plain_reading(reading) for reading in event.readings],
                "labels": dict(event.labels),
                "data": _plain_data(event.data),
            }
        )
    except (TypeError, ValueError, OverflowError) as exc:
        named = "an event without a key" if event.key is None else f"event {event.key!r}"
        raise ValueError(f"{named} of device {event.device!r} cannot be stored: {exc}") from exc


def _plain_reading(reading: Reading) -> dict[str, Any]:
    value = reading.value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(
            f"the value of signal {reading.signal!r} is {value}, expected a finite number"
        )
    return {
        "signal": reading.signal,
        "value": value,
        "time": _zoned(reading.time),
        "unit": reading.unit,
    }


def _plain_data(data: JSON) -> orjson.Fragment:
    text = orjson.dumps(data)
    if b"null" in text and _holds_infinite(data):  # orjson writes such a number as null
        raise ValueError("its data holds a number that is not finite")
    return orjson.Fragment(text)


def _holds_infinite(data: JSON) -> bool:
    """Check whether NaN or an infinity is somewhere in data that orjson could write, so
    that they have an end.
    """
    waiting = [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return True
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)
    return False


def _zoned(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise ValueError(f"time {time.isoformat()} has no time zone")
    return time if time.tzinfo is UTC else time.astimezone(UTC)


def decode(body: bytes) -> Event:
    """Read back what :func:`encode` wrote.

    :raises ValueError: if the body is not what :func:`encode` writes.
    """
    try:
        plain = orjson.loads(body)
        return Event(
            key=plain["key"],
            device=plain["device"],
            kind=plain["kind"],
            time=datetime.fromisoformat(plain["time"]),
            readings=tuple(
                Reading(
                    item["signal"],
                    item["value"],
                    datetime.fromisoformat(item["time"]),
                    item["unit"],
                )
                for item in plain["readings"]
            ),
            labels=plain["labels"],
            data=plain["data"],
        )
    except (KeyError, TypeError) as exc:
        raise ValueError(f"not a stored event: {exc!r}") from exc
