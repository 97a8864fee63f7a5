"""Two hours without a bridge, and a kill while it catches up: nothing that happened
meanwhile stays lost.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from bridge.admin.control import ask
from bridge.api import Value
from bridge.config import Kinds
from bridge.daemon.config import load
from bridge.daemon.instance import Bridge
from bridge.daemon.run_bridge import run_bridge
from bridge.daemon.systemd import Notifier
from bridge.plugins.discovery import load_plugins
from bridge.spool.audit import audit
from bridge_plugins.databoom.emulator.server import SCOPES, Rules
from bridge_plugins.databoom.emulator.server import open_emulator as open_databoom
from bridge_plugins.disruptive.emulator.server import (
    Account,
    Cloud,
    Connector,
    Delivery,
    open_cloud,
)
from bridge_plugins.disruptive.emulator.server import Rules as CloudRules
from bridge_plugins.idigi.emulator.content.topics import Occurrence
from bridge_plugins.idigi.emulator.server import Emulator as DigiCloud
from bridge_plugins.idigi.emulator.server import open_emulator as open_idigi
from tests.end_to_end.site import Site, free_port

BEGIN = datetime(2026, 5, 4, 8, tzinfo=UTC)
DOWN = 7200.0  # seconds
STEPS = 100
SENSORS = 40
GATEWAYS = 10
EVENTS = 10_000
LATEST = 2.0  # seconds that a live event may take while the bridge catches up
SLOWNESS = 0.33  # virtual seconds in a second: the machine of the tests may be busy

Point = tuple[str, str, datetime]
"""Device, signal, time of measurement."""


@define(eq=False)
class Ledger:
    """What happened in the clouds, and what of it arrived."""

    clock: MockClock
    happened: dict[Point, float] = field(factory=dict)
    """To the value."""
    arrived: dict[Point, float] = field(factory=dict)
    """To the time of its first arrival."""
    deliveries: Counter[Point] = field(factory=Counter)
    wrong: list[str] = field(factory=list)
    _changed: trio.Event = field(factory=trio.Event)

    def happen(self, device: str, signal_: str, value: float, time: datetime) -> None:
        assert (device, signal_, time) not in self.happened
        self.happened[device, signal_, time] = value

    def arrive(self, device: str, signal_: str, value: Value, time: datetime) -> None:
        point = device, signal_, time
        if self.happened.get(point) != value:
            self.wrong.append(f"{point} arrived with {value}")
        self.deliveries[point] += 1
        self.arrived.setdefault(point, self.clock.current_time())
        self._changed.set()
        self._changed = trio.Event()

    async def arrived_all(self, points: Collection[Point]) -> None:
        """Wait until these have arrived."""
        while not self.arrived.keys() >= set(points):
            await self._changed.wait()


@define(eq=False)
class World:
    """The clouds around the bridge, and its configuration."""

    folder: Path
    ledger: Ledger
    sensors: Cloud
    connector: Connector
    digi: DigiCloud
    port: int
    databoom_url: str
    count: int = 0

    def now(self) -> datetime:
        return now_of(self.ledger.clock)

    def moment(self) -> datetime:
        """Give a time that no other event has: now, but for some milliseconds."""
        whole = self.now().replace(microsecond=0)
        return whole + timedelta(milliseconds=self.count % 1000)

    def sensor_event(self, device: int, name: str = "sensor") -> Point:
        """Let a sensor measure something."""
        self.count += 1
        time = self.moment()
        point = f"{name}{device:03d}", "temperature", time
        self.ledger.happen(*point[:2], self.count, time)
        self.connector.project.publish("temperature", point[0], {"value": self.count}, time=time)
        return point

    async def gateway_events(self, *gateways: int) -> list[Point]:
        """Let gateways measure something."""
        points, occurrences = [], []
        for gateway in gateways:
            self.count += 1
            device = f"00000000-00000000-00409DFF-FF{gateway:06X}"
            time = self.moment()
            points.append((device, "level", time))
            self.ledger.happen(device, "level", self.count, time)
            entity = {
                "streamId": f"{device}/level",
                "streamType": "LONG",
                "data": self.count,
                "timestamp": round(time.timestamp() * 1000),
            }
            occurrences.append(
                Occurrence(f"DataPoint/{device}/level", "DataPoint", entity, "INSERTION")
            )
        await self.digi.inject(occurrences)
        return points

    def write(self, **sensors: str) -> Path:
        account = self.sensors.accounts[0]
        more = "\n".join(f"{key} = {value}" for key, value in sensors.items())
        path = self.folder / "bridge.ini"
        path.touch(0o600)
        path.write_text(f"""
