"""The composition root, with tiny plugins: in which order it opens and stops, and what
a broken part does to others.
"""

from __future__ import annotations

import argparse
import json
import signal
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from attrs import define, evolve, field, frozen

import bridge_plugins.jsonlines
from bridge.admin.control import ask
from bridge.admin.settings import AdminSettings
from bridge.api import (
    Accepted,
    Arrival,
    Batch,
    CommandContext,
    Duration,
    Event,
    NetworkAddress,
    Page,
    Reading,
    Recovery,
    Retry,
    SinkKind,
    SourceContext,
    SourceKind,
    SpoolKind,
    SpoolUnavailable,
)
from bridge.cli.plugin_commands import all_commands
from bridge.config import Kinds
from bridge.daemon.config import Config, SinkConfig, SourceConfig, SpoolConfig, load
from bridge.daemon.instance import Bridge, state_folder
from bridge.daemon.run_bridge import run_bridge
from bridge.daemon.settings import (
    BridgeSettings,
    RecoverySettings,
    SinkSettings,
    SourceSettings,
    SpoolSettings,
    WebhookSettings,
)
from bridge.daemon.source import pressure
from bridge.daemon.systemd import Notifier
from bridge.flow.instances.board import State
from bridge.http.listeners import ListenError
from bridge.http.settings import ListenerSettings
from bridge.http.tls import TlsError
from bridge.plugins.discovery import Registry, load_plugins
from bridge.testing.fakes import START
from bridge.testing.memory import MemorySpool, MemoryStore
from tests.end_to_end.site import free_port


@frozen
class NoSettings:
    """A plugin without settings."""


def event(number: int, device: str = "d1") -> Event:
    return Event(f"{device}-{number}", device, "level", START, (Reading("level", number, START),))


class Manager(Notifier):
    """The service manager, which hears that the bridge is ready and that it stops."""

    def __init__(self, diary: list[str] | None = None) -> None:
        super().__init__(None)
        self.heard = [] if diary is None else diary
        self.is_ready = trio.Event()
        self.is_stopping = trio.Event()

    def ready(self, status: str) -> None:
        self.heard.append("READY")
        self.is_ready.set()

    def stopping(self) -> None:
        self.heard.append("STOPPING")
        self.is_stopping.set()


@define(eq=False)
class Site:
    """A bridge whose parts the test makes."""

    folder: Path
    diary: list[str] = field(factory=list)
    """What happened, in order."""
    spool: MemorySpool = field(factory=lambda: MemorySpool(MemoryStore()))
    sources: list[SourceConfig] = field(factory=list)
    sinks: list[SinkConfig] = field(factory=list)
    listeners: dict[str, ListenerSettings] = field(factory=dict)
    admin: AdminSettings = field(factory=AdminSettings)
    drain: Duration = Duration(20)

    def add_source(
        self,
        name: str,
        run: Any,
        *,
        path: str | None = None,
        recovery: Recovery[NoSettings] | None = None,
        on_stop: Any = None,
    ) -> None:
        core: SourceSettings = WebhookSettings(listener="public")
        if path is None:
            core = SourceSettings() if recovery is None else RecoverySettings()
        paths = None if path is None else lambda settings: [path]
        kind = SourceKind("fake", NoSettings, run, paths=paths, recovery=recovery, on_stop=on_stop)
        self.sources.append(SourceConfig(name, kind, core, NoSettings(), "office.ini:1"))

    def add_sink(self, name: str, open_sink: Any) -> None:
        kind = SinkKind("fake", NoSettings, open_sink)
        self.sinks.append(SinkConfig(name, kind, SinkSettings(), NoSettings(), "office.ini:1"))

    @asynccontextmanager
    async def open_spool(self, settings: NoSettings, context: Any) -> AsyncIterator[MemorySpool]:
        yield self.spool
        self.diary.append("spool closed")

    def spool_kind(self) -> SpoolKind[NoSettings]:
        return SpoolKind("memory", NoSettings, self.open_spool)

    def bridge(self) -> Bridge:
        return self.bridge_of(
            Config(
                bridge=BridgeSettings(state=self.folder / "state", drain=self.drain),
                admin=self.admin,
                spool=SpoolConfig(self.spool_kind(), SpoolSettings(), NoSettings(), "office.ini:1"),
                listeners=self.listeners,
                sources=tuple(self.sources),
                sinks=tuple(self.sinks),
                source_names=tuple(source.name for source in self.sources),
                sink_names=tuple(sink.name for sink in self.sinks),
            )
        )

    def bridge_of(self, config: Config) -> Bridge:
        return Bridge("office", config, {}, now=lambda: START, random=lambda: 0.5)

    @asynccontextmanager
    async def running(
        self, bridge: Bridge | None = None
    ) -> AsyncIterator[tuple[Bridge, Callable[[], None]]]:
        """Run a bridge from READY on; gives it with the function that sends SIGTERM,
        which also comes at the end.
        """
        bridge = bridge or self.bridge()
        manager = Manager(self.diary)
        sending, signals = trio.open_memory_channel[int](2)
        with trio.fail_after(60):  # of the clock that jumps, in most tests
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_bridge, bridge, manager, signals)
                await manager.is_ready.wait()

                def terminate() -> None:
                    sending.send_nowait(signal.SIGTERM)

                yield bridge, terminate
                terminate()

    async def delivered(self, *sinks: str) -> None:
        """Wait until nothing is pending for these sinks."""
        while True:
            accounts = {account.sink: account for account in await self.spool.accounts(sinks)}
            if all(
                account.received and not account.pending
                for account in map(accounts.__getitem__, sinks)
            ):
                return
            await self.spool.change()


