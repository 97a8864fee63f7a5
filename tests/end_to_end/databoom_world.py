"""The whole bridge between a source in the hand of the test and the emulator.

    async with open_world(tmp_path, mock_clock, rules={"most_bytes": 600}) as world:
        await world.emit(("d1", "t", 1.5))
        await world.account(delivered=1)  # as the spool counts, once it does
        await world.says("sink:databoom", "delivers", problem=False)
    world.audited(delivered=1)            # by the rows of the spool, after the run

The settings of the sink are those of a test: pauses of milliseconds instead of minutes.
"""

from __future__ import annotations

import ssl
from collections import Counter, deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio
from attrs import define, field, frozen
from trio.testing import MockClock

from bridge.api import Event, Outlet, Reading, SourceContext, SourceKind, Value
from bridge.api.spool import Account, Lease, Spool, Subscription
from bridge.config import Kinds
from bridge.spool.audit import audit
from bridge_plugins.databoom.emulator.server import Emulator, Fault, Faults, Rules, open_emulator
from tests.end_to_end.daemon import BEGIN, Daemon

TOKEN = "canary-of-the-push"
KEY = "canary-of-the-key"
READ = "canary-of-the-list"
SINK = "sink:databoom"
TEMPLATE = "tpl"
HEARTBEAT = "alive"

Point = tuple[str, str, Value]
"""Device, signal, value: values of a test differ, so that each is known again."""


@frozen
class NoSettings:
    """Of the source ``hand``."""


@frozen
class Watched:
    """A spool, a subscription or a lease that tells of each settlement."""

    inner: Any
    wake: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @asynccontextmanager
    async def subscribe(self, *arguments: Any, **more: Any) -> AsyncIterator[Subscription]:
        async with self.inner.subscribe(*arguments, **more) as subscription:
            yield Watched(subscription, self.wake)

    async def take(self, linger: float) -> Lease:
        return Watched(await self.inner.take(linger), self.wake)

    async def take_parked(self) -> Lease:
        return Watched(await self.inner.take_parked(), self.wake)

    async def settle(self, *arguments: Any, **more: Any) -> None:
        await self.inner.settle(*arguments, **more)
        self.wake()


class WatchedFaults(Faults):
    """Faults that tell of each request as it comes in."""

    def __init__(self, wake: Any, faults: Mapping[str, Any]) -> None:
        super().__init__(**faults)
        self.next = deque(self.next)
        self.wake = wake
        self.begun = 0

    def due(self, *, push: bool) -> Fault:
        self.begun += 1
        self.wake()
        return super().due(push=push)


