"""Stand-in for Digi Remote Manager: REST and push port on loopback, with monitors that record and replay.

    async with open_emulator() as emulator:
        event = await emulator.publish("DataPoint/test", "DataPoint", {"streamId": "test", "data": 1})
        await emulator.books.until(lambda: event in emulator.books.acked)

Nothing here knows the client of this plugin. It holds everything in memory and survives whatever its clients do.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import trio
from attrs import define, frozen

from bridge.api import Emulation, EmulatorContext, serve_http
from bridge_plugins.idigi.emulator_account import CUSTOMER, Account, Books, Occurrence
from bridge_plugins.idigi.emulator_faults import Faults
from bridge_plugins.idigi.emulator_push import serve_push
from bridge_plugins.idigi.emulator_rest import answer_call

TICK = 0.01  # seconds between two rounds of events: many at once cost less than a timer each


@frozen
class Emulator:
    """A stand-in that is up."""

    rest_url: str
    push_port: int
    account: Account
    faults: Faults

    @property
    def books(self) -> Books:
        """What was sent and acknowledged."""
        return self.account.books

    async def publish(
        self, topic: str, entity_key: str, entity: Any, *, operation: str = "UPDATE", group: str = "*"
    ) -> int:
        """Let something happen now. The topic goes without the customer id; gives the event's id in the books."""
        return (await self.inject([Occurrence(topic, entity_key, entity, operation, group)]))[0]

    async def inject(self, occurrences: Iterable[Occurrence]) -> list[int]:
        """Let several things happen now, in order; gives their ids."""
        ids = [self.account.publish(occurrence) for occurrence in occurrences]
        self.books.changed()
        await trio.lowlevel.checkpoint()
        return ids


@asynccontextmanager
async def open_emulator(
    *,
    username: str = "user",
    password: str = "pass",  # noqa: S107  # of nothing
    tls: ssl.SSLContext | None = None,
    rest_port: int = 0,
    push_port: int = 0,
    now: Callable[[], datetime] | None = None,
) -> AsyncIterator[Emulator]:
    """Bring the stand-in up on 127.0.0.1.

    :param tls: certificate and key of the server, for both ports; None serves both in clear text.
    :param now: the service's wall clock, UTC; None is the real one.
    """
    account = Account(username, password, now or partial(datetime.now, UTC))
    faults = Faults()
    async with (
        serve_http(partial(answer_call, account, faults), port=rest_port, tls=tls) as rest_url,
        serve_push(account, faults, port=push_port, tls=tls) as bound,
    ):
        yield Emulator(rest_url, bound, account, faults)


@asynccontextmanager
async def open_emulation(context: EmulatorContext) -> AsyncIterator[Emulation]:
    """Bring the stand-in up for the demo, with TLS."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(context.certificate, context.key)
    password = f"demo:{context.random.getrandbits(64):016x}"
    async with open_emulator(username="demo@example.com", password=password, tls=tls) as emulator:
        settings = {
            "plugin": "idigi",
            "url": emulator.rest_url,
            "username": emulator.account.username,
            "password": password,
            "push_port": str(emulator.push_port),
            "ca_file": str(context.ca_file),
            "topics": "DataPoint, DeviceCore",
            "batch_duration": "1s",
        }
        yield Emulation("source:gateways", settings, partial(produce, emulator, context.random))


@define
class _Signal:
    """A value that moves slowly."""

    device: str
    path: str
    unit: str
    value: float
    step: float
    least: float
    most: float

    def moved(self, random: Random) -> float:
        self.value = min(max(self.value + random.uniform(-self.step, self.step), self.least), self.most)
        return round(self.value, 2)


def signals() -> list[_Signal]:
    """Give what the gateways of the demo measure."""
    found = []
    for number in range(1, 5):
        device = f"00000000-00000000-00409DFF-FF{number:06X}"
        found += [
            _Signal(device, "metrics/room/temperature", "°C", 20.0 + number / 2, 0.05, 16.0, 28.0),
            _Signal(device, "metrics/room/humidity", "%", 40.0 + number, 0.2, 25.0, 70.0),
            _Signal(device, "metrics/tank/level", "m", 1.0 + number / 4, 0.01, 0.0, 3.0),
        ]
    return found


async def produce(emulator: Emulator, random: Random, rate: float) -> None:
    """Publish about ``rate`` data points a second until cancelled."""
    sources = signals()
    began = trio.current_time()
    produced = 0
    while True:
        await trio.sleep(max(TICK, (produced + 1) / rate - (trio.current_time() - began)))
        due = int((trio.current_time() - began) * rate) - produced
        await emulator.inject(
            data_point(sources[number % len(sources)], random, emulator.account.now())
            for number in range(produced, produced + due)
        )
        produced += due


def data_point(signal: _Signal, random: Random, time: datetime) -> Occurrence:
    """Measure a signal."""
    milliseconds = int(time.timestamp() * 1000)
    stream = f"{signal.device}/{signal.path}"
    entity = {
        "cstId": int(CUSTOMER),
        "id": str(UUID(int=random.getrandbits(128), version=1)),
        "streamId": stream,
        "streamType": "DOUBLE",
        "streamUnits": signal.unit,
        "data": signal.moved(random),
        "timestamp": milliseconds,
        "serverTimestamp": milliseconds,
        "quality": 0,
        "description": "",
    }
    return Occurrence(f"DataPoint/{stream}", "DataPoint", entity, "INSERTION")
