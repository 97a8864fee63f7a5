"""An oracle of obligations: what was acknowledged must arrive, nothing else may, and
each device in order.

Every device counts 1, 2, 3, ... as its values. So an arrival that is more than one
ahead of the highest seen is a gap, a value that was never published is invented, and a
value with another time than it was published with is damaged.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import trio
from attrs import define, field

START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)


def time_of(number: int) -> datetime:
    """The time at which a device measures its value: another millisecond for each."""
    return START + timedelta(milliseconds=10 * number)


@define(eq=False)
class Oracle:
    """Keeps the obligations of one run, for one destination."""

    published: Counter[str] = field(factory=Counter)
    """Device to the number of its values."""
    highest: Counter[str] = field(factory=Counter)
    """Device to the highest value that arrived."""
    arrivals: int = 0
    repeated: int = 0
    faults: list[str] = field(factory=list)
    _changed: trio.Event = field(factory=trio.Event)

    def publish(self, device: str) -> tuple[int, datetime]:
        """Give the next value of a device and its time."""
        self.published[device] += 1
        return self.published[device], time_of(self.published[device])

    def arrived(self, device: str, value: float, time: datetime) -> None:
        """Take note of an arrival at the destination."""
        number = int(value)
        self.arrivals += 1
        if number > self.published[device] or number < 1:
            self.faults.append(f"{device}: {number} was never published")
        elif time != time_of(number):
            self.faults.append(
                f"{device}: {number} arrived with the time {time}, not {time_of(number)}"
            )
        elif number > self.highest[device] + 1:
            self.faults.append(f"{device}: {number} arrived after {self.highest[device]}")
        elif number <= self.highest[device]:
            self.repeated += 1
        self.highest[device] = max(self.highest[device], number)
        self._changed.set()
        self._changed = trio.Event()

    def missing(self) -> dict[str, int]:
        """Give the number of values that have not arrived, by device."""
        return dict(self.published - self.highest)

    async def settled(self) -> None:
        """Wait until everything that was published has arrived."""
        while self.missing():
            await self._changed.wait()
