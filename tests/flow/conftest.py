from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from bridge.api import Event, Reading, Stored

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_event(number: int, device: str = "d1") -> Event:
    time = START + timedelta(seconds=number)
    return Event(
        f"{device}-{number}",
        device,
        "temperature",
        time,
        (Reading("temperature", float(number), time),),
    )


def make_stored(devices: Sequence[str]) -> tuple[Stored, ...]:
    return tuple(
        Stored(n + 1, "s", START, make_event(n, device)) for n, device in enumerate(devices)
    )


@pytest.fixture
def now() -> Callable[[], datetime]:
    return lambda: START
