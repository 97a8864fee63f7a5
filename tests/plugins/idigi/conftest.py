"""Fakes of the core, and a source that is supervised as the core does it and runs
against the emulator on loopback.
"""

from __future__ import annotations

import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
import trio
import trustme

from bridge.api import JSON, Duration, Event, Problem, Secret, SourceContext, Url, encode
from bridge.api.rest import open_rest
from bridge.flow.instances.insist import Persistence
from bridge.flow.instances.supervision import supervise
from bridge.testing.fakes import FakeCommands, FakeRecover, fake_insist
from bridge_plugins.idigi.emulator.server import Emulator, open_emulator
from bridge_plugins.idigi.rest.monitor_api import MonitorApi
from bridge_plugins.idigi.settings import Settings
from bridge_plugins.idigi.source import run, stop

NOW = datetime(2024, 5, 2, 12, tzinfo=UTC)
TIME_LIMIT = 90  # seconds for a test: far more than any needs, on a machine that others use


Point = Callable[..., tuple[str, str, dict[str, Any]]]


def monitor_of(emulator: Emulator) -> Any:
    """The only monitor of the account."""
    (monitor,) = emulator.account.monitors.values()
    return monitor


@asynccontextmanager
async def scripted(says: bytes | None) -> AsyncIterator[int]:
    """A push port that says the same to everybody; None says nothing and listens."""

    async def speak(stream: trio.SocketStream) -> None:
        async with stream:
            if says is None:
                async for _ in stream:
                    pass
            else:
                await stream.receive_some(1000)
                await stream.send_all(says)
                await stream.receive_some(1000)

    async with trio.open_nursery() as connections:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await connections.start(trio.serve_listeners, speak, listeners)
        yield listeners[0].socket.getsockname()[1]
        connections.cancel_scope.cancel()


