"""From values to events: pure, given the time. Used by webhook and history alike.

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
from bridge.api.former import former_digests

from .keys import EXACT, digest
from .values import EPOCH, DroppedError, ValuePolicy

LABELS = ("name", "slug", "unit", "externalId", "equipmentId", "gatewayInterfaceId")
"""Members that become labels under their own name."""

UNKNOWN_DEVICE = "unknown"
"""Stands for the device where a body names none."""

MICROSECOND = timedelta(microseconds=1)


def items_of(document: JSON) -> list[JSON]:
    """Return the items of a values message.

    :raises ValueError: if it is none of the three framings.
    """
    if isinstance(document, list):
        return document
    if isinstance(document, dict):
        data = document.get("data")
        return data if isinstance(data, list) and "deviceId" not in document else [document]
    raise ValueError('expected an object, an array of objects, or {"data": [...]}')


def value_event(item: JSON, policy: ValuePolicy, now: datetime) -> Event:
    """Return the event of one item of a values message; without readings it is one that
    is not forwarded.
    """
    if not isinstance(item, dict):
        return _unusable_item(item, "item", now)
    device, signal = item.get("deviceId"), item.get("property")
    if not isinstance(device, str) or not device:
        return _unusable_item(item, "deviceId", now)
    if not isinstance(signal, str) or not signal:
        return _unusable_item(item, "property", now)
    try:
        time = policy.time_of(item.get("timestamp"))
    except ValueError:
        return _unusable_item(item, "timestamp", now)
    readings: tuple[Reading, ...] = ()
    labels, suffix = _labels(item), ""
    try:
        value = policy.value_of(item, time, now)
        readings = (Reading(signal, value, time, _text(item.get("unit"))),)
    except DroppedError as dropped:
        labels["dropped"] = dropped.reason
        # The reason is in the key too, so that the same value, sent again when it may
        # pass, is not a duplicate.
        suffix = f":{dropped.reason}"
    key, former = _value_keys(device, signal, time, item)
    return Event(
        key + suffix,
        device,
        "value",
        time,
        readings,
        labels,
        item,
        former_keys=tuple(each + suffix for each in former),
        key_time=time,  # it is part of the key
    )


def unreadable_event(body: bytes, now: datetime) -> Event:
    """Return an event with a body that is no JSON, or none of the framings."""
    key = f"unreadable:{hashlib.sha256(body).hexdigest()}"
    return Event(key, UNKNOWN_DEVICE, "unreadable", now, data=raw_data(body))


def _unusable_item(item: JSON, missing: str, now: datetime) -> Event:
    device = _text(item.get("deviceId")) if isinstance(item, dict) else None
    return Event(
        f"unreadable:{digest(item)}",
        device or UNKNOWN_DEVICE,
        "unreadable",
        now,
        (),
        {"dropped": missing},
        item,
        former_keys=tuple(f"unreadable:{each}" for each in former_digests(item)),
    )


def _value_keys(
    device: str, signal: str, time: datetime, item: Mapping[str, JSON]
) -> tuple[str, tuple[str, ...]]:
    """Return what two deliveries of one value have in common, by two connectors or by
    webhook and history; and the keys that version 1.0 may have given it.
    """
    microseconds = (time - EPOCH) // MICROSECOND
    payload = item.get("payload")
    named = ("payload", payload) if payload is not None else ("scaled", item.get("scaledPayload"))
    former = payload
    if isinstance(payload, float) and payload.is_integer() and abs(payload) < EXACT:
        former = int(payload)
    if payload is None:
        former = {"scaled": item.get("scaledPayload")}
    return (
        digest(device, signal, microseconds, *named),
        former_digests([device, signal, microseconds, former]),
    )


def _labels(item: Mapping[str, JSON]) -> dict[str, str]:
    labels = {name: text for name in LABELS if (text := _text(item.get(name)))}
    tags = item.get("tags")
    if isinstance(tags, dict):
        labels.update(
            {f"tag.{key}": value for key, value in tags.items() if isinstance(value, str)}
        )
    return labels


def _text(member: JSON) -> str | None:
    """Return a text, or None: missing, null and empty mean the same."""
    return member if isinstance(member, str) and member else None
