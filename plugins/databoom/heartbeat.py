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

from bridge.api import Pause, Retry

from .answers import Accepted, NotFound, Verdict

MAX_DEVICES = 100_000
ROUNDS = 4  # in an interval: a heartbeat is late by a quarter of it at most


@define
class Pulse:
    """When a device was last heard of, in seconds of a clock that only goes forward."""

    pushed: float
    """When anything was pushed for it."""
    seen: float
    """When a reading was."""


@define(eq=False)
class Pulses:
    """Which devices are due for a heartbeat. Decides, waits never."""

    interval: float
    lasting: float
    """Seconds after its newest reading in which a device gets heartbeats."""
    _devices: dict[str, Pulse] = field(factory=dict)

    def seen(self, device: str, now: float) -> None:
        """A reading of this device was pushed."""
        self._devices.pop(device, None)
        self._devices[device] = Pulse(now, now)
        if len(self._devices) > MAX_DEVICES:
            del self._devices[next(iter(self._devices))]

    def beaten(self, device: str, now: float) -> None:
        """A heartbeat of this device was pushed."""
        if pulse := self._devices.get(device):
            pulse.pushed = now

    def due(self, now: float) -> list[str]:
        """Give the devices that need a heartbeat now, and forget those that get none
        any more.
        """
        for device in [
            device for device, pulse in self._devices.items() if now - pulse.seen >= self.lasting
        ]:
            del self._devices[device]
        return [
            device for device, pulse in self._devices.items() if now - pulse.pushed >= self.interval
        ]


async def beat(pulses: Pulses, push: Callable[[str], Awaitable[Verdict]]) -> None:
    """Push heartbeats until cancelled.

    A round ends at the first failure: deliveries report what is wrong.
    """
    while True:
        await trio.sleep(pulses.interval / ROUNDS)
        for device in pulses.due(trio.current_time()):
            try:
                verdict = await push(device)
            except (Retry, Pause):
                break
            if isinstance(verdict, Accepted):
                pulses.beaten(device, trio.current_time())
            elif not isinstance(verdict, NotFound):
                break
