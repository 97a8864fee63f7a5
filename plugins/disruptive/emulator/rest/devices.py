"""Emulator of DT: projects, devices and their history by REST.

Every function takes the cloud, the ids in the path, the query and the body, and gives
the document of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

from ..cloud import Cloud
from ..events import DeviceEvent, compact
from ..project import Device, Project
from .connectors import Body, Ids, project_of
from .pages import Parameters, RestError, page_of, read_parameters, single

_DAY = timedelta(hours=24)
_PAGING = ("pageSize", "pageToken")


def list_projects(cloud: Cloud, _ids: Ids, query: str, _body: Body) -> Body:
    """Return the projects."""
    page, token = page_of(cloud, read_parameters(query, *_PAGING), list(cloud.projects.values()))
    return {"projects": [_project_document(project) for project in page], "nextPageToken": token}


def list_devices(cloud: Cloud, ids: Ids, query: str, _body: Body) -> Body:
    """Return the devices of a project."""
    project = project_of(cloud, ids)
    parameters = read_parameters(query, *_PAGING)
    page, token = page_of(cloud, parameters, list(project.devices.values()))
    return {
        "devices": [_device_document(project, device) for device in page],
        "nextPageToken": token,
    }


def read_device(cloud: Cloud, ids: Ids, _query: str, _body: Body) -> Body:
    """Return one device."""
    project = project_of(cloud, ids)
    return _device_document(project, _device_of(project, ids))


def list_events(cloud: Cloud, ids: Ids, query: str, _body: Body) -> bytes:
    """Return the history of a device: bare events, of the last 24 hours where the call
    does not say.
    """
    device = _device_of(project_of(cloud, ids), ids)
    parameters = read_parameters(query, "startTime", "endTime", "eventTypes", *_PAGING)
    now = cloud.now()
    start = _time(parameters, "startTime") or now - _DAY
    end = _time(parameters, "endTime") or now
    if start > end:
        raise RestError(400, "startTime is after endTime")
    events: Sequence[DeviceEvent] = ()
    if not parameters.get("pageToken"):
        types = parameters.get("eventTypes", [])
        found = device.between(
            max(start, now - cloud.rules.history), end, inclusive=cloud.rules.inclusive
        )
        shown = now - cloud.rules.indexing_delay
        events = _ordered(
            cloud,
            [
                event
                for event in found
                if event.published <= shown and (not types or event.type in types)
            ],
        )
    page, token = page_of(cloud, parameters, events)
    return b'{"events":[%s],"nextPageToken":%s}' % (
        b",".join(event.text for event in page),
        compact(token),
    )


def _device_of(project: Project, ids: Ids) -> Device:
    """Return the device in a path.

    :raises RestError: if there is none.
    """
    if ids["device"] not in project.devices:
        raise RestError(404, "the device was not found")
    return project.devices[ids["device"]]


def _device_document(project: Project, device: Device) -> Body:
    """Return a device as REST shows it, without ``productNumber`` and ``reported``."""
    return {
        "name": f"projects/{project.id}/devices/{device.id}",
        "type": device.type,
        "labels": device.labels,
    }


def _project_document(project: Project) -> Body:
    gateways = sum(device.type == "ccon" for device in project.devices.values())
    return {
        "name": f"projects/{project.id}",
        "displayName": project.display_name,
        "organization": f"organizations/{project.organization}",
        "organizationDisplayName": "",
        "sensorCount": len(project.devices) - gateways,
        "cloudConnectorCount": gateways,
        "inventory": False,
    }


def _time(parameters: Parameters, name: str) -> datetime | None:
    text = single(parameters, name)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or "T" not in text:
        raise RestError(400, f"{name} must be a time such as 2024-05-29T10:34:03Z, not {text!r}")
    return time


def _ordered(cloud: Cloud, events: list[DeviceEvent]) -> list[DeviceEvent]:
    """Bring events, oldest first, into the order of the rules."""
    if cloud.rules.order == "descending":
        events.reverse()
    elif cloud.rules.order == "shuffled":
        Random(len(events)).shuffle(events)  # noqa: S311  # protects nothing
    return events
