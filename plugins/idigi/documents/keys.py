"""Keys of events: what makes two messages the same one.

The vendor sends no unique id, so a key is made of named fields. Their values are
spelled here and nowhere else: a JSON library may change how it writes a number, and
every key with it. One message has one key for ever, pushed, replayed or read from a
history.

Beside a key stands its time. It is read from nothing but what the key is made of, so
that the same key always has the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from bridge.api import JSON
from bridge.api.former import former_digests

from .data_points import instant, measured
from .entities import moment
from .file_data import changed

ENVELOPE_IDENTITY = ("topic", "operation", "timestamp")
"""What of the envelope is part of the key; ``replay`` is not, and ``group`` may be
missing.
"""


def event_key(message: Mapping[str, Any], entity: JSON) -> str:
    """The key of an event. Two that are equal in all fields are one."""
    return _digest("event", *(message.get(name) for name in ENVELOPE_IDENTITY), entity)


def event_key_time(message: Mapping[str, Any], entity: JSON) -> datetime | None:
    """The time of :func:`event_key`: that of the envelope, which the server sends again
    with a replay; else the entity's own, whatever its kind.
    """
    stamp = moment(message.get("timestamp"))
    if stamp is None and isinstance(entity, Mapping):
        stamp = measured(entity) or changed(entity)
    return stamp


def point_key(stream: str, time: JSON, value: JSON) -> str:
    """The key of a data point that came without an envelope.

    :param time: as it was written, a text or milliseconds.
    """
    return _digest("data point", stream, time, value)


def point_key_time(time: JSON) -> datetime | None:
    """The time of :func:`point_key`.

    :param time: as there.
    """
    return moment(time) or instant(time)


def item_key(item: JSON) -> str:
    """The key of an item that is no event, but stands where one should."""
    return _digest("item", item)


def _digest(*fields: JSON) -> str:
    parts: list[str] = []
    for value in fields:
        _spell(value, parts)
    return sha256("".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _spell(value: JSON, parts: list[str]) -> None:
    """Append a text from which the value could be read again, whatever stands beside
    it: no two values have the same. The order of an object's members has no say.
    """
    if isinstance(value, str):
        parts.append(f"s{len(value)}:{value}")
    elif value is None or isinstance(value, bool):  # a bool is an int too: it comes first
        parts.append("n" if value is None else "t" if value else "f")
    elif isinstance(value, int):
        parts.append(f"i{value};")
    elif isinstance(value, float):
        parts.append(f"d{value.hex()};")
    elif isinstance(value, Mapping):
        parts.append(f"m{len(value)}:")
        for name in sorted(value):
            _spell(name, parts)
            _spell(value[name], parts)
    else:
        parts.append(f"l{len(value)}:")
        for item in value:
            _spell(item, parts)


# How version 1.0 made them. These go once keys of that version are remembered no more.


def former_event_keys(message: Mapping[str, Any], entity: JSON) -> tuple[str, ...]:
    """The keys that version 1.0 may have given to an event."""
    named = {name: message.get(name) for name in ENVELOPE_IDENTITY}
    return former_digests(named | {"entity": entity})


def former_point_keys(stream: str, time: JSON, value: JSON) -> tuple[str, ...]:
    """The keys that version 1.0 may have given to a data point without an envelope."""
    return former_digests(["data point", stream, time, value])


def former_item_keys(item: JSON) -> tuple[str, ...]:
    """The keys that version 1.0 may have given to an item that is no event."""
    return former_digests(item, before=b"undecodable\0", sort_keys=False)
