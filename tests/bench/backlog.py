"""Events that wait already: a spool filled quickly, in large appends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from bridge.api import Arrival, Event, Reading, encode
from bridge.api.spool import Spool, SpoolContext
from bridge.plugins.discovery import load_plugins
from tests.bench.webhook import device_of, time_of

SOURCE = "sensors"
TOGETHER = 2000  # events in one append
PROJECT = "ccol8iuk9smqiha4e8l0"


def event_of(number: int) -> Event:
    """Make an event of some 550 bytes when stored, known by its value as the webhooks
    are.
    """
    device, time = device_of(number), time_of(number)
    return Event(
        key=f"bench{number:015d}",
        device=device,
        kind="temperature",
        time=time,
        readings=(Reading("temperature", number, time, "°C"),),
        labels={
            "name": "bench",
            "deviceType": "temperature",
            "projectId": PROJECT,
            "productNumber": "102058",
        },
        data={
            "targetName": f"projects/{PROJECT}/devices/{device}",
            "temperature": {"value": number, "updateTime": time, "isBackfilled": False},
        },
    )


def utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def open_spool(state: Path) -> AsyncIterator[Spool]:
    """Open the embedded spool of a folder through the hook, as the daemon does."""
    kind = load_plugins(()).spools["sqlite"]
    state.mkdir(exist_ok=True)
    context = SpoolContext(state, (), lambda text, problem=None: None, utc_now)
    async with kind.open(kind.settings(), context) as spool:
        yield spool


async def fill(state: Path, count: int, first: int = 0) -> int:
    """Append so many events; gives the bytes of one, about."""
    received = utc_now()
    size = 0
    async with open_spool(state) as spool:
        for start in range(first, first + count, TOGETHER):
            events = [
                event_of(number) for number in range(start, min(start + TOGETHER, first + count))
            ]
            arrivals = [
                Arrival(SOURCE, event.key, event.device, encode(event), received)
                for event in events
            ]
            await spool.append(arrivals)
            size += sum(len(arrival.body) for arrival in arrivals)
    return size // max(count, 1)
