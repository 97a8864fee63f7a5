"""Emulator of DT: DT's own sensor emulator, by which a client makes sensors and lets
them publish.

Every function takes the cloud, the ids in the path, the query and the body, and gives
the document of the answer.
"""

from __future__ import annotations

from ..cloud import Cloud
from ..events import new_xid
from .connectors import Body, Ids, project_of
from .devices import device_document, device_of
from .pages import RestError

_PREFIX = "emuc"
_LENGTH = 23  # characters of an emulated sensor's id; a real one has 20


def create_sensor(cloud: Cloud, ids: Ids, _query: str, body: Body) -> Body:
    """Make a sensor, with the label that tells it from a real one."""
    project = project_of(cloud, ids)
    labels = body.get("labels", {})
    if not isinstance(body.get("type"), str) or not isinstance(labels, dict):
        raise RestError(400, "expected type, and labels as an object")
    device_id = (_PREFIX + new_xid(cloud.now(), cloud.random))[:_LENGTH]
    device = project.add_device(device_id, body["type"], labels={**labels, "virtual-sensor": ""})
    return device_document(project, device)


def publish_sensor(cloud: Cloud, ids: Ids, _query: str, body: Body) -> Body:
    """Let a sensor publish, such as ``{"temperature":{"value":21.5}}``; the answer is
    empty (assumed).
    """
    project = project_of(cloud, ids)
    device = device_of(project, ids)
    if len(body) != 1 or not all(isinstance(fields, dict) for fields in body.values()):
        raise RestError(400, "expected one event type with its fields")
    [(event_type, fields)] = body.items()
    project.publish(event_type, device.id, fields)
    return {}


def delete_sensor(cloud: Cloud, ids: Ids, _query: str, _body: Body) -> Body:
    """Delete a sensor; the answer is empty (assumed)."""
    project = project_of(cloud, ids)
    del project.devices[device_of(project, ids).id]
    return {}
