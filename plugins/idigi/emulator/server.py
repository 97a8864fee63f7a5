"""Emulator for Digi Remote Manager: REST and push port on loopback, with monitors that
record and replay.

    async with open_emulator() as emulator:
        event = await emulator.publish("DataPoint/test", "DataPoint", {"streamId": "test", "data": 1})
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)

    emulator.py ─┬─ emulator_rest.py ─▶ emulator_old_api.py, emulator_v1.py ─┐
                 └─ emulator_push.py ─▶ emulator_session.py ─────────────────┴▶ emulator_account.py, emulator_monitor.py

Four things to turn while it runs: ``account`` is what it knows, ``options`` what nobody
knows of the real service, ``faults`` how it misbehaves, ``recorder`` what it saw. Nothing
here knows the client of this plugin. It holds everything in memory and survives
whatever its clients do.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

import trio
from attrs import frozen

from bridge.testing.emulation import Emulation, EmulatorContext
from bridge.testing.http_server import serve_http

from .account import FIRST_MONITOR, Account
from .content.topics import Occurrence
from .demo import live
from .faults import Faults
from .options import Options
from .push.monitor import End
from .push.server import serve_push
from .recorder import Recorder
from .rest.calls import answer_call


@frozen
class Emulator:
    """An emulator that is up."""

    rest_url: str
    push_port: int
    account: Account
    faults: Faults
    plain_push_port: int | None = None
    """Port in clear text beside the one with TLS, if asked for."""

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

        The topic goes without the customer id; gives the event's id in the recorder.
        """
        return (await self.inject([Occurrence(topic, entity_key, entity, operation, group)]))[0]

    async def inject(self, occurrences: Iterable[Occurrence]) -> list[int]:
        """Let several things happen now, in order; gives their ids."""
        ids = [self.account.publish(occurrence) for occurrence in occurrences]
        self.recorder.changed()
        await trio.lowlevel.checkpoint()
        return ids

    async def play(self, script: Iterable[tuple[float, Occurrence]]) -> list[int]:
        """Let things happen, each after so many seconds of pause; gives their ids."""
        ids = []
        for pause, occurrence in script:
            await trio.sleep(pause)
            ids += await self.inject([occurrence])
        return ids

    def end_sessions(self, how: End = "close") -> None:
        """End every session at once: as a restart of the service does, or ``how`` says."""
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
    plain_push_port: int | None = None,
    first_monitor: int = FIRST_MONITOR,
    seed: int = 0,
    now: Callable[[], datetime] | None = None,
) -> AsyncIterator[Emulator]:
    """Bring the emulator up on 127.0.0.1.

    :param tls: certificate and key of the server, for both ports; None serves both in
        clear text.
    :param plain_push_port: a second push port, in clear text beside TLS as the service
        has; 0 is any free port.
    :param first_monitor: id of the first monitor that is created.
    :param seed: of the ids that the emulator makes up.
    :param now: the service's wall clock, UTC; None is the real one.
    """
    random = Random(seed)  # noqa: S311  # ids of an emulator
    account = Account(username, password, now or partial(datetime.now, UTC), random, first_monitor)
    faults = Faults()
    async with AsyncExitStack() as stack:
        rest_url = await stack.enter_async_context(
            serve_http(partial(answer_call, account, faults), port=rest_port, tls=tls)
        )
        bound = await stack.enter_async_context(
            serve_push(account, faults, port=push_port, tls=tls)
        )
        plain = None
        if plain_push_port is not None:
            plain = await stack.enter_async_context(
                serve_push(account, faults, port=plain_push_port)
            )
        yield Emulator(rest_url, bound, account, faults, plain)


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
