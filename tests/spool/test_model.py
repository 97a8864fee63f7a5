"""Whatever is done to a spool, in any order, it agrees with a model of lists."""

import shutil
import sqlite3
import tempfile
from contextlib import AbstractAsyncContextManager, AsyncExitStack, closing
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.api import Duration
from bridge.api.spool import SpoolContext
from bridge.spool import SqliteSettings
from bridge.spool.audit import audit
from bridge.spool.sqlite import SqliteSpool, open_sqlite
from bridge.testing.arrivals import TIME
from bridge.testing.fakes import FakeReport, FixedClock
from bridge.testing.memory import MemoryStore, open_memory_spool
from tests.spool.drawn import lives
from tests.spool.life import Engine, Life
from tests.spool.model import BATCH, LANES, SINKS, WANTED, Model


def memory(folder: Path) -> Engine:
    store = MemoryStore(LANES)
    return Engine(lambda: open_memory_spool(store))


def sqlite(folder: Path) -> Engine:
    clock, folders = FixedClock(TIME), [folder / "0"]
    settings = SqliteSettings(lanes=LANES, keep=Duration(0))

    def open_engine() -> AbstractAsyncContextManager[SqliteSpool]:
        return open_sqlite(settings, SpoolContext(folders[-1], tuple(SINKS), FakeReport(), clock))

    def pruned() -> list[int]:
        with closing(sqlite3.connect(folders[-1] / "spool.sqlite")) as file:
            return [row[0] for row in file.execute("SELECT pruned FROM lanes ORDER BY lane")]

    def crash() -> None:
        folders.append(folder / str(len(folders)))
        shutil.copytree(folders[-2], folders[-1])

    return Engine(
        open_engine,
        audit=lambda: audit(folders[-1]).problems,
        prune=lambda spool: spool.housekeeping.prune_events(),
        pruned=pruned,
        crash=crash,
        move_clock=clock.move,
    )


ENGINES = [memory, sqlite]
PATIENCE = 20.0  # seconds for a step


@pytest.mark.parametrize("make", ENGINES)
@settings(max_examples=50)
@given(st.random_module(), lives)
async def test_a_spool_agrees_with_its_model(make, schedule, lives):
    with tempfile.TemporaryDirectory() as folder:
        engine = make(Path(folder))
        model = Model()
        for starts, steps, end in lives:
            async with AsyncExitStack() as stack:
                life = Life(engine, model, await stack.enter_async_context(engine.open()))
                for sink, start in zip(SINKS, starts, strict=True):
                    model.begin(sink, start, engine.pruned())
                    life.subscriptions[sink] = await stack.enter_async_context(
                        life.spool.subscribe(
                            sink, batch=BATCH, sources=WANTED.get(sink), start=start
                        )
                    )
                await life.agree()
                for kind, *arguments in [*steps, end]:
                    with trio.fail_after(PATIENCE):
                        await getattr(life, kind.replace(" ", "_"))(*arguments)
                        await life.agree()
                await life.settle_stale()
                await life.agree()
            assert not engine.audit()
