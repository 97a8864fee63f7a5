"""What the tests of the Databoom sink share: events, a context that remembers, a sink
connected to an emulator.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from attrs import define, evolve, field

from bridge.api import Batch, Event, Reading, Secret, Sink, Stored, Url
from bridge.testing.fakes import (
    FakeCommands,
    FakeReport,
    FakeState,
    FixedClock,
    fake_sink_context,
)
from bridge_plugins.databoom.emulator.model import Rules
from bridge_plugins.databoom.emulator.server import SCOPES, Emulator, open_emulator
from bridge_plugins.databoom.open_databoom import open_databoom
from bridge_plugins.databoom.settings import DataboomSettings

TOKEN = "t0ken-of-the-tests"
START = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


@define
class Factory:
    """Makes events and batches; sequence numbers ascend."""

    sequence: int = 0

    def event(
        self, *readings: tuple[Any, ...], device: str = "d1", source: str = "s", **more: Any
    ) -> Stored:
        """Make an event; a reading is (signal, value, seconds after START, unit)."""
        self.sequence += 1
        made = tuple(
            Reading(
                signal,
                value,
                START + timedelta(seconds=rest[0] if rest else 0),
                rest[1] if rest[1:] else None,
            )
            for signal, value, *rest in readings
        )
        received = more.pop("received", START + timedelta(seconds=1))
        key = more.pop("key", f"k{self.sequence}")
        event = Event(key, device, more.pop("kind", "temperature"), START, made, **more)
        return Stored(self.sequence, source, received, event)

    def batch(self, *readings: tuple[Any, ...], device: str = "d1") -> Batch:
        """Make a batch with an event for each reading."""
        return Batch(tuple(self.event(reading, device=device) for reading in readings))


@define
class Bench:
    """An emulator with a sink connected to it."""

    emulator: Emulator
    sink: Sink
    reports: FakeReport
    clock: FixedClock
    answering: FakeCommands
    make: Factory = field(factory=Factory)

    def bodies(self) -> list[Any]:
        """What was pushed, parsed."""
        return [request.json for request in self.emulator.requests]


@pytest.fixture
def make() -> Factory:
    return Factory()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return ca, path


@pytest.fixture
def server_tls(authority: tuple[trustme.CA, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority[0].issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def settings() -> DataboomSettings:
    return DataboomSettings(token=Secret(TOKEN))


@pytest.fixture
def open_sink(settings: DataboomSettings, clock: FixedClock) -> Callable[..., Any]:
    """Open a sink to a URL."""

    @asynccontextmanager
    async def opened(
        url: str,
        *,
        reports: FakeReport | None = None,
        state: FakeState | None = None,
        answering: FakeCommands | None = None,
        **changes: Any,
    ) -> AsyncIterator[Sink]:
        context = fake_sink_context(
            "databoom", state=state, report=reports, clock=clock, answer=answering
        )
        async with open_databoom(evolve(settings, url=Url(url), **changes), context) as sink:
            yield sink

    return opened


@pytest.fixture
def bench(open_sink: Callable[..., Any], clock: FixedClock) -> Callable[..., Any]:
    """Open an emulator and a sink connected to it."""

    @asynccontextmanager
    async def opened(
        *,
        rules: Mapping[str, Any] | None = None,
        tls: ssl.SSLContext | None = None,
        tokens: Mapping[str, Any] | None = None,
        apikeys: Collection[str] = (),
        state: FakeState | None = None,
        **changes: Any,
    ) -> AsyncIterator[Bench]:
        reports, answering = FakeReport(), FakeCommands()
        async with AsyncExitStack() as stack:
            emulator = await stack.enter_async_context(
                open_emulator(
                    tokens or {TOKEN: SCOPES},
                    apikeys=apikeys,
                    rules=Rules(**(rules or {})),
                    now=clock,
                    tls=tls,
                )
            )
            opening = open_sink(
                emulator.url, reports=reports, state=state, answering=answering, **changes
            )
            yield Bench(
                emulator, await stack.enter_async_context(opening), reports, clock, answering
            )

    return opened