@define(eq=False)
class Destination:
    """A sink that keeps what it takes."""

    taken: list[str] = field(factory=list)
    seconds: float = 0.0
    diary: list[str] = field(factory=list)

    @asynccontextmanager
    async def open(self, settings: NoSettings, context: Any) -> AsyncIterator[Destination]:
        try:
            yield self
        finally:
            self.diary.append("sink closed")

    async def deliver(self, batch: Batch) -> None:
        await trio.sleep(self.seconds)
        self.taken += [stored.event.key for stored in batch.events]
        self.diary.append(f"delivered {len(batch.events)}")


def emits(*events: Event) -> Any:
    """Make a source that brings some events and then nothing more."""

    async def run(
        settings: NoSettings, context: SourceContext, *, task_status: trio.TaskStatus[None]
    ) -> None:
        task_status.started()
        for each in events:
            await context.outlet.emit(each)
        await trio.sleep_forever()

    return run


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Give the exceptions of a group, however deep."""
    return [
        leaf
        for exc in group.exceptions
        for leaf in (leaves(exc) if isinstance(exc, BaseExceptionGroup) else [exc])
    ]


async def test_what_a_source_brings_reaches_every_sink(site: Site, autojump_clock):
    first, second = Destination(), Destination()
    site.add_source("sensors", emits(*map(event, range(100))))
    site.add_sink("first", first.open)
    site.add_sink("second", second.open)
    async with site.running():
        await site.delivered("first", "second")
    assert first.taken == second.taken == [f"d1-{number}" for number in range(100)]


async def test_it_stops_in_the_order_of_the_data_flow(site: Site, autojump_clock):
    class SlowSpool(MemorySpool):
        """Stores what it was asked to, as a writer's thread does, also when who asked
        has left.
        """

        async def append(self, arrivals: Sequence[Arrival]) -> int:
            stored = trio.Event()
            trio.lowlevel.spawn_system_task(self.store_slowly, arrivals, stored)
            await stored.wait()
            return len(arrivals)

        async def store_slowly(self, arrivals: Sequence[Arrival], stored: trio.Event) -> None:
            await trio.sleep(5)
            count = await MemorySpool.append(self, arrivals)
            site.diary.append(f"stored {count}")
            stored.set()

    async def run(
        settings: NoSettings, context: SourceContext, *, task_status: trio.TaskStatus[None]
    ) -> None:
        task_status.started()
        try:
            for number in range(3):
                await context.outlet.emit(event(number))
        finally:
            site.diary.append("source ended")

    site.spool = SlowSpool(MemoryStore())
    site.add_source("sensors", run)
    site.add_sink("databoom", Destination(seconds=9, diary=site.diary).open)
    async with site.running() as (_, terminate):
        # Then the first event is being delivered, the second is being stored, the third
        # was not emitted.
        await trio.sleep(6)
        terminate()
    assert site.diary == [
        "READY",
        "stored 1",
        "STOPPING",
        "source ended",
        "stored 1",  # what was emitted is stored, although its source has ended
        "delivered 1",
        "sink closed",
        "spool closed",
    ]


async def test_an_attempt_that_does_not_end_is_cut_off_when_drain_is_over(
    site: Site, autojump_clock
):
    site.drain = Duration(7)
    site.add_source("sensors", emits(event(1)))
    site.add_sink("databoom", Destination(seconds=25).open)
    async with site.running() as (_, terminate):
        await trio.sleep(1)
        terminate()
    assert trio.current_time() == 8
    (account,) = await site.spool.accounts(())
    assert account.pending == 1


async def test_a_source_that_crashes_is_started_again_while_others_run(site: Site, autojump_clock):
    starts: list[float] = []

    async def broken(
        settings: NoSettings, context: SourceContext, *, task_status: trio.TaskStatus[None]
    ) -> None:
        starts.append(trio.current_time())
        if len(starts) < 4:
            raise RuntimeError("no such topic")
        await emits(event(1, "broken"))(settings, context, task_status=task_status)

    destination = Destination()
    site.add_source("broken", broken)
    site.add_source("well", emits(event(1, "well")))
    site.add_sink("databoom", destination.open)
    async with site.running() as (bridge, _):
        await site.delivered("databoom")
        assert destination.taken == ["well-1"]
        state = bridge.board.states["source:broken"]
        assert state.problem
        assert state.text.startswith("failed: RuntimeError: no such topic; started again")
        while len(destination.taken) < 2:
            await site.spool.change()
    assert destination.taken == ["well-1", "broken-1"]
    assert starts == sorted(set(starts)), "it was started again without a pause"


async def test_what_a_run_leaves_is_there_in_the_next_and_at_a_stop(site: Site, autojump_clock):
    tried_twice = trio.Event()
    left: list[Any] = []

    async def run(
        settings: NoSettings, context: SourceContext, *, task_status: trio.TaskStatus[None]
    ) -> None:
        runs = context.between_runs.setdefault("runs", [])
        runs.append(trio.current_time())
        if len(runs) == 2:
            tried_twice.set()
        raise Retry("not yet", after=20)

    async def stop(settings: NoSettings, context: SourceContext) -> None:
        with trio.move_on_after(5, shield=True):
            await trio.sleep(1)
            left.extend(context.between_runs["runs"])
        raise RuntimeError("at a stop this is a line in the log")

    site.add_source("sensors", run, on_stop=stop)
    async with site.running():
        await tried_twice.wait()
    assert len(left) == 2


async def test_a_sink_that_cannot_be_opened_is_tried_again_and_gets_everything(
    site: Site, autojump_clock
):
    attempts = 0
    late, other = Destination(), Destination()

    @asynccontextmanager
    async def open_late(settings: NoSettings, context: Any) -> AsyncIterator[Destination]:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise ConnectionError("the broker is away")
        yield late

    site.add_source("sensors", emits(*map(event, range(10))))
    site.add_sink("late", open_late)
    site.add_sink("other", other.open)
    async with site.running() as (bridge, _):
        await site.delivered("other")
        assert (len(other.taken), late.taken) == (10, [])
        assert "ConnectionError: the broker is away" in bridge.board.problems["sink:late"].text
        await site.delivered("late")
        assert "sink:late" not in bridge.board.problems
    assert late.taken == other.taken


async def test_a_sink_that_no_section_names_is_reported_with_what_is_kept_for_it(
    site: Site, autojump_clock
):
    async with site.spool.subscribe("former", batch=1, start="beginning"):
        pass
    site.add_source("sensors", emits(event(1)))
    site.add_sink("databoom", Destination().open)
    async with site.running():
        await site.delivered("databoom")
    async with site.running() as (bridge, _):
        problem = bridge.board.problems["sink:former"]
    assert (
        problem.text == "orphaned: no section names it; 1 events wait for it, and it collects for "
        "orphan_grace; bridged sink rename or purge decides at once"
    )


async def test_a_webhook_in_flight_gets_its_200_when_the_bridge_is_stopped(site: Site):
    reached, release = trio.Event(), trio.Event()

    class HeldSpool(MemorySpool):
        async def append(self, arrivals: Sequence[Arrival]) -> int:
            reached.set()
            await release.wait()
            return await super().append(arrivals)

    async def run(
        settings: NoSettings, context: SourceContext, *, task_status: trio.TaskStatus[None]
    ) -> None:
        with context.mount("/hook", lambda request: Accepted((event(int(request.body)),))):
            task_status.started()
            await trio.sleep_forever()

    site.spool = HeldSpool(MemoryStore())
    port = free_port()
    site.listeners["public"] = ListenerSettings(address=NetworkAddress("127.0.0.1", port))
    site.add_source("sensors", run, path="/hook")
    answers: list[httpx.Response] = []

    async def post() -> None:
        async with httpx.AsyncClient() as client:
            answers.append(await client.post(f"http://127.0.0.1:{port}/hook", content=b"7"))

    async with trio.open_nursery() as caller, site.running() as (_, terminate):
        caller.start_soon(post)
        await reached.wait()
        terminate()
        while await accepts(port):
            await trio.lowlevel.checkpoint()
        assert answers == []
        release.set()
    assert [answer.status_code for answer in answers] == [200]
    assert answers[0].headers["connection"] == "close"
    assert [arrival.key for commit in site.spool.commits for arrival in commit] == ["d1-7"]
    assert site.diary == ["READY", "STOPPING", "spool closed"]


async def test_a_paused_source_answers_503_and_a_resumed_one_200_again(site: Site):
    async def run(
        settings: NoSettings, context: SourceContext, *, task_status: trio.TaskStatus[None]
    ) -> None:
        with context.mount("/hook", lambda request: Accepted((event(int(request.body)),))):
            task_status.started()
            await trio.sleep_forever()

    port = free_port()
    site.listeners["public"] = ListenerSettings(address=NetworkAddress("127.0.0.1", port))
    site.add_source("sensors", run, path="/hook")

    async def pause(request: str) -> None:
        asked = {"name": "sensors", "device": None, "why": ""}
        socket = site.folder / "state" / "control.sock"
        assert await ask(socket, "bridge", request, asked) == ["source:sensors"]

    async def posted(number: int) -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            return await client.post("/hook", content=str(number))

    async with site.running():
        await pause("pause")
        while (refused := await posted(1)).status_code != 503:
            await trio.lowlevel.checkpoint()
        assert int(refused.headers["retry-after"]) > 0
    async with site.running():
        assert (await posted(2)).status_code == 503
        await pause("resume")
        while (answer := await posted(3)).status_code == 503:
            await trio.lowlevel.checkpoint()
        assert answer.status_code == 200
    assert "d1-2" not in [arrival.key for commit in site.spool.commits for arrival in commit]


async def accepts(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True


async def test_the_admin_address_shows_the_running_bridge(site: Site):
    port = free_port()
    site.admin = AdminSettings(address=NetworkAddress("127.0.0.1", port))
    site.add_source("sensors", emits(event(1)))
    site.add_sink("databoom", Destination().open)
    async with site.running(), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await site.delivered("databoom")
        status = (await client.get("/status.json")).json()
        assert (await client.get("/readyz")).status_code == 200
    assert status["instance"] == "office"
    assert [
        (source["name"], source["plugin"], source["events"]) for source in status["sources"]
    ] == [("sensors", "fake", 1)]
    assert [(sink["name"], sink["state"], sink["delivered"]) for sink in status["sinks"]] == [
        ("databoom", "ready", 1)
    ]


async def test_a_listener_that_cannot_be_opened_ends_the_bridge_although_an_attempt_hangs(
    site: Site, autojump_clock
):
    """The attempt began before: its sink was open already, with a backlog."""
    delivering = trio.Event()

    class Hanging(Destination):
        async def deliver(self, batch: Batch) -> None:
            delivering.set()
            await trio.sleep_forever()

    async with site.spool.subscribe("databoom", batch=1, start="beginning"):
        pass
    site.add_source("sensors", emits(event(1)))
    async with site.running():
        while not site.spool.commits:
            await site.spool.change()
    site.sources.clear()
    site.add_sink("databoom", Hanging().open)
    site.drain = Duration(3)
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with taken:
        port = taken.socket.getsockname()[1]
        site.listeners["public"] = ListenerSettings(address=NetworkAddress("127.0.0.1", port))
        with trio.fail_after(60), pytest.raises(BaseExceptionGroup) as failed:
            await run_bridge(site.bridge(), Manager(), Never())
    (error,) = leaves(failed.value)
    assert isinstance(error, ListenError)
    assert f"127.0.0.1:{port}: another process listens there" in str(error)
    assert delivering.is_set()
    assert trio.current_time() == 3


async def test_a_certificate_that_cannot_be_used_ends_the_bridge_with_a_sentence(site: Site):
    broken = site.folder / "cert.pem"
    broken.write_text("nothing")
    address = NetworkAddress("127.0.0.1", free_port())
    site.listeners["public"] = ListenerSettings(address=address, certificate=broken, key=broken)
    with trio.fail_after(60), pytest.raises(BaseExceptionGroup) as failed:
        await run_bridge(site.bridge(), manager := Manager(), Never())
    (error,) = leaves(failed.value)
    assert isinstance(error, TlsError)
    assert str(broken) in str(error)
    assert manager.heard == []


class Never:
    """No signal comes."""

    def __aiter__(self) -> Never:
        return self

    async def __anext__(self) -> int:
        await trio.sleep_forever()
        raise AssertionError


async def test_a_signal_ends_a_start_that_hangs(site: Site, autojump_clock):
    class Full(MemorySpool):
        @asynccontextmanager
        async def subscribe(self, sink: str, **_: Any) -> AsyncIterator[Any]:
            raise SpoolUnavailable("the disk is full")
            yield

    site.spool = Full(MemoryStore())
    site.add_sink("databoom", Destination().open)
    sending, signals = trio.open_memory_channel[int](1)
    manager = Manager()
    bridge = site.bridge()
    with trio.fail_after(501):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_bridge, bridge, manager, signals)
            await trio.sleep(500)
            assert "the disk is full" in bridge.board.problems["sink:databoom"].text
            sending.send_nowait(signal.SIGTERM)
    assert trio.current_time() == 500
    assert manager.heard == []
    assert bridge.board.states["bridge"].text == "stopped before it was ready"


async def test_the_state_folder_is_made_for_this_user_only(site: Site, autojump_clock):
    async with site.running():
        assert stat.S_IMODE((site.folder / "state").stat().st_mode) == 0o700


def test_the_state_folder_is_the_configured_one_else_that_of_systemd_else_here(site: Site):
    config = site.bridge().config
    assert state_folder(config.bridge, {"STATE_DIRECTORY": "/elsewhere"}) == site.folder / "state"
    config = evolve(config, bridge=BridgeSettings())
    assert state_folder(config.bridge, {"STATE_DIRECTORY": "/elsewhere"}) == Path("/elsewhere")
    assert state_folder(config.bridge, {}) == Path("state")


async def test_a_copy_of_jsonlines_in_a_plugin_folder_is_a_sink_of_its_own(site: Site):
    folder = site.folder / "plugins"
    folder.mkdir(mode=0o755)
    original = Path(bridge_plugins.jsonlines.__file__).read_text("utf-8")
    (folder / "lines.py").write_text(
        original.replace('SinkKind("jsonlines"', 'SinkKind("lines"'), "utf-8"
    )
    (folder / "lines.py").chmod(0o644)
    registry = load_plugins([folder])
    assert registry.unusable == {}
    fake = SourceKind("fake", NoSettings, emits(event(1), event(2)))
    config = site.folder / "office.ini"
    config.write_text(
        f"[bridge]\nstate = {site.folder}/state\n[spool]\nplugin = memory\n"
        f"[source:fake]\n[sink:lines]\npath = {site.folder}/out.jsonl\n"
    )
    loaded = load(
        config, Kinds({"fake": fake}, registry.sinks, {"memory": site.spool_kind()}), environ={}
    )
    assert loaded.config is not None, loaded.diagnostics
    async with site.running(site.bridge_of(loaded.config)):
        await site.delivered("lines")
    lines = (site.folder / "out.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["event"]["key"] for line in lines] == ["d1-1", "d1-2"]


class Record:
    """A vendor's record of one device, which has the events 0 to 9."""

    async def parts(self) -> Sequence[str]:
        return ["d1"]

    async def page(self, part: str, start: datetime, end: datetime, cursor: str | None) -> Page:
        return Page(tuple(map(event, range(10))))


