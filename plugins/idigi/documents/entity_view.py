"""What is understood of an entity, by the kind of its event.

    DataPoint                  data_points   one reading: the value
    FileData, FileDataCore     file_data     labels; too large a content is left out
    DeviceCore, devices,
    AlarmStatus, alert_status  states        one reading: the state
    everything else                          nothing; it passes whole

A view is a convenience on top of the message, which the event keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import field, frozen

from bridge.api import JSON, Reading

from . import data_points, file_data, states
from .entities import Topic, device_of


@frozen
class View:
    """An entity in the words of an event."""

    device: str
    time: datetime
    entity: JSON
    """As it is to be stored."""
    readings: tuple[Reading, ...] = ()
    labels: Mapping[str, str] = field(factory=dict)
    """Empty texts stand for what is missing."""


def view_of(
    kind: str,
    topic: Topic,
    entity: JSON,
    stamp: datetime | None,
    received: datetime,
    *,
    file_limit: int,
    ignore_service_alerts: bool,
) -> View:
    """Look at an entity. Never fails: of what has another shape than expected, nothing
    is understood.

    :param stamp: the time of the envelope; None: it has none, so that the entity's own
        time counts, then ``received``.
    """
    if isinstance(entity, Mapping):
        if kind == "DataPoint":
            return _view_point(topic, entity, stamp or data_points.measured(entity) or received)
        if kind in file_data.KINDS:
            time = stamp or file_data.changed(entity) or received
            return _view_file(kind, topic, entity, time, file_limit)
        if kind in states.KINDS:
            return _view_state(kind, topic, entity, stamp or received, ignore_service_alerts)
    return View(device_of(kind, topic, entity), stamp or received, entity)


def _view_point(topic: Topic, point: Mapping[str, Any], time: datetime) -> View:
    stream = data_points.stream_of(topic, point)
    return View(
        stream.device,
        time,
        point,
        data_points.readings_of(stream, point, time),
        {"stream": stream.path},
    )


def _view_file(
    kind: str, topic: Topic, entity: Mapping[str, Any], time: datetime, limit: int
) -> View:
    file = file_data.file_of(kind, entity, limit)
    kept = (
        entity
        if file.kept
        else {name: value for name, value in entity.items() if name != file_data.CONTENT}
    )
    return View(device_of(kind, topic, entity), time, kept, labels=file.labels)


def _view_state(
    kind: str, topic: Topic, entity: Mapping[str, Any], time: datetime, ignore: bool
) -> View:
    device, labels = device_of(kind, topic, entity), states.labels_of(kind, entity)
    if ignore and states.from_service(kind, entity):
        labels["ignored"] = "an alert of the service about itself (ignore_service_alerts)"
        return View(device, time, entity, labels=labels)
    return View(device, time, entity, states.readings_of(kind, entity, time), labels)
