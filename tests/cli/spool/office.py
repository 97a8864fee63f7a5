"""A bridge of the tests' own with its terminal: commands run as their user runs them,
beside a bridge that runs or without one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
from attrs import define, field

from bridge.api import Arrival, Event, Reading, encode
from bridge.api.spool import DeadLetter, Lease, Parking, Spool, Subscription
from bridge.cli.commands import run
from bridge.cli.loading import load_config
from bridge.daemon.instance import Bridge
from bridge.daemon.run_bridge import open_spool, run_bridge
from bridge.daemon.systemd import Notifier

TIME = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)

CONFIG = """\
[bridge]
state = STATE
plugins = PLUGINS
drain = 1s
[spool]
plugin = ENGINE
[source:towers]
plugin = quiet
[sink:shelf]
plugin = shelf
[sink:dumb]
plugin = dumb
"""


class Manager(Notifier):
    """Hears that the bridge is ready."""

    def __init__(self) -> None:
        super().__init__(None)
        self.is_ready = threading.Event()

    def ready(self, status: str) -> None:
        self.is_ready.set()


@define(eq=False)
class Office:
    """The folder, and what the last command printed."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    engine: str = "memory"
    out: str = ""
    err: str = ""
    bridge: Bridge | None = None
    """While one runs."""
    _numbers: Iterator[int] = field(factory=lambda: iter(range(1, 10**9)))

    @property
    def config(self) -> Path:
        return self.folder / "office.ini"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def write(self, text: str = CONFIG) -> None:
        self.config.touch(0o600)
        text = text.replace("STATE", str(self.state)).replace("ENGINE", self.engine)
        self.config.write_text(text.replace("PLUGINS", str(self.folder / "plugins")), "utf-8")

    def __call__(self, *arguments: str) -> int:
        """Run a command in this process, with the configuration."""
        code = run([*arguments, "--config", str(self.config)])
        self.out, self.err = self.capture.readouterr()
        return code

    def json(self, *arguments: str) -> Any:
        """Run a command that succeeds, and read the JSON that it prints."""
        assert self(*arguments, "--json") == 0, self.err
        return orjson.loads(self.out)

    def usage(self, *arguments: str) -> str:
        """Run what argparse refuses, and return what is printed about it."""
        with pytest.raises(SystemExit) as refused:
            run([*arguments, "--config", str(self.config)])
        assert refused.value.code == 2
        return self.capture.readouterr().err

    def in_spool(self, work: Callable[[Spool], Awaitable[object]]) -> None:
        """Open the spool as a bridge would, and do something in it."""

        async def main() -> None:
            config = load_config(self.config)
            assert config is not None
            async with open_spool(Bridge("office", config, {})) as spool:
                await work(spool)

        trio.run(main)

    def bury(
        self,
        *devices: str,
        sink: str = "shelf",
        reason: str = "400: no such signal",
        source: str = "towers",
    ) -> None:
        """Let an event of each of these devices be a dead letter."""

        async def work(spool: Spool) -> None:
            async with spool.subscribe(sink, batch=1) as subscription:
                for device in devices:
                    number = next(self._numbers)
                    await spool.append([self.arrival(device, number, source)])
                    letter = DeadLetter(0, reason, 400, 3, TIME.replace(minute=number % 60))
                    lease = await lease_of(subscription, device)
                    await lease.settle(1, dead=[letter])

        self.in_spool(work)

    def park(self, *devices: str, sink: str = "shelf", why: str = "404: no such device") -> None:
        """Let an event of each of these devices wait apart for an hour."""

        async def work(spool: Spool) -> None:
            async with spool.subscribe(sink, batch=1) as subscription:
                for device in devices:
                    await spool.append([self.arrival(device, next(self._numbers))])
                    lease = await lease_of(subscription, device)
                    await lease.settle(1, park=[Parking(device, (0,), why, 3600.0, attempts=2)])

        self.in_spool(work)

    def begin(self, *sinks: str, stored: int = 0, delivered: bool = False) -> None:
        """Let the spool know sinks, owing what is stored, or through with it."""

        async def work(spool: Spool) -> None:
            for sink in sinks:
                async with spool.subscribe(sink, batch=100, start="beginning"):
                    pass
            for _ in range(stored):
                await spool.append([self.arrival("d1", next(self._numbers))])
            for sink in sinks if delivered else ():
                async with spool.subscribe(sink, batch=100) as subscription:
                    lease = await subscription.take()
                    await lease.settle(len(lease.events))

        self.in_spool(work)

    def arrival(self, device: str, number: int, source: str = "towers") -> Arrival:
        received = TIME.replace(minute=number % 60)
        event = Event(
            f"k{number}", device, "level", received, (Reading("level", number, received),)
        )
        return Arrival(source, event.key, device, encode(event), received)

    @contextmanager
    def running(self) -> Iterator[Bridge]:
        """Let a bridge run in a thread of its own while the block is entered."""
        config = load_config(self.config)
        assert config is not None
        bridge = Bridge("office", config, {})
        manager = Manager()
        sending, signals = trio.open_memory_channel[int](1)
        token: list[trio.lowlevel.TrioToken] = []
        failed: list[BaseException] = []

        async def main() -> None:
            token.append(trio.lowlevel.current_trio_token())
            await run_bridge(bridge, manager, signals)

        def serve() -> None:
            try:
                trio.run(main)
            except BaseException as exc:  # shown by the test
                failed.append(exc)
                manager.is_ready.set()

        thread = threading.Thread(target=serve)
        thread.start()
        assert manager.is_ready.wait(30)
        if failed:
            raise failed[0]
        self.bridge = bridge
        try:
            yield bridge
        finally:
            self.bridge = None
            token[0].run_sync_soon(sending.send_nowait, signal.SIGTERM)
            thread.join(30)
        if failed:
            raise failed[0]


async def lease_of(subscription: Subscription, device: str) -> Lease:
    """Deliver what waits before the first event of a device."""
    while (lease := await subscription.take()).events[0].event.device != device:
        await lease.settle(1)
    return lease
