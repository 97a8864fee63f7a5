"""Decode bodies into events: pure, given the time.

values          one event per item: an object, an array of objects, or {"data": [...]}
events, alarms  one event per body, whole: their fields are not published, so nothing of them is interpreted

Nothing that arrived disappears. An item that is not forwarded (out of service, stamped in the future, not a number) is
kept without readings, with the reason in the label ``dropped``. An item that is none of a point (no ``deviceId``, no
``property``, no ``timestamp``) is kept as the kind ``unreadable``. One bad item never harms its neighbours.

Fields and their meaning: vendor documentation. That ``property`` is the property's id, and that the three framings are
all, is assumed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import orjson

from bridge.api import JSON, Event, Reading, raw_data
from bridge_plugins.wattsense.numbers import Dropped, time_of, value_of
from bridge_plugins.wattsense.settings import Settings

UNKNOWN_DEVICE = "unknown"
"""Stands for the device where a body names none."""

LABELS = ("name", "slug", "unit", "externalId", "equipmentId", "gatewayInterfaceId")
"""Members that become labels under their own name."""

EXACT = 1 << 53  # above it a float does not say which integer was meant


def items_of(document: JSON) -> list[JSON]:
    """Give the items of a values message. :raises ValueError: if it is none of the three framings."""
    if isinstance(document, list):
        return document
    if isinstance(document, dict):
        data = document.get("data")
        return data if isinstance(data, list) and "deviceId" not in document else [document]
    raise ValueError('expected an object, an array of objects, or {"data": [...]}')


def value_event(item: JSON, settings: Settings, now: datetime) -> Event:
    """Decode one item of a values message. An event without readings is one that is not forwarded."""
    if not isinstance(item, dict):
        return _unusable_item(item, "item", now)
    device, signal = item.get("deviceId"), item.get("property")
    if not isinstance(device, str) or not device:
        return _unusable_item(item, "deviceId", now)
    if not isinstance(signal, str) or not signal:
        return _unusable_item(item, "property", now)
    try:
        time = time_of(item.get("timestamp"), settings.timestamp_unit)
    except ValueError:
        return _unusable_item(item, "timestamp", now)
    key, labels = _value_key(device, signal, item), _labels(item)
    try:
        reading = Reading(signal, _forwarded(item, time, settings, now), time, _text(item.get("unit")))
    except Dropped as dropped:
        reason = str(dropped)
        # The reason is in the key too, so that the same value, sent again when it may pass, is not a duplicate.
        return Event(f"{key}:{reason}", device, "value", time, (), {**labels, "dropped": reason}, item)
    return Event(key, device, "value", time, (reading,), labels, item)


def opaque_event(kind: Literal["event", "alarm"], body: bytes, document: JSON, now: datetime) -> Event:
    """Keep an event or an alarm whole. Its time is that of receipt. :raises ValueError: if it is a bare value.

    The key is made of the body alone. A body that is sent twice is one event, whether it was a retry or, if bodies
    should carry no time of their own, a second alarm like the first: the schema that could tell is not published.
    """
    if not isinstance(document, dict | list):
        raise ValueError("expected an object or an array")  # noqa: TRY004  # as parse_json says it of other texts
    device = _text(document.get("deviceId")) if isinstance(document, dict) else None
    return Event(f"{kind}:{_digest(body)}", device or UNKNOWN_DEVICE, kind, now, data=document)


def unreadable_event(body: bytes, now: datetime) -> Event:
    """Keep a body that is no JSON, or none of the framings, as it is."""
    return Event(f"unreadable:{_digest(body)}", UNKNOWN_DEVICE, "unreadable", now, data=raw_data(body))


def _unusable_item(item: JSON, missing: str, now: datetime) -> Event:
    device = _text(item.get("deviceId")) if isinstance(item, dict) else None
    key = f"unreadable:{_digest(_canonical(item))}"
    return Event(key, device or UNKNOWN_DEVICE, "unreadable", now, (), {"dropped": missing}, item)


def _forwarded(item: Mapping[str, JSON], time: datetime, settings: Settings, now: datetime) -> float | int | bool | str:
    if item.get("isOutOfService") is True and settings.out_of_service == "skip":
        raise Dropped("out-of-service")
    if (time - now).total_seconds() > settings.future_limit:
        raise Dropped("future")
    return value_of(item, settings)


def _value_key(device: str, signal: str, item: Mapping[str, JSON]) -> str:
    """Give what two deliveries of one value have in common, whichever connector made them."""
    payload = item.get("payload")
    if isinstance(payload, float) and payload.is_integer() and abs(payload) < EXACT:
        payload = int(payload)  # 21.0 and 21 are one value
    if payload is None:
        payload = {"scaled": item.get("scaledPayload")}
    return _digest(_canonical([device, signal, item["timestamp"], payload]))


def _labels(item: Mapping[str, JSON]) -> dict[str, str]:
    labels = {name: text for name in LABELS if (text := _text(item.get(name)))}
    tags = item.get("tags")
    if isinstance(tags, dict):
        labels.update({f"tag.{key}": value for key, value in tags.items() if isinstance(value, str)})
    return labels


def _text(member: JSON) -> str | None:
    """Give a text that is not empty, else None: missing, null and empty mean the same."""
    return member if isinstance(member, str) and member else None


def _canonical(document: JSON) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
