"""A sink that was an orphan for too long keeps nothing, and may come back any way."""

from attrs import evolve

from bridge.api import Duration
from bridge.api.spool import SpoolContext
from bridge.spool import SqliteSettings
from bridge.spool.audit import audit
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import METER, arrivals, balance_of, keys_of, take_all, take_any

DAY = 86400.0
SETTINGS = SqliteSettings(keep=Duration(0))


async def leave(spool, clock) -> None:
    """Let a sink owe an event, leave, and miss two more, which are deleted."""
    async with spool.subscribe("gone", batch=9), spool.subscribe("out", batch=9) as out:
        await spool.append(arrivals("a"))
        await spool.housekeeping.age()
        clock.jump(8 * DAY)
        await spool.housekeeping.age()
        await spool.append(arrivals("b", "c"))
        await take_all(out, 3)
        await spool.housekeeping.prune_events()


async def waiting(subscription, count: int) -> list[str]:
    found = []
    while len(found) < count:
        lease = await take_any(subscription)
        found += keys_of(lease.events)
        await lease.settle(len(lease.events))
    return found


async def test_one_that_comes_back_goes_on_with_what_was_parked(context: SpoolContext, mock_clock):
    async with open_sqlite(SETTINGS, evolve(context, sinks=("out",))) as spool:
        await leave(spool, mock_clock)
        assert audit(context.directory).problems == ()
        async with spool.subscribe("gone", batch=9) as gone:
            await spool.append(arrivals("d"))
            assert await waiting(gone, 2) == ["a", "d"]
        assert await balance_of(spool, "gone") == {"received": 4, "delivered": 2, "expired": 2}
    assert audit(context.directory).problems == ()


async def test_one_that_was_purged_begins_like_any_other(context: SpoolContext, mock_clock):
    async with open_sqlite(SETTINGS, evolve(context, sinks=("out",))) as spool:
        await leave(spool, mock_clock)
        await spool.purge("gone")
        async with spool.subscribe("gone", batch=9):
            pass
        await spool.append(arrivals("d"))
        async with spool.subscribe("gone", batch=9) as gone:
            assert keys_of(await take_all(gone, 1)) == ["d"]
    assert audit(context.directory).problems == ()


async def test_one_that_is_renamed_owes_what_was_parked(context: SpoolContext, mock_clock):
    async with open_sqlite(SETTINGS, evolve(context, sinks=("out",))) as spool:
        await leave(spool, mock_clock)
        await spool.rename("gone", "north")
        assert audit(context.directory).problems == ()
        await spool.append(arrivals("d"))
        async with spool.subscribe("north", batch=9) as north:
            assert await waiting(north, 2) == ["a", "d"]
        assert await balance_of(spool, "north") == {"received": 4, "delivered": 2, "expired": 2}
    assert audit(context.directory).problems == ()


async def test_one_renamed_onto_a_sink_does_not_set_it_back(context: SpoolContext, mock_clock):
    async with open_sqlite(SETTINGS, evolve(context, sinks=("out",))) as spool:
        await leave(spool, mock_clock)
        await spool.append(arrivals("d", device=METER))
        await spool.rename("gone", "out")
        assert audit(context.directory).problems == ()
        async with spool.subscribe("out", batch=9) as out:
            assert await waiting(out, 2) == ["a", "d"]
    assert audit(context.directory).problems == ()
