"""Whose fault refusals are: that of events and devices, or of the destination.

One device that is refused has a fault of its own, whatever it sends. When
``reject_limit`` *different* devices are refused in a row, and nothing is delivered in
between, the destination or its configuration is at fault: then nobody gets dead letters
and nobody is parked, the sink is paused.

A replay is refused more easily than live events, for it was refused before. Its
refusals are counted apart: after as many in a row the replay stops.
"""

from __future__ import annotations

from collections.abc import Collection

from attrs import define, field

from bridge.api import RepeatedEvent


@define(eq=False)
class Refusals:
    """Refusals in a row, counted over all lanes of a sink."""

    limit: int
    """0: there is none."""
    trips: int = field(default=0, init=False)
    """How often so many different devices were refused."""
    deliveries: int = field(default=0, init=False)
    changed: RepeatedEvent = field(factory=RepeatedEvent, init=False)
    """Set after each delivery and each trip."""
    _devices: set[str] = field(factory=set, init=False)
    """Refused since the last delivery."""
    _replays: int = field(default=0, init=False)
    """Events of replays that were refused since one was taken."""

    def add(self, devices: Collection[str]) -> None:
        """Count devices that were refused."""
        if self.limit and not self.systemic:
            self._devices.update(devices)
            if self.systemic:
                self.trips += 1
                self.changed.set()

    def add_replays(self, events: int) -> int:
        """Count refused events of a replay; returns how many there were in a row if
        that is too many, and begins anew; else 0.
        """
        refused = self._replays = self._replays + events
        if not 0 < self.limit <= refused:
            return 0
        self._replays = 0
        return refused

    def delivered(self, *, replay: bool) -> None:
        """End the row: the destination took something."""
        self.deliveries += 1
        self._devices.clear()
        self.changed.set()
        if replay:
            self._replays = 0

    @property
    def systemic(self) -> bool:
        """Whether these many refusals are not the fault of devices any more."""
        return 0 < self.limit <= len(self._devices)
