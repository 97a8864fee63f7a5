"""Emulator of DT: a handful of sensors in a building, for the demo.

Temperatures rise and fall like those of a slow day, a door opens, somebody comes and
goes.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import trio
from attrs import frozen

from bridge.testing.emulation import Emulation, EmulatorContext

from .events import rfc3339
from .server import Connector, Delivery, open_cloud

_PATH = "/disruptive"
_MAX_PENDING = 1000  # events that wait for a slow or absent bridge; then they come first


@frozen
class _Round:
    """What the fields of an event are made from."""

    number: int
    """Rounds over all devices so far."""
    time: datetime
    random: Random

    def wave(self, middle: float, swing: float, rounds: float, digits: int = 2) -> float:
        """Return a value that swings around a middle once in so many rounds, with a
        little noise.
        """
        noise = self.random.uniform(-0.02, 0.02)
        return round(
            middle + swing * (math.sin(2 * math.pi * self.number / rounds) + noise), digits
        )

    def changes(self, rounds: int) -> bool:
        """Return True for so many rounds, then False for as many."""
        return self.number // rounds % 2 == 0


@frozen
class _Device:
    id: str
    type: str
    name: str
    events: Mapping[str, Callable[[_Round], Mapping[str, Any]]]


def _fridge(now: _Round) -> Mapping[str, Any]:
    """Make a heartbeat with three measurements, newest first as DT has them."""
    values = [now.wave(4.0, 1.5, 60) for _ in range(3)]
    times = [rfc3339(now.time - timedelta(seconds=30 * back)) for back in range(3)]
    samples = [
        {"value": value, "sampleTime": time} for value, time in zip(values, times, strict=True)
    ]
    return {"value": values[0], "updateTime": times[0], "samples": samples, "isBackfilled": False}


def _humidity(now: _Round) -> Mapping[str, Any]:
    return {"temperature": now.wave(21.5, 1.0, 90), "relativeHumidity": now.wave(40, 8, 120)}


def _network(now: _Round) -> Mapping[str, Any]:
    rssi = -60 - now.random.randrange(25)
    strength = 100 + rssi
    gateway = {"id": "emucccon0000bridge0demo", "signalStrength": strength, "rssi": rssi}
    return {
        "signalStrength": strength,
        "rssi": rssi,
        "cloudConnectors": [gateway],
        "transmissionMode": "LOW_POWER_STANDARD_MODE",
    }


def _devices() -> list[_Device]:
    return [
        _Device(
            "emucfridge00bridge0demo",
            "temperature",
            "fridge",
            {"temperature": _fridge, "networkStatus": _network},
        ),
        _Device(
            "emucoffice00bridge0demo",
            "humidity",
            "office",
            {"humidity": _humidity, "networkStatus": _network},
        ),
        _Device(
            "emucmeeting0bridge0demo",
            "co2",
            "meeting room",
            {
                "co2": lambda now: {"ppm": round(now.wave(700, 250, 80))},
                "pressure": lambda now: {"pascal": round(now.wave(101_325, 300, 200))},
                "humidity": _humidity,
            },
        ),
        _Device(
            "emucdoor0000bridge0demo",
            "contact",
            "front door",
            {
                "contact": lambda now: {"state": "OPEN" if now.changes(5) else "CLOSED"},
                "touch": lambda _now: {},
            },
        ),
        _Device(
            "emuccorridorbridge0demo",
            "motion",
            "corridor",
            {
                "motion": lambda now: {
                    "state": "MOTION_DETECTED" if now.changes(3) else "NO_MOTION_DETECTED"
                }
            },
        ),
        _Device(
            "emucdesk0000bridge0demo",
            "deskOccupancy",
            "desk 7",
            {
                "deskOccupancy": lambda now: {
                    "state": "OCCUPIED" if now.changes(20) else "NOT_OCCUPIED",
                    "remarks": [],
                },
                "batteryStatus": lambda _now: {"percentage": 95},
            },
        ),
    ]


@asynccontextmanager
async def open_devices(context: EmulatorContext) -> AsyncIterator[Emulation]:
    """Open a cloud whose connector pushes to the bridge of the demo, and whose history
    the bridge may read.
    """
    secret = f"{context.random.getrandbits(256):064x}"
    trusted = ssl.create_default_context(cafile=context.ca_file)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(context.certificate, context.key)
    # A person watches the demo, perhaps while restarting the bridge: try again soon.
    delivery = Delivery(spacing=0.5)
    async with open_cloud(
        asymmetric=False, delivery=delivery, tls=tls, verify=trusted, random=context.random
    ) as cloud:
        project = cloud.add_project()
        connector = cloud.add_connector(
            project, context.bridge_url + _PATH, secret, labels=("name",)
        )

        async def run(rate: float) -> None:
            await publish_forever(connector, rate, context.random)

        [account] = cloud.accounts
        settings = {
            "plugin": "disruptive",
            "listener": context.listener,
            "path": _PATH,
            "secret": secret,
            "url": cloud.rest_url,
            "token_url": cloud.token_url,
            "ca_file": str(context.ca_file),
            "project": project.id,
            "service_account_key": account.key,
            "service_account_secret": account.secret,
            "service_account_email": account.email,
        }
        yield Emulation("source:sensors", settings, run)


async def publish_forever(connector: Connector, rate: float, random: Random) -> None:
    """Publish events of all devices in turn, ``rate`` of them a second."""
    devices = _devices()
    due = trio.current_time()
    number = 0
    while True:
        for device in devices:
            for event_type, make in device.events.items():
                now = _Round(number, datetime.now(UTC), random)
                labels = {"name": device.name}
                connector.publish(
                    event_type,
                    device.id,
                    make(now),
                    time=now.time,
                    labels=labels,
                    device_type=device.type,
                )
                due += 1 / rate
                await trio.sleep_until(due)
                if connector.pending > _MAX_PENDING:
                    await connector.drained()
                    due = trio.current_time()
        number += 1