class Watched:
    """Something that tests wait on."""

    def __init__(self) -> None:
        self._changed = trio.Event()

    def changed(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()


class FakeOutlet(Watched):
    """Keeps events. ``gate`` holds emits back; ``failures`` are raised first."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.attempts = 0
        self.failures: list[Exception] = []
        self.gate = trio.Event()
        self.gate.set()

    async def emit(self, *events: Event) -> None:
        self.attempts += 1
        self.changed()
        for event in events:
            encode(event)
        if self.failures:
            raise self.failures.pop(0)
        await self.gate.wait()
        await trio.lowlevel.checkpoint()
        self.events += events
        self.changed()

    @property
    def values(self) -> list[Any]:
        return [reading.value for event in self.events for reading in event.readings]


class FakeState:
    def __init__(self) -> None:
        self.values: dict[str, JSON] = {}
        self.failures: list[Exception] = []

    def get(self, key: str) -> JSON:
        return self.values.get(key)

    async def put(self, key: str, value: JSON) -> None:
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value


class FakeReport(Watched):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, str]] = []
        """Text, and name of the problem; empty: none."""

    def __call__(self, text: str, *, problem: Problem | None = None, topic: str = "") -> None:
        assert not topic
        self.said.append((text, problem.name if problem else ""))
        self.changed()

    async def until_problem(self, words: str) -> str:
        def found() -> list[str]:
            return [text for text, problem in self.said if problem and words in text]

        await self.until(lambda: bool(found()))
        return found()[0]


class Core:
    """What a source meets of the core."""

    def __init__(self) -> None:
        self.outlet = FakeOutlet()
        self.state = FakeState()
        self.report = FakeReport()
        self.recover = FakeRecover()
        self.persistence = Persistence(0.001, 0.01, 300.0)
        """How long is waited between two runs: short, but for what a person must mend.
        """

    @property
    def context(self) -> SourceContext:
        """The context of a source that starts."""

        def mount(*_args: Any, **_more: Any) -> Any:
            raise AssertionError("this source mounts nothing")

        return SourceContext(
            name="gateways",
            outlet=self.outlet,
            mount=mount,
            state=self.state,
            report=self.report,
            now=lambda: NOW,
            random=lambda: 0.5,
            answer=FakeCommands(),
            insist=fake_insist(),
            recover=self.recover,
        )

    @asynccontextmanager
    async def running(
        self, settings: Settings, *, attached: bool = True
    ) -> AsyncIterator[trio.CancelScope]:
        """Run the source; ``attached`` waits for its first session."""
        async with trio.open_nursery() as nursery:
            if attached:
                await nursery.start(self._run, settings)
            else:
                nursery.start_soon(self._run, settings)
            yield nursery.cancel_scope
            nursery.cancel_scope.cancel()

    async def _run(
        self, settings: Settings, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        context = self.context
        try:
            await supervise(
                "source:gateways",
                partial(run, settings, context),
                self.report,
                context.random,
                persistence=self.persistence,
                task_status=task_status,
            )
        finally:
            await stop(settings, context)


@asynccontextmanager
async def answering_api(
    answer: Callable[[httpx.Request], Any],
) -> AsyncIterator[MonitorApi]:
    """The API without sockets, so that the clock may jump."""
    async with open_rest(
        "the REST API",
        timeout=30.0,
        max_body=1 << 20,
        base_url="https://api.example",
        network=lambda: httpx.MockTransport(answer),
    ) as rest:
        yield MonitorApi(rest, lambda: NOW)


class Service:
    """The account's monitors behind REST, without sockets: what is attached to what is
    for the test to say.
    """

    def __init__(self) -> None:
        self.monitors: dict[int, dict[str, str]] = {}
        self.calls: list[str] = []
        self.queries: list[dict[str, str]] = []
        self.room = 100
        self.answers: list[httpx.Response] = []
        """Given to the next calls instead of the real answer."""
        self.next_id = 1
        self.api: MonitorApi

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Service]:
        async with answering_api(self._answer) as self.api:
            yield self

    def add(self, elements: Mapping[str, str], status: str = "SUSPENDED") -> int:
        monitor, self.next_id = self.next_id, self.next_id + 1
        self.monitors[monitor] = {**elements, "monId": str(monitor), "monStatus": status}
        return monitor

    @property
    def changes(self) -> list[str]:
        """The calls that change something."""
        return [call for call in self.calls if not call.startswith("GET")]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(f"{request.method} {request.url.path.removeprefix('/ws/')}")
        self.queries.append(dict(request.url.params))
        if self.answers:
            return self.answers.pop(0)
        if request.method == "POST":
            if len(self.monitors) >= self.room:
                return self._error("POST Monitor error. The limit of monitors is reached")
            monitor = self.add(self._elements(request), "INACTIVE")
            return httpx.Response(201, headers={"Location": f"Monitor/{monitor}"})
        if request.url.path == "/ws/Monitor":
            return self._rows(list(self.monitors.values()))
        monitor = int(request.url.path.rpartition("/")[2])
        if monitor not in self.monitors:
            return self._error(
                f"{request.method} Monitor error. Error reading Monitor entity id='{monitor}'"
            )
        if request.method == "PUT":
            self.monitors[monitor] |= self._elements(request)
            return httpx.Response(200, content=b"<result/>")
        if request.method == "DELETE":
            del self.monitors[monitor]
            return httpx.Response(
                200, content=b"<result><message>1 items deleted</message></result>"
            )
        return self._rows([self.monitors[monitor]])

    def _elements(self, request: httpx.Request) -> dict[str, str]:
        return {
            element.tag: element.text or "" for element in ElementTree.fromstring(request.content)
        }

    def _error(self, text: str) -> httpx.Response:
        return httpx.Response(400, text=f"<result><error>{text}</error></result>")

    def _rows(self, rows: list[dict[str, str]]) -> httpx.Response:
        return httpx.Response(
            200, json={"resultSize": str(len(rows)), "remainingSize": "0", "items": rows}
        )


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service().opened() as service:
        yield service


@pytest.fixture(autouse=True)
def longest() -> Iterator[None]:
    """Fails a test that waits for something that never happens; the clock of trio may
    be a fake, this one is not.
    """

    def give_up(*_signal: Any) -> None:
        raise TimeoutError(f"what the test waits for did not happen within {TIME_LIMIT} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(TIME_LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """An emulator in clear text."""
    async with open_emulator() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> Callable[..., ssl.SSLContext]:
    """Gives a server's context with a certificate for the names given."""

    def make(*names: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(context)
        return context

    return make


@pytest.fixture
def settings_for() -> Callable[..., Settings]:
    """Gives settings that fit an emulator, quick ones; keywords replace them."""

    def make(emulator: Emulator, **changes: Any) -> Settings:
        plain: dict[str, Any] = {
            "url": Url(emulator.rest_url),
            "username": emulator.account.username,
            "password": Secret(emulator.account.password),
            "insecure": emulator.rest_url.startswith("http:"),
            "push_port": emulator.push_port,
            "batch_duration": Duration(0),
        }
        return Settings(**(plain | changes))

    return make


@pytest.fixture
def point() -> Callable[..., tuple[str, str, dict[str, Any]]]:
    """Gives the arguments with which an emulator publishes a data point."""

    def make(value: Any, **fields: Any) -> tuple[str, str, dict[str, Any]]:
        entity = {"streamId": "test", "data": value, "timestamp": 1434307047694, **fields}
        return "DataPoint/test", "DataPoint", entity

    return make