@asynccontextmanager
async def open_record(settings: NoSettings, context: SourceContext) -> AsyncIterator[Record]:
    yield Record()


async def gap_told(bridge: Bridge, text: str) -> None:
    while (
        text
        not in (told := bridge.board.states.get("source:sensors/gap", State("", False, START))).text
    ):
        assert not told.problem, told
        await trio.sleep(1)


async def test_after_a_start_the_gap_of_a_source_is_read_back_and_what_was_received_is_known(
    site: Site,
):
    with_history = Recovery[NoSettings](open_record, lambda settings: None)
    site.add_source("sensors", emits(event(3), event(4)), recovery=with_history)
    site.add_sink("databoom", Destination().open)
    async with site.running():
        await site.delivered("databoom")
    async with site.running() as (bridge, _):
        await gap_told(bridge, "read back")
        told = bridge.board.states["source:sensors/gap"].text
    assert told == "gap 0 s: read back 1 devices, 10 events, 8 of them new"


async def test_a_command_has_the_running_bridge_read_back_a_span(
    site: Site, capsys: pytest.CaptureFixture[str]
):
    destination = Destination()
    with_history = Recovery[NoSettings](open_record, lambda settings: None)
    kind = SourceKind("fake", NoSettings, emits(), recovery=with_history)
    site.add_source("sensors", emits(), recovery=with_history)
    site.add_sink("databoom", destination.open)
    (command,) = all_commands(Registry(sources={"fake": kind}))
    async with site.running():
        asking = partial(ask, site.folder / "state" / "control.sock", "source:sensors")
        context = CommandContext("sensors", None, asking, lambda: START)
        parser = argparse.ArgumentParser()
        command.arguments(parser)
        begin = ["--from", "2025-01-01"]
        assert await command.run(context, parser.parse_args([*begin, "--dry-run"])) == 0
        assert destination.taken == []
        assert await command.run(context, parser.parse_args(begin)) == 0
        await site.delivered("databoom")
    assert len(destination.taken) == 10
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == [
        "d1",
        "would read 1 devices from 2025-01-01 00:00:00 UTC to 2026-01-02 03:04:05 UTC",
    ]
    assert printed[-1] == "asked for: read back 1 devices, 10 events, 10 of them new"