@define(eq=False)
class World(Daemon):
    """A bridge, its source and its Databoom."""

    outlet: Outlet = field(init=False)
    spool: Spool = field(init=False)
    emulator: Emulator = field(init=False)
    faults: WatchedFaults = field(init=False)
    sent: dict[Point, datetime] = field(factory=dict)
    recorded: Counter[Point] = field(factory=Counter)
    """How often Databoom was given each value that it records."""
    wrong: list[str] = field(factory=list)
    """Values that Databoom recorded and that nobody sent."""

    def kinds(self) -> Kinds:
        kinds = super().kinds()
        sqlite = attrs.evolve(
            kinds.spools["sqlite"], open=partial(self._open_spool, kinds.spools["sqlite"])
        )
        return Kinds(
            {"hand": SourceKind("hand", NoSettings, self._run_hand)},
            kinds.sinks,
            {"sqlite": sqlite},
        )

    def configure(self, sink: str) -> None:
        """Write the configuration, with these lines for the sink."""
        pauses = "retry_base = 5ms\nretry_cap = 20ms\npause_probe = 20ms"
        self.write(f"[source:hand]\nwatch_devices = no\n[sink:databoom]\n{pauses}\n{sink}")

    @asynccontextmanager
    async def _open_spool(self, kind: Any, settings: Any, context: Any) -> AsyncIterator[Any]:
        async with kind.open(settings, context) as spool:
            self.spool = spool
            yield Watched(spool, lambda: self.board.wake())

    async def _run_hand(
        self, settings: NoSettings, context: SourceContext, *, task_status: trio.TaskStatus[None]
    ) -> None:
        self.outlet = context.outlet
        task_status.started()
        await trio.sleep_forever()

    def arrived(self, device: str, signal: str, value: Value, time: datetime) -> None:
        point = device, signal, value
        if (
            signal != HEARTBEAT
            and self.sent.get((device.removeprefix(f"{TEMPLATE}-"), signal, value)) != time
        ):
            self.wrong.append(f"{point} of {time}")
        self.recorded[point] += 1
        self.board.wake()

    async def emit(self, *points: Point) -> None:
        """Bring an event for each point, a millisecond after the one before."""
        await self.outlet.emit(*(event(self._happen(point), (point,)) for point in points))

    async def emit_together(self, *points: Point) -> None:
        """Bring one event with all of these, of one time."""
        time = self._happen(points[0])
        self.sent.update(dict.fromkeys(points, time))
        await self.outlet.emit(event(time, points))

    def _happen(self, point: Point) -> datetime:
        self.sent[point] = time = BEGIN + timedelta(milliseconds=len(self.sent) + 1)
        return time

    async def account(self, **expected: int) -> None:
        """Wait until the spool counts so for the sink; what is not named is 0."""
        found = None
        with trio.move_on_after(20):
            while True:
                changed = self.board.changed
                found = await self.count()
                if counts(found) == whole(expected):
                    return
                await changed.wait()
        raise AssertionError((found, self.board.states.get(SINK), self.emulator.requests[-3:]))

    async def count(self) -> Account:
        """Return what the spool counts for the sink now."""
        return next(
            each
            for each in await self.spool.accounts(["databoom", "keeper"])
            if each.sink == "databoom"
        )

    async def begun(self, count: int) -> None:
        """Wait until so many requests have come in."""
        await self.until(lambda: self.faults.begun >= count)

    def audited(self, **expected: int) -> None:
        """Prove, after a run, what became of each event; and that the keeper was given
        each once.
        """
        result = audit(self.folder / "state", ["databoom", "keeper"])
        assert result.problems == ()
        accounts = {account.sink: account for account in result.accounts}
        assert counts(accounts["databoom"]) == whole(expected)
        assert accounts["keeper"].delivered == accounts["databoom"].received == len(self.kept)
        assert len({stored.event.key for stored in self.kept}) == len(self.kept)
        assert self.wrong == []


def knobs(values: Mapping[str, Any]) -> set[str]:
    """Return the fields of the emulator's classes that these values set, those of each
    Fault among them.
    """
    usual = attrs.asdict(Fault())
    faults = [attrs.asdict(value) for value in values.values() if isinstance(value, Fault)]
    return {
        *values,
        *(name for fault in faults for name, value in fault.items() if value != usual[name]),
    }


def event(time: datetime, points: Sequence[Point]) -> Event:
    readings = tuple(Reading(signal, value, time) for _, signal, value in points)
    return Event(time.isoformat(), points[0][0], "k", time, readings)


def counts(account: Account) -> dict[str, int]:
    return {name: getattr(account, name) for name in whole({})}


def whole(expected: Mapping[str, int]) -> dict[str, int]:
    return {"delivered": 0, "filtered": 0, "dead": 0, "pending": 0, "expired": 0} | expected


@asynccontextmanager
async def open_world(
    folder: Path,
    clock: MockClock,
    *,
    faults: Mapping[str, Any] | None = None,
    rules: Mapping[str, Any] | None = None,
    settings: str = "",
    credential: str = f"token = {TOKEN}",
    tokens: Mapping[str, Collection[str]] | None = None,
    url: str | None = None,
    tls: ssl.SSLContext | None = None,
    run: bool = True,
) -> AsyncIterator[World]:
    """Open the emulator and run the bridge.

    :param settings: more lines for the section of the sink.
    :param url: of the push, if it is not that of the emulator.
    :param run: False leaves it to the test to run the bridge.
    """
    world = World(folder, clock)
    world.faults = WatchedFaults(lambda: world.board.wake(), faults or {})
    opened = open_emulator(
        tokens or {TOKEN: ("Publish", "Create"), READ: ("Read",)},
        apikeys={KEY},
        rules=Rules(**(rules or {})),
        faults=world.faults,
        arrived=world.arrived,
        now=world.now,
        tls=tls,
    )
    async with opened as emulator:
        world.emulator = emulator
        world.configure(f"url = {url or emulator.url}\n{credential}\n{settings}")
        async with world.running() if run else nullcontext():
            yield world
