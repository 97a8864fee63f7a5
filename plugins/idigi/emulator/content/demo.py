"""The life of the demo: four gateways measure; now and then one is away, or a tank is
low.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from random import Random
from typing import Any

import trio
from attrs import define

from .event_factory import (
    RESET,
    TRIGGERED,
    alarm_status,
    data_point,
    device_core,
    device_id,
)
from .topics import Occurrence

TICK = 0.01  # seconds between two rounds of events: many at once cost less than a timer each
GATEWAYS = 4
DEVICE_EVERY = 20  # data points between two changes of a connection
ALARM_EVERY = 45  # data points between two changes of an alarm


@define
class Signal:
    """A value that moves slowly."""

    device: int
    path: str
    unit: str
    value: float
    step: float
    least: float
    most: float

    def moved(self, random: Random) -> float:
        """The next value."""
        self.value = min(
            max(self.value + random.uniform(-self.step, self.step), self.least), self.most
        )
        return round(self.value, 2)


def signals() -> list[Signal]:
    """What the gateways of the demo measure."""
    found = []
    for number in range(1, GATEWAYS + 1):
        found += [
            Signal(number, "metrics/room/temperature", "°C", 20.0 + number / 2, 0.05, 16.0, 28.0),
            Signal(number, "metrics/room/humidity", "%", 40.0 + number, 0.2, 25.0, 70.0),
            Signal(number, "metrics/tank/level", "m", 1.0 + number / 4, 0.01, 0.0, 3.0),
        ]
    return found


@define
class Life:
    """What happens next."""

    now: Callable[[], datetime]
    random: Random
    _signals: list[Signal]
    _produced: int = 0
    _away: int | None = None
    _low: int | None = None

    def begin(self) -> list[Occurrence]:
        """Let every gateway connect."""
        return [
            device_core(number, connected=True, time=self.now())
            for number in range(1, GATEWAYS + 1)
        ]

    def measure(self) -> list[Occurrence]:
        """The next data point, and what else happens at this moment."""
        signal = self._signals[self._produced % len(self._signals)]
        self._produced += 1
        time = self.now()
        stream = f"{device_id(signal.device)}/{signal.path}"
        value = signal.moved(self.random)
        happened = [data_point(stream, value, time=time, random=self.random, units=signal.unit)]
        if self._produced % DEVICE_EVERY == 0:
            happened.append(self._connection(time))
        if self._produced % ALARM_EVERY == 0:
            happened.append(self._alarm(time))
        return happened

    def _connection(self, time: datetime) -> Occurrence:
        if self._away is not None:
            back, self._away = self._away, None
            return device_core(back, connected=True, time=time)
        self._away = self.random.randint(1, GATEWAYS)
        return device_core(self._away, connected=False, time=time)

    def _alarm(self, time: datetime) -> Occurrence:
        if self._low is not None:
            over, self._low = self._low, None
            return alarm_status(4711, RESET, number=over, signal="metrics/tank/level", time=time)
        self._low = self.random.randint(1, GATEWAYS)
        return alarm_status(
            4711, TRIGGERED, number=self._low, signal="metrics/tank/level", time=time
        )


async def live(
    inject: Callable[[Iterable[Occurrence]], Awaitable[Any]],
    now: Callable[[], datetime],
    random: Random,
    rate: float,
) -> None:
    """Publish about ``rate`` data points a second until cancelled, with what else
    happens.
    """
    life = Life(now, random, signals())
    await inject(life.begin())
    began = trio.current_time()
    produced = 0
    while True:
        await trio.sleep(max(TICK, (produced + 1) / rate - (trio.current_time() - began)))
        due = int((trio.current_time() - began) * rate) - produced
        await inject(happened for _ in range(due) for happened in life.measure())
        produced += due
