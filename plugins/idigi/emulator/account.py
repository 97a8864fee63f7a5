"""One customer's part of the service: its monitors, devices and data streams, and what
happens in it.

    publish ─▶ each monitor with a fitting topic
          ├──▶ the history of its data stream, for data points
          └──▶ the list of devices, for DeviceCore

Everything is in memory. The wall clock is given from outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

import trio
from attrs import define, field

from .content.topics import CUSTOMER, Occurrence, operation_of, topic_fits
from .options import Options, Throttle
from .push.monitor import Monitor, Waiting
from .recorder import Recorder

FIRST_MONITOR = 178008
HISTORY_LIMIT = 1_000_000
"""Events that a history keeps: of a monitor, of a data stream."""


@define(eq=False)
class Account:
    """One customer's part of the service."""

    username: str
    password: str
    now: Callable[[], datetime]
    """The service's wall clock, UTC."""
    next_monitor: int = FIRST_MONITOR
    """Id of the monitor that is created next."""
    api_keys: dict[str, str] = field(factory=dict)
    """Id to secret: what the headers ``X-API-KEY-ID`` and ``X-API-KEY-SECRET`` may say.
    """
    options: Options = field(factory=Options)
    recorder: Recorder = field(factory=Recorder)
    throttle: Throttle = field(factory=Throttle)
    monitors: dict[int, Monitor] = field(factory=dict)
    streams: dict[str, deque[Waiting]] = field(factory=dict)
    """Data points by stream id."""
    devices: dict[str, Mapping[str, Any]] = field(factory=dict)
    """The last DeviceCore of each device that was not deleted, by its id."""
    record_limit: int = 1_000_000
    """Events that a monitor keeps for replay."""
    _random: Random = field(factory=lambda: Random(0))  # noqa: S311  # ids of nothing
    _event_ids: count[int] = field(factory=count)

    def create(self, elements: Mapping[str, str]) -> Monitor:
        """Add a monitor; it is INACTIVE until its first session."""
        number, self.next_monitor = self.next_monitor, self.next_monitor + 1
        saved: deque[Waiting] = deque(maxlen=HISTORY_LIMIT)
        monitor = Monitor(
            number, dict(elements), self.recorder, self.options, self.record_limit, saved
        )
        self.monitors[number] = monitor
        return monitor

    def stamp(self) -> str:
        """The time, as the service writes it."""
        return iso(self.now())

    def uuid(self) -> str:
        """A new UUID, version 1 by its looks."""
        return str(UUID(int=self._random.getrandbits(128), version=1))

    def publish(self, occurrence: Occurrence) -> int:
        """Let something happen now; returns its id in the recorder."""
        event_id = next(self._event_ids)
        entity = self._published_entity(occurrence)
        if entity is None:
            self.recorder.withheld.add(event_id)
            return event_id
        at = self.now()
        message = {
            "timestamp": iso(at),
            "topic": f"{CUSTOMER}/{occurrence.topic}",
            "operation": occurrence.operation,
            **({"group": occurrence.group} if self.options.group else {}),
            occurrence.entity_key: entity,
        }
        event = Waiting(event_id, message, trio.current_time(), at)
        self._remember(occurrence, event)
        for monitor in self.monitors.values():
            if any(topic_fits(topic, occurrence) for topic in monitor.topics):
                monitor.put(event)
        return event_id

    def _remember(self, occurrence: Occurrence, event: Waiting) -> None:
        """Keep what REST can be asked about."""
        entity = occurrence.entity
        if not isinstance(entity, Mapping):
            return
        if occurrence.entity_key == "DataPoint" and "streamId" in entity:
            points = self.streams.setdefault(entity["streamId"], deque(maxlen=HISTORY_LIMIT))
            points.append(event)
        elif occurrence.entity_key == "DeviceCore" and "devConnectwareId" in entity:
            device = entity["devConnectwareId"]
            self.devices.pop(device, None)
            if operation_of(occurrence.operation) != "delete":
                self.devices[device] = entity

    def _published_entity(self, occurrence: Occurrence) -> Any:
        """Return the entity as it is published; None for an event that the service
        keeps to itself.
        """
        entity = occurrence.entity
        if occurrence.entity_key != "FileData":
            return entity
        if operation_of(occurrence.operation) == "delete":
            return None
        if isinstance(entity, dict) and entity.get("fdSize", 0) > self.options.file_limit:
            if self.options.large_files == "withheld":
                return None
            return {key: value for key, value in entity.items() if key != "fdData"}
        return entity


def iso(time: datetime) -> str:
    """A time as the service writes it: UTC, milliseconds, ``Z``."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
