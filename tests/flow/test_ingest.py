from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bridge.api import Arrival, Event, Reading, SpoolUnavailable
from bridge.flow.ingest import MAX_WAITERS, open_ingest
from bridge.testing.memory import MemorySpool, MemoryStore, open_memory_spool
from tests.flow.conftest import START, make_event


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
    returned = []
    async with open_ingest(spool, now) as ingest, trio.open_nursery() as nursery:

        async def emit() -> None:
            await ingest.outlet("s").emit(make_event(1))
            returned.append(len(spool.commits))

        nursery.start_soon(emit)
        await wait_all_tasks_blocked()
        assert returned == []
        spool.gate.set()
    assert returned == [1]


async def test_emits_that_wait_while_the_disk_is_busy_share_the_next_commit(now):
    spool = slow_spool()
    async with open_ingest(spool, now) as ingest, trio.open_nursery() as nursery:
        nursery.start_soon(ingest.outlet("s0").emit, make_event(0))
        await wait_all_tasks_blocked()
        for number in range(1, 50):
            nursery.start_soon(ingest.outlet(f"s{number % 3}").emit, make_event(number))
        await wait_all_tasks_blocked()
        spool.gate.set()
    assert [len(commit) for commit in spool.commits] == [1, 49]


async def test_a_commit_is_bounded_however_many_wait(now):
    spool = slow_spool()
    async with open_ingest(spool, now) as ingest, trio.open_nursery() as nursery:
        for number in range(3 * MAX_WAITERS):
            nursery.start_soon(ingest.outlet("s").emit, make_event(number))
        await wait_all_tasks_blocked()
        spool.gate.set()
    assert max(len(commit) for commit in spool.commits) <= MAX_WAITERS
    assert sum(len(commit) for commit in spool.commits) == 3 * MAX_WAITERS


async def test_a_refusal_of_the_spool_reaches_everybody_who_waited(now):
    async with open_memory_spool() as spool, open_ingest(spool, now) as ingest:
        spool.refuse = "the disk is full"
        outlet = ingest.outlet("s")
        for _ in range(2):
            with pytest.raises(SpoolUnavailable, match="the disk is full"):
                await outlet.emit(make_event(1), make_event(2))
        assert (ingest.intakes["s"].events, ingest.intakes["s"].refused) == (0, 4)
        spool.refuse = None
        await outlet.emit(make_event(1))
        assert ingest.intakes["s"].last == START


async def test_an_engine_that_fails_acknowledges_nothing_and_the_way_in_stays_open(now, caplog):
    class Failing(MemorySpool):
        broken = True

        async def append(self, arrivals: list[Arrival]) -> int:
            if self.broken:
                raise RuntimeError("defect")
            return await super().append(arrivals)

    spool = Failing(MemoryStore())
    async with open_ingest(spool, now) as ingest:
        with (
            caplog.at_level(logging.CRITICAL, "bridge"),
            pytest.raises(SpoolUnavailable, match="unexpectedly"),
        ):
            await ingest.outlet("s").emit(make_event(1))
        spool.broken = False
        await ingest.outlet("s").emit(make_event(1))
    assert len(spool.commits) == 1


async def test_a_cancelled_emit_does_not_disturb_the_others(now):
    spool = slow_spool()
    async with open_ingest(spool, now) as ingest, trio.open_nursery() as nursery:
        with trio.CancelScope() as impatient:
            impatient.cancel()
            await ingest.outlet("s").emit(make_event(1))
        nursery.start_soon(ingest.outlet("s").emit, make_event(2))
        await wait_all_tasks_blocked()
        spool.gate.set()
    assert [arrival.key for commit in spool.commits for arrival in commit][-1] == "d1-2"


async def test_what_was_emitted_before_the_end_is_committed_when_the_way_in_closes(now):
    spool = slow_spool()
    async with trio.open_nursery() as nursery:
        async with open_ingest(spool, now) as ingest:
            nursery.start_soon(ingest.outlet("s").emit, make_event(1))
            await wait_all_tasks_blocked()
            spool.gate.set()
        assert len(spool.commits) == 1


async def test_an_event_that_cannot_be_stored_is_the_fault_of_its_source_alone(now):
    async with open_memory_spool() as spool, open_ingest(spool, now) as ingest:
        nan = Event("k", "d", "t", START, (Reading("x", float("nan"), START),))
        with pytest.raises(ValueError, match="finite"):
            await ingest.outlet("s").emit(nan)
        await ingest.outlet("s").emit()
        await ingest.outlet("s").emit(make_event(1))
        assert len(spool.commits) == 1
