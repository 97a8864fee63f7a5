"""The fakes for plugin authors do what the real ones do, and what they are told."""

from datetime import timedelta

import pytest
import trio
from attrs import evolve

from bridge.api import Accepted, Event, Reading, Request, SpoolUnavailable
from bridge.api.problems import WORK_FAILS
from bridge.api.spool import DeadLetter
from bridge.testing.arrivals import TIME, arrivals, keys_of, take_all
from bridge.testing.fakes import (
    START,
    FakeMount,
    FakeOutlet,
    FakeReport,
    FixedClock,
    fake_sink_context,
    fake_source_context,
)
from bridge.testing.memory import open_memory_spool

EVENT = Event("a", "meter", "temperature", START, (Reading("temperature", 20.5, START),))


async def test_an_outlet_takes_events_until_it_is_told_to_refuse():
    outlet = FakeOutlet()
    context = fake_source_context("sensors", outlet=outlet)
    async with trio.open_nursery() as emitting:
        emitting.start_soon(context.outlet.emit, EVENT, evolve(EVENT, key="b"))
        assert [event.key for event in await outlet.wait_for(2)] == ["a", "b"]
    outlet.refuse = "the disk is full"
    with pytest.raises(SpoolUnavailable, match="the disk is full"):
        await context.outlet.emit(EVENT)
    assert outlet.emits == [(EVENT, evolve(EVENT, key="b"))]


async def test_an_outlet_refuses_what_no_spool_could_store():
    with pytest.raises(ValueError, match="has no time zone"):
        await FakeOutlet().emit(evolve(EVENT, time=START.replace(tzinfo=None)))


async def test_state_keeps_what_json_keeps():
    state = fake_sink_context("out").state
    await state.put("key", {"a": (1, 2)})
    assert state.get("key") == {"a": [1, 2]}
    await state.put("key", None)
    assert state.get("key") is None


def test_a_path_is_mounted_while_its_block_is_entered():
    mount = FakeMount()
    with mount("/sensors", lambda request: Accepted((EVENT,)), methods=("POST", "GET")):
        request = Request("POST", "/sensors", "", {}, b"")
        assert mount.routes["/sensors"](request).events == (EVENT,)
        with pytest.raises(ValueError, match="'/sensors' is mounted already"):
            mount("/sensors", lambda request: Accepted()).__enter__()
    assert mount.routes == {}


def test_a_clock_stands_still_until_it_is_moved():
    clock = FixedClock()
    context = fake_source_context(clock=clock, random=0.25)
    assert (context.now(), context.random()) == (START, 0.25)
    clock.move(timedelta(hours=1))
    assert context.now() == START + timedelta(hours=1)


async def test_a_report_can_be_waited_for():
    report = FakeReport()
    async with trio.open_nursery() as waiting:
        waiting.start_soon(report.wait_for, "connected")
        await trio.lowlevel.checkpoint()
        report("refused: wrong password", problem=WORK_FAILS)
        report("connected to 192.0.2.1")
    assert report.problems == ["refused: wrong password"]
    assert report.problem_names == ["work-fails"]


def test_a_report_of_version_1_1_is_understood():
    report = FakeReport()
    with pytest.warns(DeprecationWarning, match="problem=True is problem=Problem") as warned:
        report("refused", problem=True)
    assert warned[0].filename == __file__
    assert report.problem_names == ["told-by-plugin"]


async def test_a_spool_in_memory_refuses_when_told():
    async with open_memory_spool(lanes=1) as spool, spool.subscribe("out", batch=9) as out:
        await spool.append(arrivals("a", "b"))
        spool.refuse = "the disk is full"
        with pytest.raises(SpoolUnavailable, match="the disk is full"):
            await spool.append(arrivals("c"))
        assert spool.refusal == "the disk is full"
        lease = await out.take()
        spool.refuse_writes = "the disk is broken"
        with pytest.raises(SpoolUnavailable, match="the disk is broken"):
            await lease.settle(2)
        with pytest.raises(SpoolUnavailable, match="the disk is broken"):
            await spool.state("sink:out").put("key", 1)
        spool.refuse = spool.refuse_writes = None
        await lease.settle(2, dead=[DeadLetter(1, "refused", 422, 1, TIME)])
        assert [letter.stored.event.key for letter in spool.dead_letters] == ["b"]
        await spool.append(arrivals("c"))
        assert keys_of(await take_all(out, 1)) == ["c"]
    assert [[arrival.key for arrival in commit] for commit in spool.commits] == [["a", "b"], ["c"]]


async def test_a_lease_in_memory_cannot_be_settled_beyond_its_events():
    async with open_memory_spool() as spool, spool.subscribe("out", batch=9) as out:
        await spool.append(arrivals("a"))
        lease = await out.take()
        with pytest.raises(ValueError, match="settle names 2 events of a lease of 1"):
            await lease.settle(2)
        with pytest.raises(ValueError, match="has 2 filtered"):
            await lease.settle(1, filtered=2)
