"""Decode values into events: pure, given the time. The webhook and the history use it
alike.

an object, an array of objects, or {"data": [...]}  ─▶  one event per item

Nothing that arrived disappears. An item that is not forwarded (out of service, stamped
in the future, not a number) is kept without readings, with the reason in the label
``dropped``. An item that is none of a point (no ``deviceId``, no ``property``, no
``timestamp``) is kept as the kind ``unreadable``. One bad item never harms its
neighbours.

Fields and their meaning: vendor documentation. That ``property`` is the property's id,
and that the three framings are all, is assumed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from bridge.api import JSON, Event, Reading, raw_data

from ..settings import Settings
from ..texts import UNKNOWN_DEVICE, canonical
from .values import EPOCH, Dropped, time_of, value_of

LABELS = ("name", "slug", "unit", "externalId", "equipmentId", "gatewayInterfaceId")
"""Members that become labels under their own name."""

MICROSECOND = timedelta(microseconds=1)
EXACT = 1 << 53  # above it a float does not say which integer was meant


def items_of(document: JSON) -> list[JSON]:
    """Give the items of a values message.

    :raises ValueError: if it is none of the three framings.
    """
    if isinstance(document, list):
        return document
    if isinstance(document, dict):
        data = document.get("data")
        return data if isinstance(data, list) and "deviceId" not in document else [document]
    raise ValueError('expected an object, an array of objects, or {"data": [...]}')


def value_event(item: JSON, settings: Settings, now: datetime) -> Event:
    """Decode one item of a values message.

    An event without readings is one that is not forwarded.
    """
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
    key, labels = _value_key(device, signal, time, item), _labels(item)
    try:
        reading = Reading(
            signal, _forwarded(item, time, settings, now), time, _text(item.get("unit"))
        )
    except Dropped as dropped:
        reason = dropped.reason
        # The reason is in the key too, so that the same value, sent again when it may
        # pass, is not a duplicate.
        return Event(
            f"{key}:{reason}", device, "value", time, (), {**labels, "dropped": reason}, item
        )
    return Event(key, device, "value", time, (reading,), labels, item)


def unreadable_event(body: bytes, now: datetime) -> Event:
    """Keep a body that is no JSON, or none of the framings, as it is."""
    return Event(
        f"unreadable:{_digest(body)}", UNKNOWN_DEVICE, "unreadable", now, data=raw_data(body)
    )


def _unusable_item(item: JSON, missing: str, now: datetime) -> Event:
    device = _text(item.get("deviceId")) if isinstance(item, dict) else None
    key = f"unreadable:{_digest(canonical(item))}"
    return Event(key, device or UNKNOWN_DEVICE, "unreadable", now, (), {"dropped": missing}, item)


def _forwarded(
    item: Mapping[str, JSON], time: datetime, settings: Settings, now: datetime
) -> float | int | bool | str:
    if item.get("isOutOfService") is True and settings.out_of_service == "skip":
        raise Dropped("out-of-service")
    if (time - now).total_seconds() > settings.future_limit:
        raise Dropped("future")
    return value_of(item, settings)


def _value_key(device: str, signal: str, time: datetime, item: Mapping[str, JSON]) -> str:
    """Give what two deliveries of one value have in common: by two connectors, or by
    webhook and history.
    """
    payload = item.get("payload")
    if isinstance(payload, float) and payload.is_integer() and abs(payload) < EXACT:
        payload = int(payload)  # 21.0 and 21 are one value
    if payload is None:
        payload = {"scaled": item.get("scaledPayload")}
    return _digest(canonical([device, signal, (time - EPOCH) // MICROSECOND, payload]))


def _labels(item: Mapping[str, JSON]) -> dict[str, str]:
    labels = {name: text for name in LABELS if (text := _text(item.get(name)))}
    tags = item.get("tags")
    if isinstance(tags, dict):
        labels.update(
            {f"tag.{key}": value for key, value in tags.items() if isinstance(value, str)}
        )
    return labels


def _text(member: JSON) -> str | None:
    """Give a text that is not empty, else None: missing, null and empty mean the same."""
    return member if isinstance(member, str) and member else None


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
