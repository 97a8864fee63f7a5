"""From DT's JSON to an event. Pure: nothing here waits, reads a clock or raises for
what DT may send tomorrow.

    a push:   {"event": EVENT, "labels": {...}, "metadata": {...}}
    history:  EVENT, which is
              {"eventId", "targetName", "eventType", "data": {TYPE: {...}}, "timestamp"}

Field names and states are known from vendor documentation and recorded traffic. Every
inner field is optional: bodies grew over the years. What is missing, of another type or
unknown gives no reading, and stays in ``data``.

Signals carry the vendor's words: the type's where it has one quantity, the field's
where it has several.

=================== ==================== ==== =========================================
eventType           signal               unit value
=================== ==================== ==== =========================================
touch               touch                     1
temperature         temperature          °C   ``value``, one reading for each sample
humidity            relativeHumidity     %    one reading for each sample
humidity            temperature          °C   one reading for each sample
objectPresentCount  objectPresentCount        ``total``
touchCount          touchCount                ``total``
co2                 co2                  ppm  ``ppm``
pressure            pressure             Pa   ``pascal``
batteryStatus       batteryStatus        %    ``percentage``
networkStatus       signalStrength       %
networkStatus       rssi                 dBm
cellularStatus      signalStrength       %
cellularStatus      cellularStatus            1 without ``errors``, 0 with
ethernetStatus      ethernetStatus            1 without ``errors``, 0 with
objectPresent       objectPresent             1 PRESENT, 0 NOT_PRESENT
waterPresent        waterPresent              1 PRESENT, 0 NOT_PRESENT
motion              motion                    1 MOTION_DETECTED, 0 NO_MOTION_DETECTED
deskOccupancy       deskOccupancy             1 OCCUPIED, 0 NOT_OCCUPIED
contact             contact                   1 OPEN, 0 CLOSED
probeWireStatus     probeWireStatus           1 any number of wires, 0 INVALID_...
connectionStatus    connectionStatus          0 OFFLINE, 1 SDS, ETHERNET or CELLULAR
labelsChanged       none
=================== ==================== ==== =========================================

A reading has the time of its sample, else ``updateTime``, else the time of the event.
Labels that people gave come first; ``metadata.deviceType``, ``metadata.projectId``,
``metadata.productNumber`` and, for values that a sensor stored while it was offline,
``event.isBackfilled`` are added under these names unless people have used them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import orjson
from attrs import frozen

from bridge.api import JSON, Event, Reading

UNKNOWN_DEVICE = "unknown"
"""Device of an event that names none."""

UNREADABLE = "unreadable"
"""Kind of an event that came from DT but could not be read; ``data`` has what came."""


@frozen
class _Number:
    """A numeric field of an event type, or of its samples."""

    field: str
    signal: str
    unit: str | None = None


@frozen
class _State:
    """A field whose text says one of two things."""

    field: str
    values: Mapping[str, int]


_NUMBERS: Mapping[str, tuple[_Number, ...]] = {
    "temperature": (_Number("value", "temperature", "°C"),),
    "humidity": (
        _Number("relativeHumidity", "relativeHumidity", "%"),
        _Number("temperature", "temperature", "°C"),
    ),
    "objectPresentCount": (_Number("total", "objectPresentCount"),),
    "touchCount": (_Number("total", "touchCount"),),
    "co2": (_Number("ppm", "co2", "ppm"),),
    "pressure": (_Number("pascal", "pressure", "Pa"),),
    "batteryStatus": (_Number("percentage", "batteryStatus", "%"),),
    "networkStatus": (
        _Number("signalStrength", "signalStrength", "%"),
        _Number("rssi", "rssi", "dBm"),
    ),
    "cellularStatus": (_Number("signalStrength", "signalStrength", "%"),),
}

_STATES: Mapping[str, _State] = {
    "objectPresent": _State("state", {"PRESENT": 1, "NOT_PRESENT": 0}),
    "waterPresent": _State("state", {"PRESENT": 1, "NOT_PRESENT": 0}),
    "motion": _State("state", {"MOTION_DETECTED": 1, "NO_MOTION_DETECTED": 0}),
    "deskOccupancy": _State("state", {"OCCUPIED": 1, "NOT_OCCUPIED": 0}),
    "contact": _State("state", {"OPEN": 1, "CLOSED": 0}),
    "probeWireStatus": _State(
        "state",
        {
            "TWO_WIRE": 1,
            "THREE_WIRE": 1,
            "FOUR_WIRE": 1,
            "INVALID_WIRE_CONFIGURATION": 0,
            "INVALID_COEFFICIENT_CONFIGURATION": 0,
        },
    ),
    "connectionStatus": _State(
        "connection", {"SDS": 1, "ETHERNET": 1, "CELLULAR": 1, "OFFLINE": 0}
    ),
}

_WITH_ERRORS = ("ethernetStatus", "cellularStatus")


def decode_event(document: JSON, *, received: datetime) -> Event:
    """Return the event of a push request, or of an event alone.

    :param received: time of an event that carries none.
    :raises ValueError: if there is no event with an ``eventId`` and an ``eventType``:
        it could not be known once.
    """
    request = _object(document)
    event = _object(request.get("event", document))
    event_id, event_type = event.get("eventId"), event.get("eventType")
    if not (isinstance(event_id, str) and event_id and isinstance(event_type, str) and event_type):
        raise ValueError("expected an event with the texts eventId and eventType")
    target = event.get("targetName")
    if not isinstance(target, str):
        target = ""
    metadata = _object(request.get("metadata"))
    data = _object(_object(event.get("data")).get(event_type))
    updated = _time(data.get("updateTime"))
    stamped = _time(event.get("timestamp")) or updated
    time = stamped or received
    return Event(
        # One eventId was seen with several types in public samples, so it is no key by
        # itself. Of three texts orjson always writes the same.
        key=orjson.dumps([event_id, event_type, target]).decode(),
        device=_device(target, metadata),
        kind=event_type,
        time=time,
        readings=tuple(_readings(event_type, data, updated or time)),
        labels=_labels(request.get("labels"), metadata, data),
        data=document,
        key_time=stamped,
    )


def _object(value: JSON) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _time(value: JSON) -> datetime | None:
    """Return an RFC 3339 time, which may be written in lower case; digits of the
    fraction after the sixth are cut off.
    """
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value.upper())
        return time.astimezone(UTC) if time.tzinfo is not None else None
    except (ValueError, OverflowError):  # the latter for an offset that leaves the years 1 to 9999
        return None


def _device(target: str, metadata: Mapping[str, Any]) -> str:
    """Return the segment after ``devices`` of ``projects/PROJECT/devices/DEVICE``: a
    fixed number of characters would be wrong for emulated sensors.
    """
    parts = target.split("/")
    if len(parts) > 1 and parts[-2] == "devices" and (device := parts[-1].strip()):
        return device
    fallback = metadata.get("deviceId")
    if isinstance(fallback, str) and fallback.strip():
        return fallback.strip()
    return target.strip() or UNKNOWN_DEVICE


def _labels(given: JSON, metadata: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, str]:
    labels = {}
    for name in ("deviceType", "projectId", "productNumber"):
        value = metadata.get(name)
        if isinstance(value, str) and value:
            labels[f"metadata.{name}"] = value
    if data.get("isBackfilled") is True:  # a public sample has the text "False" here
        labels["event.isBackfilled"] = "true"
    labels.update((name, value) for name, value in _object(given).items() if isinstance(value, str))
    return labels


def _readings(event_type: str, data: Mapping[str, Any], time: datetime) -> Iterator[Reading]:
    if numbers := _NUMBERS.get(event_type):
        yield from _samples(numbers, data) or _numbers(numbers, data, time)
    if state := _STATES.get(event_type):
        text = data.get(state.field)
        if isinstance(text, str) and text in state.values:
            yield Reading(event_type, state.values[text], time)
    elif event_type in _WITH_ERRORS:
        if isinstance(errors := data.get("errors"), list):
            yield Reading(event_type, 0 if errors else 1, time)
    elif event_type == "touch":
        yield Reading("touch", 1, time)


def _samples(numbers: tuple[_Number, ...], data: Mapping[str, Any]) -> list[Reading]:
    """Return all measurements of a heartbeat, oldest first; the newest of them is also
    the outer value.
    """
    samples = data.get("samples")
    if not isinstance(samples, list):
        return []
    readings = []
    for sample in samples:
        if isinstance(sample, dict) and (time := _time(sample.get("sampleTime"))) is not None:
            readings += _numbers(numbers, sample, time)
    readings.sort(key=attrgetter("time"))
    return readings


def _numbers(
    numbers: tuple[_Number, ...], data: Mapping[str, Any], time: datetime
) -> list[Reading]:
    return [
        Reading(number.signal, data[number.field], time, number.unit)
        for number in numbers
        if type(data.get(number.field)) in (int, float)  # bool is an int to isinstance
    ]
