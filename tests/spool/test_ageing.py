"""What does not stay for ever: parked events, what orphans owe, and dead letters."""

# ruff: noqa: SIM117  # what is nested is opened one after the other

from functools import partial

import pytest
from attrs import evolve

from bridge.api import Duration
from bridge.api.spool import LetterFilter, SpoolContext
from bridge.spool import SqliteSettings, housekeeping
from bridge.spool.ageing import expire_orphans
from bridge.spool.audit import audit
from bridge.spool.letters import expire_letters
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import (
    GAUGE,
    METER,
    arrival,
    arrivals,
    balance_of,
    keys_of,
    park_all,
    refuse_all,
    take_all,
)

DAY = 86400.0
MONTH = SqliteSettings(park_for=Duration(30 * DAY))


async def test_what_waited_too_long_becomes_dead_letters(context: SpoolContext, mock_clock):
    context = evolve(context, sinks=("out",))
    async with open_sqlite(MONTH, context) as spool, spool.subscribe("out", batch=9) as out:
        await spool.append(arrivals("m1"))
        await park_all(out, METER, after=3600.0)
        mock_clock.jump(20 * DAY)
        await spool.append(arrivals("m2"))
        await out.take_parked()
        await spool.housekeeping.age()
        assert (await balance_of(spool, "out"))["pending"] == 2
        mock_clock.jump(11 * DAY)
        await spool.housekeeping.age()
        (letter,) = await spool.letters(LetterFilter())
        assert letter.reason == "waited 30d: unknown device"
        assert (await balance_of(spool, "out"))["dead"] == 1
    async with open_sqlite(MONTH, context) as spool, spool.subscribe("out", batch=9) as out:
        assert keys_of(await take_all(out, 1)) == ["m2"]
    assert audit(context.directory).problems == ()


async def test_time_without_a_bridge_makes_nothing_old(context: SpoolContext, mock_clock, clock):
    context = evolve(context, sinks=("out",))
    async with open_sqlite(MONTH, context) as spool, spool.subscribe("out", batch=9) as out:
        await spool.append(arrivals("m1"))
        await park_all(out, METER, after=3600.0)
    mock_clock.jump(60 * DAY)
    async with open_sqlite(MONTH, context) as spool, spool.subscribe("out", batch=9):
        await spool.housekeeping.age()
        assert (await balance_of(spool, "out"))["pending"] == 1


async def test_the_oldest_become_letters_where_too_much_waits(
    context: SpoolContext, mock_clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(housekeeping, "PARKED_SHARE", 1 << 20)
    context = evolve(context, sinks=("out",))
    async with open_sqlite(MONTH, context) as spool, spool.subscribe("out", batch=9) as out:
        for device in (METER, GAUGE):
            large = "x" * 3000
            await spool.append([arrival(f"{device}{n}{large}", device) for n in range(3)])
            await park_all(out, device, after=3600.0)
            mock_clock.jump(60)
        await spool.housekeeping.age()
        letters = await spool.letters(LetterFilter())
        assert {letter.device for letter in letters} >= {METER}
        assert letters[0].reason == "waited, and too much waits: unknown device"
        balance = await balance_of(spool, "out")
        assert balance["dead"] + balance.get("pending", 0) == 6
    assert audit(context.directory).problems == ()


async def test_what_only_an_orphan_owes_can_give_way(context: SpoolContext, mock_clock):
    async with open_sqlite(SqliteSettings(), evolve(context, sinks=("out",))) as spool:
        async with spool.subscribe("gone", batch=2) as gone, spool.subscribe("out", batch=9) as out:
            await spool.append([arrival("m1"), arrival("g1", GAUGE), arrival("m2")])
            await park_all(gone, GAUGE, after=3600.0)
        async with spool.subscribe("out", batch=9) as out:
            await spool.housekeeping.age()
            while await spool._write(expire_orphans):
                pass
            assert len(await take_all(out, 3)) == 3
        assert await balance_of(spool, "gone") == {"received": 3, "delivered": 1, "expired": 2}
    assert audit(context.directory).problems == ()


async def test_letters_that_give_way_are_the_oldest_and_expired(context: SpoolContext, mock_clock):
    async with open_sqlite(SqliteSettings(), context) as spool:
        async with spool.subscribe("out", batch=9) as out:
            for key in ("a", "b"):
                await spool.append(arrivals(key))
                await refuse_all(spool, out)
            assert await spool._write(partial(expire_letters, size=1)) > 200
            (letter,) = await spool.letters(LetterFilter())
            assert (await spool.letter(letter.id)).stored.event.key == "b"
            assert await balance_of(spool, "out") == {"received": 2, "dead": 1, "expired": 1}
    assert audit(context.directory).problems == ()
