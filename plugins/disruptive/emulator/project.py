"""Emulator of DT: a project, its devices, and what they published.

    publish ─▶ history of the device, latest of its type
            └▶ every connector of the project, which may filter, push, lose

The history holds every event, pushed or not, so that a client can read back exactly
what its pushes lost. A device that nobody added comes into being with its first event.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Mapping
from datetime import datetime
from operator import attrgetter
from random import Random
from typing import Any

from attrs import define, field

from .events import DeviceEvent, event_data, make_event, new_xid

_time = attrgetter("time")


@define(eq=False)
class Device:
    """A sensor, an emulated sensor, or a Cloud Connector."""

    id: str
    type: str
    """``deviceType``."""
    labels: dict[str, str] = field(factory=dict)
    events: list[DeviceEvent] = field(factory=list)
    """All of them, by time."""
    latest: dict[str, DeviceEvent] = field(factory=dict)
    """The latest event of each type."""

    def add(self, event: DeviceEvent) -> None:
        """Keep an event."""
        insort(self.events, event, key=_time)
        if event.type not in self.latest or event.time >= self.latest[event.type].time:
            self.latest[event.type] = event

    def between(self, start: datetime, end: datetime, *, inclusive: bool) -> list[DeviceEvent]:
        """Return the events of a span of time, oldest first.

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
        self, device: str, device_type: str, *, labels: Mapping[str, str] | None = None
    ) -> Device:
        """Add a device, or put it in the place of the one with this id."""
        added = self.devices[device] = Device(device, device_type, dict(labels or {}))
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
        """Let a device publish an event, and return its eventId.

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
        known.add(event)
        for take in self.takers:
            take(event, known, False)
        return event.id

    def latest(self) -> list[tuple[DeviceEvent, Device]]:
        """Return the latest event of each type of each device now in the project."""
        return [
            (event, device) for device in self.devices.values() for event in device.latest.values()
        ]
