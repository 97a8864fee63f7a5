"""Emulator of DT: events as bytes.

An event is written once, as compact UTF-8 JSON. The same bytes stand in the bodies of
its pushes and in the answers of the history: there without labels and metadata, as a
bare event (vendor documentation).
"""

from __future__ import annotations

import json
import re
from base64 import b32hexencode
from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

from attrs import frozen

from .push.faults import Faults, Hit


@frozen
class DeviceEvent:
    """One event of a device."""

    id: str
    type: str
    device: str
    time: datetime
    """``timestamp``: when a gateway received it."""
    published: datetime
    """When DT's cloud had it; differs from ``time`` where a sensor was offline, or a
    test chose the time.
    """
    text: bytes
    """The bare event, JSON."""


def new_xid(time: datetime, random: Random) -> str:
    """Make an id as DT's: 20 characters that begin with the time."""
    number = int(time.timestamp()) << 64 | random.getrandbits(64)
    return b32hexencode(number.to_bytes(12, "big")).decode().rstrip("=").lower()


def rfc3339(time: datetime) -> str:
    """Write a time as DT does: UTC, six digits, Z."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def compact(value: Any) -> bytes:
    """Write JSON as DT does: UTF-8 without blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def event_data(event_type: str, fields: Mapping[str, Any], time: datetime) -> dict[str, Any]:
    """Make ``event.data`` from the fields of a type: adds what DT adds and ``fields``
    does not have.
    """
    if event_type == "labelsChanged":  # people chose these names
        return dict(fields)
    inner = _in_camel_case(fields)
    updated = inner.setdefault("updateTime", rfc3339(time))
    if event_type in ("temperature", "humidity") and "samples" not in inner:
        measured = {
            name: value
            for name, value in inner.items()
            if name not in ("updateTime", "isBackfilled")
        }
        inner["samples"] = [{**measured, "sampleTime": updated}]
        inner.setdefault("isBackfilled", False)
    return {event_type: inner}


def _in_camel_case(value: Any) -> Any:
    """Return a value whose members are named as DT answers, whatever was published."""
    if isinstance(value, Mapping):
        return {camel_case(name): _in_camel_case(member) for name, member in value.items()}
    return [_in_camel_case(item) for item in value] if isinstance(value, list) else value


def camel_case(name: str) -> str:
    """Return ``pageSize`` for ``page_size``."""
    return re.sub("_([a-z])", lambda match: match[1].upper(), name)


def make_event(
    event_id: str,
    project: str,
    device: str,
    event_type: str,
    data: Mapping[str, Any],
    time: datetime,
    now: datetime,
) -> DeviceEvent:
    """Write an event, of a device that is in this project now."""
    text = compact(
        {
            "eventId": event_id,
            "targetName": f"projects/{project}/devices/{device}",
            "eventType": event_type,
            "data": data,
            "timestamp": rfc3339(time),
        }
    )
    return DeviceEvent(event_id, event_type, device, time, now, text)


def push_body(
    event: bytes, labels: Mapping[str, str], metadata: Mapping[str, str], faults: Faults, hit: Hit
) -> bytes:
    """Write the body of a push."""
    if hit(faults.no_samples):
        event = _before_samples(event)
    parts = [b'{"event":', event, b',"labels":', compact(labels)]
    if not hit(faults.no_metadata):
        parts += [b',"metadata":', compact(metadata)]
    body = b"".join([*parts, b"}"])
    if hit(faults.invalid_utf8):
        body = body.replace(
            b'"labels":{',
            b'"labels":{"broken":"\xff",' if labels else b'"labels":{"broken":"\xff"',
            1,
        )
    return body


def _before_samples(event: bytes) -> bytes:
    document = json.loads(event)
    for inner in document["data"].values():
        if isinstance(inner, dict):
            inner.pop("samples", None)
            inner.pop("isBackfilled", None)
    return compact(document)
