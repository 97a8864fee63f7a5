"""What the spool in memory does beside the contract."""

from datetime import timedelta

import pytest
import trio

from bridge.api import SpoolUnavailable
from bridge.api.spool import Rewind
from bridge.testing.arrivals import (
    GAUGE,
    METER,
    TIME,
    arrival,
    arrivals,
    balance_of,
    keys_of,
    park_all,
    parking,
    refuse_all,
    take_all,
)
from bridge.testing.memory import MemoryStore, open_memory_spool


async def test_time_counts_while_a_spool_is_open(autojump_clock):
    store = MemoryStore()
    async with open_memory_spool(store) as spool, spool.subscribe("out", batch=9) as out:
        await spool.append(arrivals("a"))
        await park_all(out, METER, after=100.0)
        await trio.sleep(60)
    await trio.sleep(1000)
    async with open_memory_spool(store) as spool, spool.subscribe("out", batch=9) as out:
        (device,) = await spool.parked("out")
        assert (device.waited, device.due) == (60.0, 40.0)
        began = trio.current_time()
        assert keys_of((await out.take_parked()).events) == ["a"]
        assert trio.current_time() - began == pytest.approx(40.0)


async def test_a_device_that_is_due_at_an_odd_time_is_lent(autojump_clock):
    await trio.sleep(1e9 + 0.1)
    async with open_memory_spool() as spool, spool.subscribe("out", batch=9) as out:
        await spool.append(arrivals("a"))
        await trio.sleep(1 / 3)
        await park_all(out, METER, after=0.7)
        assert keys_of((await out.take_parked()).events) == ["a"]


async def test_a_spool_that_cannot_write_moves_nothing():
    async with open_memory_spool() as spool, spool.subscribe("out", batch=9) as out:
        await spool.append(arrivals("a"))
        letters = await refuse_all(spool, out)
        await spool.append([arrival("b"), arrival("c", GAUGE)])
        await park_all(out, METER, after=0.0)
        before = await balance_of(spool, "out")
        lease = await out.take_parked()
        spool.refuse_writes = "the disk is broken"
        for write in (
            lambda: lease.settle(1),
            lambda: spool.replay(letters),
            lambda: spool.drop(letters),
            lambda: spool.retry_parked("out"),
            lambda: spool.purge("out"),
            lambda: spool.rename("out", "other"),
            lambda: spool.rename_source("sensors", "other"),
            lambda: spool.rewind("out", TIME),
            lambda: out.stop_replay(),
        ):
            with pytest.raises(SpoolUnavailable, match="the disk is broken"):
                await write()
        assert await balance_of(spool, "out") == before
        spool.refuse_writes = None
        await lease.settle(1)


async def test_a_stretch_that_cannot_be_passed_over_is_passed_later(autojump_clock):
    async with (
        open_memory_spool() as spool,
        spool.subscribe("out", batch=9, sources=["towers"]) as out,
    ):
        spool.refuse_writes = "the disk is full"
        await spool.append([arrival("a", source="gate")])
        with trio.move_on_after(1):
            await out.take()
        assert await balance_of(spool, "out") == {"received": 1, "pending": 1}
        spool.refuse_writes = None
        with trio.move_on_after(1):
            await out.take()
        assert await balance_of(spool, "out") == {"received": 1, "filtered": 1}


async def test_a_planned_rewind_only_says_what_it_would_do():
    async with open_memory_spool() as spool, spool.subscribe("out", batch=9) as out:
        await spool.append(arrivals("a", "b"))
        await take_all(out, 2)
        await spool.append([arrival("c")])
        lease = await out.take()
        before = await balance_of(spool, "out")
        assert await spool.rewind("out", TIME, plan=True) == Rewind(2, TIME)
        later = TIME + timedelta(seconds=1)
        assert await spool.rewind("out", later, plan=True) == Rewind(0, None)
        assert await balance_of(spool, "out") == before
        await lease.settle(1, park=parking(lease.events, METER))
