"""Heartbeats: Databoom flags a device that is silent for an hour, although some sensors
have nothing to say for longer.

A device that had no push for ``heartbeat_interval`` gets the value 1 for the signal
``heartbeat``. That says that the bridge reaches Databoom, not that the sensor is alive:
so a device of which no reading came for ``heartbeat_for`` gets none any more, and is
flagged. Only devices that had a reading since the start of the bridge are known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from attrs import define, field

from bridge.api import BoundedDict, Pause, Retry

from .answers import DeviceNotFound, PushAccepted, PushVerdict

MAX_DEVICES = 100_000
ROUNDS = 4  # in an interval: a heartbeat is late by a quarter of it at most


@define
class _Pushed:
    """When something was last pushed for a device, in seconds of trio's clock."""

    anything: float
    reading: float


@define(eq=False)
class SilentDevices:
    """Which devices are due for a heartbeat. Decides, waits never."""

    interval: float
    """Seconds without a push after which a device is due."""
    lasting: float
    """Seconds after its newest reading in which a device gets heartbeats."""
    _devices: BoundedDict[str, _Pushed] = field(factory=lambda: BoundedDict(MAX_DEVICES))

    def reading_pushed(self, device: str, now: float) -> None:
        """A reading of this device was pushed."""
        self._devices[device] = _Pushed(now, now)

    def heartbeat_pushed(self, device: str, now: float) -> None:
        """A heartbeat of this device was pushed."""
        if known := self._devices.get(device):
            known.anything = now

    def due(self, now: float) -> list[str]:
        """Return the devices that need a heartbeat now, and forget those that get none
        any more.
        """
        known = self._devices.items()
        for device in [name for name, last in known if now - last.reading >= self.lasting]:
            del self._devices[device]
        return [name for name, last in known if now - last.anything >= self.interval]


async def send_heartbeats(
    devices: SilentDevices, push: Callable[[str], Awaitable[PushVerdict]]
) -> None:
    """Push heartbeats until cancelled.

    A round ends at the first failure and nothing is told of it: deliveries report what
    is wrong.
    """
    while True:
        await trio.sleep(devices.interval / ROUNDS)
        for device in devices.due(trio.current_time()):
            try:
                verdict = await push(device)
            except (Retry, Pause):
                break
            if isinstance(verdict, PushAccepted):
                devices.heartbeat_pushed(device, trio.current_time())
            elif not isinstance(verdict, DeviceNotFound):
                break
