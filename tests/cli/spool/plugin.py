"""What the drop-in file of the tests hands over: a spool in memory that outlives the
process that a command would be, a source and a sink.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define, field, frozen

from bridge.api import Batch, SinkContext, SinkKind, SourceContext, SourceKind, SpoolKind, Stored
from bridge.api.spool import SpoolContext, SpoolError
from bridge.testing.memory import MemorySpool, MemoryStore

DROP_IN = """\
from tests.cli.spool import plugin
from bridge.api import hookimpl

BRIDGE_API = (1, 2)


@hookimpl
def bridge_spool_kinds():
    return [plugin.MEMORY]


@hookimpl
def bridge_source_kinds():
    return [plugin.QUIET]


@hookimpl
def bridge_sink_kinds():
    return [plugin.SHELF, plugin.DUMB]
"""


@define(eq=False)
class World:
    """What one state folder holds, and what its sinks took."""

    store: MemoryStore = field(factory=lambda: MemoryStore(4))
    spool: MemorySpool | None = None
    """While a process has it open."""
    refuse_writes: str | None = None
    taken: list[str] = field(factory=list)
    """Keys of the events that were delivered."""
    runs: int = 0
    """Runs of a source that have begun."""
    running: int = 0
    """Those that have not ended."""
    changed: threading.Condition = field(factory=threading.Condition)
    """The bridge runs in a thread of its own."""

    def count(self, *, runs: int = 0, running: int) -> None:
        """Note that a run begins or ends."""
        with self.changed:
            self.runs += runs
            self.running += running
            self.changed.notify_all()

    def becomes(self, *, running: int) -> bool:
        """Wait until so many runs have not ended."""
        with self.changed:
            return self.changed.wait_for(lambda: self.running == running, timeout=10)


WORLDS: dict[Path, World] = {}


@frozen
class NoSettings:
    """A plugin without settings."""


@frozen
class ShelfSettings:
    """A sink with a setting that its preview shows."""

    shelf: str = "top"


@asynccontextmanager
async def open_memory(settings: NoSettings, context: SpoolContext) -> AsyncIterator[MemorySpool]:
    world = WORLDS[context.directory]
    if world.spool is not None:
        raise SpoolError("the spool is in use by process 7; end that one")
    world.spool = MemorySpool(world.store)
    world.spool.refuse_writes = world.refuse_writes
    try:
        await trio.lowlevel.checkpoint()
        yield world.spool
    finally:
        world.spool = None


async def quiet(
    settings: NoSettings, context: SourceContext, *, task_status: trio.TaskStatus[None]
) -> None:
    (world,) = WORLDS.values()
    world.count(runs=1, running=1)
    try:
        context.report("listens")
        task_status.started()
        await trio.sleep_forever()
    finally:
        world.count(running=-1)


@define(eq=False)
class Shelf:
    """A destination that takes everything."""

    async def deliver(self, batch: Batch) -> None:
        await trio.lowlevel.checkpoint()
        (world,) = WORLDS.values()
        world.taken += [stored.event.key or "" for stored in batch.events]


@asynccontextmanager
async def open_shelf(settings: Any, context: SinkContext) -> AsyncIterator[Shelf]:
    yield Shelf()


def preview(settings: ShelfSettings, stored: Stored) -> str:
    if stored.event.device == "odd":
        raise KeyError("odd")
    return f"put {stored.event.key} on the {settings.shelf} shelf"


MEMORY = SpoolKind("memory", NoSettings, open_memory)
QUIET = SourceKind("quiet", NoSettings, quiet)
SHELF = SinkKind("shelf", ShelfSettings, open_shelf, preview=preview)
DUMB = SinkKind("dumb", NoSettings, open_shelf)
