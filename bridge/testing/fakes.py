"""Small fakes for tests of sources and sinks: an outlet, durable state, contexts and a
clock.

outlet = FakeOutlet()
context = fake_source_context("sensors", outlet=outlet)
await nursery.start(kind.run, settings, context)
assert outlet.events == [...]
outlet.refuse = "the disk is full"      # from now on emit raises Refused
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import orjson
import trio
from attrs import define, field

from bridge.api import (
    JSON,
    CommandHandler,
    Event,
    Insist,
    Pause,
    Problem,
    Receive,
    Retry,
    SinkContext,
    SourceContext,
    SpoolUnavailable,
    encode,
)
from bridge.api.former import problem_of
from bridge.api.problems import WORK_FAILS

T = TypeVar("T")

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@define(eq=False)
class FixedClock:
    """A wall clock that stands still until it is moved."""

    time: datetime = START

    def __call__(self) -> datetime:
        """Return the time."""
        return self.time

    def move(self, step: timedelta) -> None:
        """Let so much time pass."""
        self.time += step


@define(eq=False)
class FakeOutlet:
    """An outlet that collects what is emitted, and can refuse."""

    events: list[Event] = field(factory=list)
    """Every event that was taken, in order, duplicates too."""
    emits: list[tuple[Event, ...]] = field(factory=list)
    """The same, as they were emitted together."""
    refuse: str | None = None
    """Set to a reason: ``emit`` raises Refused with it."""
    _arrived: trio.Event = field(factory=trio.Event)

    async def emit(self, *events: Event) -> None:
        """Keep events, as strict as a spool: what cannot be stored is a ValueError."""
        await trio.lowlevel.checkpoint()
        for event in events:
            encode(event)
        if self.refuse is not None:
            raise SpoolUnavailable(self.refuse)
        self.events.extend(events)
        self.emits.append(events)
        self._arrived.set()
        self._arrived = trio.Event()

    async def wait_for(self, count: int) -> list[Event]:
        """Wait until at least ``count`` events were taken, and give all of them."""
        while len(self.events) < count:
            await self._arrived.wait()
        return self.events


@define(eq=False)
class FakeState:
    """State of an instance, in memory, that allows what a spool allows: JSON."""

    values: dict[str, bytes] = field(factory=dict)

    def get(self, key: str) -> JSON:
        """Return the value, or None."""
        value = self.values.get(key)
        return None if value is None else orjson.loads(value)

    async def put(self, key: str, value: JSON) -> None:
        """Store a value; None removes the key."""
        await trio.lowlevel.checkpoint()
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = orjson.dumps(value)


@define(eq=False)
class FakeReport:
    """Collects what an instance says of itself."""

    texts: list[str] = field(factory=list)
    problems: list[str] = field(factory=list)
    """Those of the texts that a person should look at."""
    problem_names: list[str] = field(factory=list)
    """Which problems these are, one for each text."""
    _said: trio.Event = field(factory=trio.Event)

    topics: dict[str, str] = field(factory=dict)
    """What was last said by topic, as far as it was not taken back."""

    def __call__(self, text: str, *, problem: Problem | None = None, topic: str = "") -> None:
        """Keep a report."""
        problem = problem_of(problem)
        if topic:
            self.topics[topic] = text
            if not text:
                del self.topics[topic]
        self.texts.append(text)
        if problem is not None:
            self.problems.append(text)
            self.problem_names.append(problem.name)
        self._said.set()
        self._said = trio.Event()

    async def wait_for(self, text: str) -> None:
        """Wait until the newest report has this in it."""
        while not self.texts or text not in self.texts[-1]:
            await self._said.wait()


@define(eq=False)
class FakeMount:
    """Routes without a listener: call the receive function yourself."""

    routes: dict[str, Receive] = field(factory=dict)
    methods: dict[str, tuple[str, ...]] = field(factory=dict)

    @contextmanager
    def __call__(
        self, path: str, receive: Receive, *, methods: tuple[str, ...] = ("POST",)
    ) -> Iterator[None]:
        """Mount a receive function while the block is entered."""
        if path in self.routes:
            raise ValueError(f"path {path!r} is mounted already")
        self.routes[path] = receive
        self.methods[path] = methods
        try:
            yield
        finally:
            del self.routes[path], self.methods[path]


@define(eq=False)
class FakeCommands:
    """Requests of commands without a socket.

    Call ``await commands.command_handlers["map"](arguments)`` yourself.
    """

    command_handlers: dict[str, CommandHandler] = field(factory=dict)

    @contextmanager
    def __call__(self, request: str, respond: CommandHandler) -> Iterator[None]:
        """Answer a request while the block is entered."""
        if request in self.command_handlers:
            raise ValueError(f"request {request!r} is answered already")
        self.command_handlers[request] = respond
        try:
            yield
        finally:
            del self.command_handlers[request]


@define(eq=False)
class FakeRecover:
    """Collects what an instance asks to have read back."""

    asked: list[tuple[str, datetime | None]] = field(factory=list)
    """Why, and since when."""

    def __call__(self, why: str, *, since: datetime | None = None) -> None:
        """Keep a request."""
        self.asked.append((why, since))


def fake_insist(report: FakeReport | None = None) -> Insist:
    """Return an ``insist`` that waits and tells as the core's, without its jitter."""

    async def insist(
        attempt: Callable[[], Awaitable[T]],
        *,
        topic: str,
        doing: str,
        problem: Problem | None = None,
    ) -> T:
        pause = 1.0
        while True:
            try:
                result = await attempt()
            except (Retry, Pause, SpoolUnavailable) as verdict:
                if report is not None:
                    text = f"{doing} failed: {verdict}"
                    report(text, problem=problem or WORK_FAILS, topic=topic)
            else:
                if report is not None:
                    report("", topic=topic)
                return result
            await trio.sleep(pause)
            pause = min(2 * pause, 300.0)

    return insist


def fake_source_context(
    name: str = "source",
    *,
    outlet: FakeOutlet | None = None,
    mount: FakeMount | None = None,
    state: FakeState | None = None,
    report: FakeReport | None = None,
    clock: FixedClock | None = None,
    random: float = 0.5,
    answer: FakeCommands | None = None,
    recover: FakeRecover | None = None,
) -> SourceContext:
    """Make a context for a source; hand in the parts that the test looks at."""
    return SourceContext(
        name=name,
        outlet=outlet or FakeOutlet(),
        mount=mount or FakeMount(),
        state=state or FakeState(),
        report=report or FakeReport(),
        now=clock or FixedClock(),
        random=lambda: random,
        answer=answer or FakeCommands(),
        insist=fake_insist(report),
        recover=recover or FakeRecover(),
    )


def fake_sink_context(
    name: str = "sink",
    *,
    state: FakeState | None = None,
    report: FakeReport | None = None,
    clock: FixedClock | None = None,
    answer: FakeCommands | None = None,
) -> SinkContext:
    """Make a context for a sink; hand in the parts that the test looks at."""
    return SinkContext(
        name=name,
        state=state or FakeState(),
        report=report or FakeReport(),
        now=clock or FixedClock(),
        answer=answer or FakeCommands(),
        insist=fake_insist(report),
    )