async def test_a_plugin_may_ask_for_what_happened_to_be_read_back(site: Site):
    async def run(
        settings: NoSettings, context: SourceContext, *, task_status: trio.TaskStatus[None]
    ) -> None:
        task_status.started()
        context.recover("nothing is known of any receipt, so nothing can be asked for")
        context.recover("the connector was disabled", since=START - timedelta(hours=1))
        await trio.sleep_forever()

    site.add_source(
        "sensors", run, recovery=Recovery[NoSettings](open_record, lambda settings: None)
    )
    site.add_sink("databoom", Destination().open)
    async with site.running() as (bridge, _):
        await gap_told(bridge, "read back")
        assert bridge.board.states["source:sensors/gap"].text.startswith(
            "the connector was disabled: read back 1 devices"
        )


async def test_reading_back_yields_to_sinks_that_are_well_and_not_to_one_that_is_away(site: Site):
    class Away(Destination):
        async def deliver(self, batch: Batch) -> None:
            raise Retry("connection refused")

    site.add_source(
        "sensors",
        emits(*(event(number, "live") for number in range(600))),
        recovery=Recovery[NoSettings](open_record, lambda settings: None),
    )
    site.add_sink("away", Away().open)
    async with site.running() as (bridge, _):
        while "sink:away" not in bridge.board.problems:
            await trio.sleep(0.05)
        spool = site.spool
        assert await pressure(bridge, spool) == 0
        assert max(account.pending for account in await spool.accounts(["away"])) > 0
