from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bridge.api import Arrival, Event, Reading, SpoolUnavailable
from bridge.flow.ingest import Ingest
from bridge.testing.memory import MemorySpool, MemoryStore, open_memory_spool
from tests.flow.conftest import START, make_event

MEASURED = datetime(2025, 12, 1, tzinfo=UTC)


class SlowSpool(MemorySpool):
    """A spool whose commits wait until they are let through."""

    gate: trio.Event

    async def append(self, arrivals: list[Arrival]) -> int:
        await self.gate.wait()
        return await super().append(arrivals)


def slow_spool() -> SlowSpool:
    spool = SlowSpool(MemoryStore())
    spool.gate = trio.Event()
    return spool


async def test_emit_returns_only_after_the_commit(now):
    spool = slow_spool()
    ingest = Ingest(spool, now)
    returned = []
    async with trio.open_nursery() as nursery:

        async def emit() -> None:
            await ingest.outlet("s").emit(make_event(1))
            returned.append(len(spool.commits))

        nursery.start_soon(emit)
        await wait_all_tasks_blocked()
        assert returned == []
        assert ingest.intakes["s"].events == 0
        spool.gate.set()
    assert returned == [1]
    assert ingest.intakes["s"].events == 1


async def test_a_refusal_of_the_spool_reaches_the_source(now):
    async with open_memory_spool() as spool:
        ingest = Ingest(spool, now)
        spool.refuse = "the disk is full"
        outlet = ingest.outlet("s")
        for _ in range(2):
            with pytest.raises(SpoolUnavailable, match="the disk is full"):
                await outlet.emit(make_event(1), make_event(2))
        assert (ingest.intakes["s"].events, ingest.intakes["s"].refused) == (0, 4)
        spool.refuse = None
        await outlet.emit(make_event(1))
        assert ingest.intakes["s"].last == START


async def test_an_engine_that_fails_acknowledges_nothing(now, caplog):
    class Failing(MemorySpool):
        broken = True

        async def append(self, arrivals: list[Arrival]) -> int:
            if self.broken:
                raise RuntimeError("defect")
            return await super().append(arrivals)

    spool = Failing(MemoryStore())
    ingest = Ingest(spool, now)
    with (
        caplog.at_level(logging.CRITICAL, "bridge"),
        pytest.raises(SpoolUnavailable, match="unexpectedly"),
    ):
        await ingest.outlet("s").emit(make_event(1))
    assert (ingest.intakes["s"].events, ingest.intakes["s"].refused) == (0, 1)
    spool.broken = False
    await ingest.outlet("s").emit(make_event(1))
    assert len(spool.commits) == 1


async def test_a_cancelled_emit_does_not_disturb_the_others(now):
    spool = slow_spool()
    ingest = Ingest(spool, now)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as impatient:
            impatient.cancel()
            await ingest.outlet("s").emit(make_event(1))
        nursery.start_soon(ingest.outlet("s").emit, make_event(2))
        await wait_all_tasks_blocked()
        spool.gate.set()
    assert [arrival.key for commit in spool.commits for arrival in commit] == ["d1-2"]


async def test_an_event_that_cannot_be_stored_is_its_sources_fault(now):
    async with open_memory_spool() as spool:
        ingest = Ingest(spool, now)
        nan = Event("k", "d", "t", START, (Reading("x", float("nan"), START),))
        with pytest.raises(ValueError, match="finite"):
            await ingest.outlet("s").emit(nan)
        await ingest.outlet("s").emit()
        await ingest.outlet("s").emit(make_event(1))
        assert len(spool.commits) == 1


async def test_the_spool_is_told_by_what_an_event_is_known(now):
    async with open_memory_spool() as spool:
        ingest = Ingest(spool, now)
        keyless = Event(None, "d1", "document", START)
        timed = Event("k", "d1", "t", START, key_time=MEASURED, former_keys=("j",))
        await ingest.outlet("s").emit(keyless)
        await ingest.recover("s", [timed])
        arrivals = [arrival for commit in spool.commits for arrival in commit]
        assert [(each.key, each.key_time, each.former_keys) for each in arrivals] == [
            (None, None, ()),
            ("k", MEASURED, ("j",)),
        ]
        assert b'"key":null' in arrivals[0].body
