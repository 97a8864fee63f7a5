"""Emulator of Digi Remote Manager: REST and push port on loopback, with monitors that
record and replay.

    async with open_emulator() as emulator:
        point = {"streamId": "x", "data": 1}
        event = await emulator.publish("DataPoint/x", "DataPoint", point)
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)

Four things to look at and turn while it runs: ``account`` is what it knows, ``options``
what nobody knows of the real service, ``faults`` how it misbehaves, ``recorder`` what
it saw. It holds everything in memory and survives whatever its clients do.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

import trio
from attrs import frozen

from bridge.testing.emulation import Emulation, EmulatorContext
from bridge.testing.http_server import serve_http

from .account import Account
from .content.demo import live
from .content.topics import Occurrence
from .faults import Faults
from .options import Options
from .push.monitor import End
from .push.server import serve_push
from .recorder import Recorder
from .rest.calls import answer_call


@frozen
class Emulator:
    """One that is up."""

    rest_url: str
    push_port: int
    account: Account
    faults: Faults

    @property
    def recorder(self) -> Recorder:
        """What was sent and acknowledged."""
        return self.account.recorder

    @property
    def options(self) -> Options:
        """What it does where nobody knows what the service does."""
        return self.account.options

    async def publish(
        self,
        topic: str,
        entity_key: str,
        entity: Any,
        *,
        operation: str = "UPDATE",
        group: str = "*",
    ) -> int:
        """Let something happen now.

        :param topic: without the customer id.
        :returns: the event's id in the recorder.
        """
        return (await self.inject([Occurrence(topic, entity_key, entity, operation, group)]))[0]

    async def inject(self, occurrences: Iterable[Occurrence]) -> list[int]:
        """Let several things happen now, in order; returns their ids."""
        ids = [self.account.publish(occurrence) for occurrence in occurrences]
        self.recorder.changed()
        await trio.lowlevel.checkpoint()
        return ids

    def end_sessions(self, how: End = "close") -> None:
        """End every session at once, as a restart of the service does."""
        for monitor in self.account.monitors.values():
            for attachment in list(monitor.attachments):
                attachment.end(how)


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
    """Bring the emulator up on 127.0.0.1.

    :param tls: certificate and key of the server, for both ports; None serves both in
        clear text.
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
    """Bring the emulator up for the demo, with TLS."""
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
            "topics": "DataPoint, DeviceCore, AlarmStatus",
            "batch_duration": "1s",
        }
        yield Emulation("source:gateways", settings, partial(produce, emulator, context.random))


async def produce(emulator: Emulator, random: Random, rate: float) -> None:
    """Publish about ``rate`` data points a second until cancelled; gateways connect and
    alarms come beside them.

    It begins with the first session: what happens before has no listener.
    """
    await emulator.recorder.until(
        lambda: any(monitor.attachments for monitor in emulator.account.monitors.values())
    )
    await live(emulator.inject, emulator.account.now, random, rate)
