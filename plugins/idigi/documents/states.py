"""States: connections of devices, alarms and alerts, as readings.

    kind          field               signal      value
    DeviceCore    dpConnectionStatus  connection  1 connected, 0 not; or its text
    devices       connection_status   connection  the same, from the two words
    AlarmStatus   almsStatus          alarm       0 reset, 1 triggered, 2 acknowledged
    alert_status  status              alert       the word as it comes

From vendor documentation, but for the words of an alert, which are assumed to be any.
What is none of these values is no reading; the event has it in its data.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bridge.api import JSON, Reading, Value

from .entities import alarm_source, moment, text_of

KINDS = frozenset({"DeviceCore", "devices", "AlarmStatus", "alert_status"})
# How the source of an alert about the service itself begins.
SERVICE_SOURCES = ("Monitor:", "web-service")

_CONNECTION_WORDS = {"connected": 1, "disconnected": 0}


def readings_of(kind: str, entity: Mapping[str, Any], stamped: datetime) -> tuple[Reading, ...]:
    """Return the reading of a state: one, or none.

    :param kind: one of ``KINDS``.
    :param stamped: the time of the event.
    """
    match kind:
        case "DeviceCore":
            return _reading(
                "connection", _one_of((0, 1), entity.get("dpConnectionStatus")), stamped
            )
        case "devices":
            return _reading(
                "connection",
                _CONNECTION_WORDS.get(text_of(entity.get("connection_status"))),
                stamped,
            )
        case "AlarmStatus":
            time = moment(entity.get("almsUpdateTime")) or stamped
            return _reading("alarm", _one_of((0, 1, 2), entity.get("almsStatus")), time)
        case _:
            return _reading("alert", text_of(entity.get("status")) or None, stamped)


def _reading(signal: str, value: Value | None, time: datetime) -> tuple[Reading, ...]:
    return () if value is None else (Reading(signal, value, time),)


def _one_of(known: tuple[int, ...], state: JSON) -> int | None:
    """Read a state that pushes write as a number, REST as its text."""
    for number in known:
        if str(state) == str(number):
            return number
    return None


def labels_of(kind: str, entity: Mapping[str, Any]) -> dict[str, str]:
    """What tells one state from another of the same device."""
    labels = {"alarm.source": alarm_source(kind, entity)}
    if kind == "devices":
        labels["device.name"] = text_of(entity.get("name"))
    elif kind == "AlarmStatus":
        compound = entity.get("id")
        labels["alarm.id"] = (
            _number_text(compound.get("almId")) if isinstance(compound, Mapping) else ""
        )
    elif kind == "alert_status":
        labels["alarm.id"] = _number_text(entity.get("id"))
    return labels


def _number_text(number: JSON) -> str:
    """The number of an alarm as text, which it may be already (assumed)."""
    return (
        str(number) if isinstance(number, int) and not isinstance(number, bool) else text_of(number)
    )


def from_service(kind: str, entity: Mapping[str, Any]) -> bool:
    """Whether an alert is the service talking about its own clients (vendor
    documentation).
    """
    return alarm_source(kind, entity).startswith(SERVICE_SOURCES)
