"""Emulator of DT: a project, its devices, and what they published.

    publish ─▶ history of the device, latest of its type
            └▶ every connector of the project, which may filter, push, lose

The history holds every event, pushed or not, so that a client can read back exactly
what its pushes lost. A device that nobody added comes into being with its first event.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from random import Random
from typing import Any

from attrs import define, evolve, field

from .events import DeviceEvent, compact, event_data, make_event, new_xid

_ALWAYS_REPORTED = (
    "networkStatus",
    "batteryStatus",
    "touch",
)  # null until the first one (vendor documentation)
_time = attrgetter("time")


@define(eq=False)
class Device:
    """A sensor, an emulated sensor, or a Cloud Connector."""

    id: str
    type: str
    """``deviceType``."""
    labels: dict[str, str] = field(factory=dict)
    product_number: str | None = None
    """None: not known, so missing in REST and empty in a push."""
    reported: dict[str, Any] = field(factory=dict)
    """The latest data of each event type."""
    events: list[DeviceEvent] = field(factory=list)
    """All of them, by time."""
    latest: dict[str, DeviceEvent] = field(factory=dict)
    """The latest event of each type."""

    def __attrs_post_init__(self) -> None:
        self.reported = {**dict.fromkeys(_ALWAYS_REPORTED), **self.reported}

    def add(self, event: DeviceEvent, data: Mapping[str, Any]) -> None:
        """Keep an event."""
        insort(self.events, event, key=_time)
        if event.type not in self.latest or event.time >= self.latest[event.type].time:
            self.latest[event.type] = event
            self.reported |= {name: data[name] for name in data if name == event.type}

    def between(self, start: datetime, end: datetime, *, inclusive: bool) -> list[DeviceEvent]:
        """Give the events of a span of time, oldest first.

        :param inclusive: whether the ends of the span belong to it.
        """
        first, last = (bisect_left, bisect_right) if inclusive else (bisect_right, bisect_left)
        return self.events[first(self.events, start, key=_time) : last(self.events, end, key=_time)]


Take = Callable[[DeviceEvent, Device, bool], None]
"""Takes an event of a device; True: it was pushed before, and comes again."""


@define(eq=False)
class Project:
    """Devices, and what listens to them."""

    id: str
    organization: str
    """Id of the organization."""
    display_name: str
    devices: dict[str, Device] = field(factory=dict)
    """By id."""
    takers: list[Take] = field(factory=list)

    _now: Callable[[], datetime] = field(kw_only=True)
    _random: Random = field(kw_only=True)

    def add_device(
        self,
        device: str,
        device_type: str,
        *,
        labels: Mapping[str, str] | None = None,
        product_number: str | None = None,
        reported: Mapping[str, Any] | None = None,
    ) -> Device:
        """Add a device, or put it in the place of the one with this id."""
        added = Device(
            device, device_type, dict(labels or {}), product_number, dict(reported or {})
        )
        self.devices[device] = added
        return added

    def publish(
        self,
        event_type: str,
        device: str,
        fields: Mapping[str, Any] | None = None,
        *,
        time: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        device_type: str | None = None,
    ) -> str:
        """Let a device publish an event, and give its eventId.

        :param event_type: may be one that nobody knows.
        :param fields: of the type's object, such as ``{"value": 21.5}``.
            ``updateTime``, and ``samples`` for temperature and humidity, are added
            where they are missing.
        :param time: when the gateway received it; None: now. Any time will do, in any
            order.
        :param labels: the device's labels from now on; None: as they are.
        :param device_type: ``metadata.deviceType`` from now on; None: as it is, and the
            event type of a new device.
        """
        now = self._now()
        known = self.devices.get(device) or self.add_device(device, device_type or event_type)
        known.type = device_type or known.type
        if labels is not None:
            known.labels = dict(labels)
        time = time or now
        data = event_data(event_type, fields or {}, time)
        event = make_event(new_xid(now, self._random), self.id, device, event_type, data, time, now)
        known.add(event, data)
        for take in self.takers:
            take(event, known, False)
        return event.id

    def backfill(
        self, event_type: str, device: str, measured: Iterable[tuple[datetime, Mapping[str, Any]]]
    ) -> list[str]:
        """Let a sensor send what it stored while it was offline: marked so, in a burst,
        newest first.

        :param measured: (time of the measurement, fields). The events carry these old
            times (assumed).
        """
        newest_first = sorted(measured, key=lambda item: item[0], reverse=True)
        return [
            self.publish(event_type, device, {**fields, "isBackfilled": True}, time=time)
            for time, fields in newest_first
        ]

    def change_labels(self, device: str, labels: Mapping[str, str]) -> str:
        """Give a device other labels, which is an event as well; gives its eventId."""
        known = self.devices[device]
        before, known.labels = known.labels, dict(labels)
        fields = {
            "added": {key: labels[key] for key in labels if key not in before},
            "modified": {
                key: labels[key] for key in labels if before.get(key, labels[key]) != labels[key]
            },
            "removed": [key for key in before if key not in labels],
        }
        return self.publish("labelsChanged", device, fields)

    def latest(self, *, new_ids: bool) -> list[tuple[DeviceEvent, Device]]:
        """Give the latest event of each type of each device now in the project.

        :param new_ids: whether they get ids of their own. Which DT does is unknown.
        """
        events = [
            (event, device) for device in self.devices.values() for event in device.latest.values()
        ]
        return [(self._renamed(event), device) for event, device in events] if new_ids else events

    def _renamed(self, event: DeviceEvent) -> DeviceEvent:
        event_id = new_xid(self._now(), self._random)
        return evolve(
            event, id=event_id, text=compact({**json.loads(event.text), "eventId": event_id})
        )
