"""The whole bridge in this process, for tests of what goes wrong between it and a
vendor.

    daemon = Daemon(tmp_path, mock_clock)  # a clock that ticks, and jumps when told
    # A listener is there, and a sink that keeps everything.
    daemon.write("[source:sensors]\\nplugin = ...")
    async with daemon.running():           # from READY to SIGTERM
        await daemon.says("source:sensors", "refused", problem=True)
        daemon.pass_time(300)
        await daemon.delivered(3)
        await daemon.clean()               # no problem is left
    daemon.proved(3)                       # by the rows of the spool: each once

Nothing polls: a wait ends by a report on the board or by a delivery, or fails with what
the board said last.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio
from attrs import define, field, frozen
from trio.testing import MockClock

from bridge.api import Batch, Problem, Report, SinkContext, SinkKind, Stored
from bridge.config import Kinds
from bridge.daemon.config import load
from bridge.daemon.instance import Bridge
from bridge.daemon.run_bridge import run_bridge
from bridge.daemon.systemd import Notifier
from bridge.flow.instances.board import Board
from bridge.plugins.discovery import load_plugins
from bridge.spool.audit import audit
from tests.end_to_end.site import free_port

BEGIN = datetime(2026, 5, 4, 8, tzinfo=UTC)
PATIENCE = 60.0  # seconds for anything that is waited for, on a busy machine


class WatchedBoard(Board):
    """A board that wakes who waits for a report, and knows all that was ever told."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self.changed = trio.Event()
        self.told: list[tuple[str, str, bool]] = []  # place, text, whether it was a problem

    def report(self, instance: str) -> Report:
        pin = super().report(instance)

        def report(text: str, *, problem: Problem | None = None, topic: str = "") -> None:
            pin(text, problem=problem, topic=topic)
            place = f"{instance}/{topic}" if topic else instance
            self.told.append((place, text, problem is not None))
            self.wake()

        return report

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


@frozen
class WatchedBridge(Bridge):
    board: WatchedBoard = field(init=False)

    @board.default
    def _empty_board(self) -> WatchedBoard:
        return WatchedBoard(self.now)


@frozen
class NoSettings:
    """Of the sink ``keeper``."""


class Ready(Notifier):
    def __init__(self) -> None:
        super().__init__(None)
        self.event = trio.Event()

    def ready(self, status: str) -> None:
        self.event.set()


@define(eq=False)
class Daemon:
    """A bridge: its folder, its configuration, its clock, and what it has delivered in
    all its runs.
    """

    folder: Path
    clock: MockClock
    port: int = field(factory=free_port)
    kept: list[Stored] = field(factory=list)
    """What the sink ``keeper`` was given, in order."""
    board: WatchedBoard = field(init=False)
    """Of the present run."""

    def __attrs_post_init__(self) -> None:
        self.clock.rate = 1.0
        self.board = WatchedBoard(self.now)

    @property
    def url(self) -> str:
        """Of the listener ``public``."""
        return f"http://127.0.0.1:{self.port}"

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.clock.current_time())

    def pass_time(self, seconds: float) -> None:
        """Let time pass at once. Whatever waits with a shorter deadline gives up."""
        self.clock.jump(seconds)

    def write(self, sections: str, *, listener: str = "") -> None:
        """Write the configuration: these sections, with more settings for
        ``[listener:public]``.
        """
        config = self.folder / "bridge.ini"
        config.touch(0o600)
        config.write_text(
            f"[bridge]\nstate = {self.folder}/state\n[sink:keeper]\n"
            f"[listener:public]\naddress = 127.0.0.1:{self.port}\n{listener}\n{sections}\n"
        )

    def kinds(self) -> Kinds:
        """Give what the sections may name."""
        found = load_plugins(())
        sinks = {**found.sinks, "keeper": SinkKind("keeper", NoSettings, self._open_keeper)}
        return Kinds(found.sources, sinks, found.spools)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the bridge from READY until the block is left, then stop it in order."""
        loaded = load(self.folder / "bridge.ini", self.kinds(), environ={})
        assert loaded.config is not None, loaded.diagnostics
        bridge = WatchedBridge("office", loaded.config, {}, now=self.now)
        self.board = bridge.board
        ready = Ready()
        sending, signals = trio.open_memory_channel[int](1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_bridge, bridge, ready, signals)
            await ready.event.wait()
            yield
            sending.send_nowait(signal.SIGTERM)

    @asynccontextmanager
    async def _open_keeper(
        self, _settings: NoSettings, _context: SinkContext
    ) -> AsyncIterator[Daemon]:
        yield self

    async def deliver(self, batch: Batch) -> None:
        """Keep a batch, as the sink."""
        self.kept.extend(batch.events)
        self.board.wake()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until this holds; looked at after each report and each delivery."""
        with trio.move_on_after(PATIENCE) as waiting:
            while not holds():
                await self.board.changed.wait()
        assert not waiting.cancelled_caught, (self.board.states, len(self.kept))

    async def says(self, instance: str, text: str, *, problem: bool) -> None:
        """Wait until the board says this of an instance, such as ``source:sensors`` or
        ``source:sensors/gap``.
        """

        def said() -> bool:
            state = self.board.states.get(instance)
            if state is None or text not in state.text:
                return False
            return (state.problem is not None) is problem

        await self.until(said)

    async def clean(self) -> None:
        """Wait until the board shows no problem."""
        await self.until(lambda: not self.board.problems)

    async def delivered(self, count: int) -> list[Stored]:
        """Wait until so many events were delivered, and give them."""
        await self.until(lambda: len(self.kept) >= count)
        return self.kept

    def proved(self, count: int) -> None:
        """Prove, after a run, that the spool has so many events, and that each was
        delivered, once.
        """
        result = audit(self.folder / "state", ["keeper"])
        assert result.problems == ()
        (account,) = result.accounts
        assert (account.received, account.delivered, account.dead, account.pending) == (
            count,
            count,
            0,
            0,
        )
        # An event without a key may be like another: it is told by its sequence.
        known = {(stored.source, stored.event.key or stored.sequence) for stored in self.kept}
        assert len(known) == len(self.kept) == count
