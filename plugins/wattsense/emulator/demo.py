"""Towers for the demo: a few buildings whose values move slowly, sent by the emulator.

The REST API beside it has the same values, so that the bridge can read back what it
missed.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio
from attrs import define, frozen

from bridge.testing.emulation import Emulation, EmulatorContext

from .options import RestOptions, WebhookOptions
from .rest import open_rest_service
from .server import Emulator, open_emulator

PATH = "/wattsense"
HEADER = "X-Signature-SHA256"
TOWERS = tuple(f"tower-{number}" for number in range(1, 9))


@frozen
class Quantity:
    """What a point measures. A raw payload is ten times the value."""

    slug: str
    name: str
    unit: str
    start: float
    step: tuple[float, float]
    """Least and most that the value moves from one message to the next."""


QUANTITIES = (
    Quantity("room-temperature", "Room temperature", "°C", 21.0, (-0.1, 0.1)),
    Quantity("co2", "CO2", "ppm", 600.0, (-5.0, 5.0)),
    Quantity("energy", "Energy meter", "kWh", 12_000.0, (0.0, 0.2)),
)


@define
class Point:
    """One property of one tower, and its value now."""

    tower: str
    quantity: Quantity
    value: float


@asynccontextmanager
async def open_emulation(context: EmulatorContext) -> AsyncIterator[Emulation]:
    """Open towers that call the demo's bridge."""
    secret = f"{context.random.getrandbits(128):032x}"
    api = RestOptions(
        key="demo", secret=f"{context.random.getrandbits(128):032x}", page_size=100, sparse=True
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(context.certificate, context.key)
    settings = {
        "plugin": "wattsense",
        "listener": context.listener,
        "path": PATH,
        "secret": secret,
        "signature": "bare-hex",
        "signature_header": HEADER,
    }
    async with (
        open_emulator(
            context.bridge_url + PATH,
            preset="bare-hex",
            secret=secret,
            header=HEADER,
            options=WebhookOptions(framing="array"),
            rng=context.random,
            ca_file=context.ca_file,
        ) as emulator,
        open_rest_service(emulator.store, api, tls=tls) as rest,
    ):
        settings |= {"url": rest.url, "rest_key": api.key, "rest_secret": api.secret}
        settings["ca_file"] = str(context.ca_file)
        yield Emulation(
            "source:towers", settings, partial(_publish_for_ever, emulator, context.random)
        )


async def _publish_for_ever(emulator: Emulator, rng: random.Random, rate: float) -> None:
    """Publish about ``rate`` values a second, the points in turn."""
    points = [Point(tower, quantity, quantity.start) for tower in TOWERS for quantity in QUANTITIES]
    due = trio.current_time()
    while True:
        for point in points:
            await _publish(emulator, rng, point)
            due += 1 / rate
            await trio.sleep_until(due)


async def _publish(emulator: Emulator, rng: random.Random, point: Point) -> None:
    quantity = point.quantity
    point.value += rng.uniform(*quantity.step)
    raw = round(point.value * 10)
    await emulator.publish(
        point.tower,
        f"{point.tower}-{quantity.slug}",
        raw,
        scaledPayload=raw / 10,
        name=quantity.name,
        slug=quantity.slug,
        unit=quantity.unit,
        externalId=None,
        isOutOfService=False,
        tags={"floor": "2"},
    )