[bridge]
state = {self.folder}/state
[listener:public]
address = 127.0.0.1:{self.port}
[source:sensors]
plugin = disruptive
listener = public
secret = {"s" * 32}
url = {self.sensors.rest_url}
token_url = {self.sensors.token_url}
project = {self.connector.project.id}
service_account_key = {account.key}
service_account_secret = {account.secret}
service_account_email = {account.email}
{more}
[source:gateways]
plugin = idigi
url = {self.digi.rest_url}
insecure = yes
push_port = {self.digi.push_port}
username = user
password = pass
topics = DataPoint
batch_duration = 0s
[sink:databoom]
plugin = databoom
url = {self.databoom_url}
token = t
""")
        return path


def now_of(clock: MockClock) -> datetime:
    return BEGIN + timedelta(seconds=clock.current_time())


@asynccontextmanager
async def open_world(folder: Path, clock: MockClock, *, delivery: Delivery) -> AsyncIterator[World]:
    ledger = Ledger(clock)
    port = free_port()

    def now() -> datetime:
        return now_of(clock)

    async with (
        open_databoom(
            {"t": SCOPES},
            rules=Rules(keep_points=False),
            arrived=ledger.arrive,
            keep_log=False,
            now=now,
        ) as databoom,
        open_idigi(now=now) as digi,
        open_cloud(
            accounts=[Account()],
            rules=CloudRules(page_size=100),
            asymmetric=False,
            delivery=delivery,
            now=now,
        ) as sensors,
    ):
        project = sensors.add_project()
        url = f"http://127.0.0.1:{port}/disruptive"
        connector = sensors.add_connector(project, url, secret="s" * 32)
        for number in range(SENSORS):
            project.add_device(f"sensor{number:03d}", "temperature")
        yield World(folder, ledger, sensors, connector, digi, port, databoom.url)


class Ready(Notifier):
    def __init__(self) -> None:
        super().__init__(None)
        self.event = trio.Event()

    def ready(self, status: str) -> None:
        self.event.set()


@asynccontextmanager
async def running(config: Path, now: Callable[[], datetime]) -> AsyncIterator[Bridge]:
    """Run a bridge of this process from READY until the block is left, then stop it in
    order.
    """
    registry = load_plugins(())
    kinds = Kinds(registry.sources, registry.sinks, registry.spools, registry.unusable)
    loaded = load(config, kinds, environ={})
    assert loaded.config is not None, loaded.diagnostics
    bridge = Bridge("office", loaded.config, {}, now=now)
    ready = Ready()
    sending, signals = trio.open_memory_channel[int](1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_bridge, bridge, ready, signals)
        await ready.event.wait()
        yield bridge
        sending.send_nowait(signal.SIGTERM)


@pytest.mark.slow
def test_after_two_hours_all_arrives_once_and_live_is_not_late(tmp_path: Path):
    clock = MockClock(rate=SLOWNESS)
    trio.run(two_hours, clock, tmp_path, clock=clock)


async def two_hours(clock: MockClock, folder: Path) -> None:
    # DT tries each device's oldest event again every ten minutes, for twelve hours.
    async with open_world(folder, clock, delivery=Delivery(spacing=600.0)) as world:
        config = world.write(backfill_after="10m")
        async with running(config, world.now):
            await world.digi.recorder.until(lambda: world.digi.recorder.logins > 0)
            world.sensor_event(0)
            await world.gateway_events(0)
            await world.ledger.arrived_all(world.ledger.happened)

        for _ in range(STEPS):
            clock.jump(DOWN / STEPS)
            for _ in range(EVENTS // STEPS // 2):
                world.sensor_event(world.count % SENSORS)
            await world.gateway_events(
                *(number % GATEWAYS for number in range(EVENTS // STEPS // 2))
            )
        assert len(world.ledger.happened) - len(world.ledger.arrived) == EVENTS

        async with running(config, world.now) as bridge:
            live: dict[Point, float] = {}
            async with trio.open_nursery() as nursery:
                nursery.start_soon(go_on_living, world, live)
                await caught_up(bridge)
                nursery.cancel_scope.cancel()
            await world.ledger.arrived_all(live)
            late = {point: world.ledger.arrived[point] - began for point, began in live.items()}
            assert max(late.values()) <= LATEST
            assert len(live) > 20
            missed = len(world.ledger.happened) - len(world.ledger.arrived)
            assert missed < EVENTS // STEPS, (
                "only the last moment before the start may be left to DT"
            )
            clock.jump(1200)  # DT tries again: all but that moment is known
            await world.connector.drained()
            await world.ledger.arrived_all(world.ledger.happened)
    assert world.ledger.wrong == []
    assert world.connector.lost == set()
    assert set(world.ledger.deliveries.values()) == {1}
    result = audit(folder / "state", ["databoom"])
    assert result.problems == ()
    (account,) = result.accounts
    assert (account.received, account.delivered) == (
        len(world.ledger.happened),
        len(world.ledger.happened),
    )


async def go_on_living(world: World, live: dict[Point, float]) -> None:
    """Let sensors and gateways that were quiet measure something now and then."""
    number = 0
    while True:
        began = world.ledger.clock.current_time()
        number += 1
        live[world.sensor_event(number % 5, "live")] = began
        for point in await world.gateway_events(100 + number % 5):
            live[point] = began
        await trio.sleep(0.5)


async def caught_up(bridge: Bridge) -> None:
    """Wait until what was missed is read back."""
    while (
        told := bridge.board.states.get("source:sensors/gap")
    ) is None or ": read back " not in told.text:
        assert told is None or not told.problem, told
        await trio.sleep(0.25)


@pytest.mark.slow
async def test_killed_in_the_middle_of_a_backfill_nothing_changes(site: Site):
    kills = 6
    arrived: Counter[tuple[str, datetime]] = Counter()
    changed = trio.Event()

    def arrive(device: str, signal_: str, value: Value, time: datetime) -> None:
        nonlocal changed
        arrived[device, time] += 1
        changed.set()
        changed = trio.Event()

    async with (
        open_databoom(
            {"t": SCOPES},
            rules=Rules(keep_points=False),
            arrived=arrive,
            keep_log=False,
            tls=site.server_tls(),
        ) as databoom,
        open_cloud(tls=site.server_tls()) as cloud,
    ):
        project = cloud.add_project()
        begin = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
        happened = set()
        for number in range(SENSORS):
            for count in range(50):
                time = begin + timedelta(seconds=140 * count, milliseconds=number)
                project.publish("temperature", f"sensor{number:03d}", {"value": count}, time=time)
                happened.add((f"sensor{number:03d}", time))
        site.sections |= {
            "source:sensors": {
                "plugin": "disruptive",
                "listener": "public",
                "secret": "s" * 32,
                "url": cloud.rest_url,
                "token_url": cloud.token_url,
                "ca_file": str(site.ca_file),
                "project": project.id,
                "service_account_key": cloud.accounts[0].key,
                "service_account_secret": cloud.accounts[0].secret,
                "service_account_email": cloud.accounts[0].email,
                "page_size": "5",
            },
            "sink:databoom": {
                "plugin": "databoom",
                "url": databoom.url,
                "token": "t",
                "ca_file": str(site.ca_file),
            },
        }
        site.start()
        await site.ready()
        span = {
            "from": begin.isoformat(),
            "to": (begin + timedelta(hours=2)).isoformat(),
            "dry_run": False,
        }
        await ask(site.state / "control.sock", "source:sensors", "backfill", span)
        for number in range(1, kills + 1):
            while len(arrived) < number * len(happened) // (kills + 1):
                await changed.wait()
            assert len(arrived) < len(happened), "it was not killed in the middle"
            site.kill()
            site.start()
            await site.ready()
        with trio.fail_after(60):
            while arrived.keys() < happened:
                await changed.wait()
        assert await site.stop() == 0
    assert arrived.keys() == happened
    result = audit(site.state, ["databoom"])
    assert result.problems == ()
    (account,) = result.accounts
    assert (account.received, account.delivered) == (len(happened), len(happened))
    assert site.log.count("asked for: read back 40 devices, ") == 1
