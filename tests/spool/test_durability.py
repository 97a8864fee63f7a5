"""Nothing is acknowledged before it is on disk, whatever the disk does.

Seen from below SQLite, see vfs_shim.py.
"""

import os
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from attrs import evolve

from bridge.api import SpoolUnavailable
from bridge.api.spool import SpoolContext, SpoolError
from bridge.spool import SqliteSettings
from bridge.spool.audit import audit
from bridge.spool.sqlite import open_sqlite
from bridge.spool.writer import Writer
from bridge.testing.arrivals import arrival, arrivals, keys_of, take_all
from bridge.testing.fakes import FakeReport

LOG = "spool.sqlite-wal"
IOERR_WRITE, FULL = 778, 13


async def let_time_pass(clock, taken):
    """Until something was taken: who began to wait after the bell had rung looks again
    after a second.
    """
    while not taken:
        clock.jump(1)
        await trio.lowlevel.checkpoint()


async def outcome_of(spool, key, outcomes):
    try:
        await spool.append([arrival(key)])
        outcomes[key] = "stored"
    except SpoolUnavailable as refused:
        outcomes[key] = refused.reason


async def test_append_returns_only_after_its_commit_was_synced(context: SpoolContext, layer):
    async with open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool:
        layer.log.clear()
        await spool.append(arrivals("a"))
        assert layer.log[-1] == ("sync", LOG)
        assert ("write", LOG) in layer.log


async def test_nobody_is_answered_while_the_disk_holds_a_sync(context: SpoolContext, layer):
    outcomes = {}
    async with open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool:
        await spool.append(arrivals("before"))  # its source has a row from now on
        layer.hold_syncs()
        async with trio.open_nursery() as senders:
            senders.start_soon(outcome_of, spool, "a", outcomes)
            await trio.to_thread.run_sync(layer.waiting.wait)
            for key in "bcd":
                senders.start_soon(outcome_of, spool, key, outcomes)
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert outcomes == {}
            layer.log.clear()
            layer.release_syncs()
        assert outcomes == dict.fromkeys("abcd", "stored")
        assert (
            layer.log.count(("sync", LOG)) == 2
        )  # that of the first, and one that the other three shared


async def test_after_a_failed_sync_the_file_is_opened_again_first(
    context: SpoolContext, layer, report: FakeReport, mock_clock
):
    outcomes = {}
    async with (
        open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        await spool.append(arrivals("before"))
        layer.fail_sync = True
        await outcome_of(spool, "refused", outcomes)
        layer.fail_sync = False
        layer.log.clear()
        await outcome_of(spool, "later", outcomes)
        with pytest.raises(SpoolUnavailable):
            await spool.state("source:sensors").put("key", 1)
        assert outcomes["later"] == outcomes["refused"] == spool.refusal
        assert "SQLITE_IOERR_FSYNC" in spool.refusal
        assert layer.log == []  # the connection that failed is not used again

        assert await spool.housekeeping.recover()
        assert (
            "sync",
            "spool.sqlite",
        ) in layer.log  # everything was brought into the database, and synced
        assert await spool.append(arrivals("after")) == 1
        (account,) = await spool.accounts(["out"])
        keys = keys_of(await take_all(out, account.pending))
    assert keys[0] == "before"
    assert keys[-1] == "after"
    assert audit(context.directory).problems == ()


async def test_a_failed_sync_is_reported_once_and_so_is_its_end(
    context: SpoolContext, layer, report: FakeReport, mock_clock
):
    async with open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool:
        layer.fail_sync = True
        for key in "abc":
            await outcome_of(spool, key, {})
        assert not await spool.housekeeping.recover()
        layer.fail_sync = False
        mock_clock.jump(1)
        await report.wait_for("stores events")
        assert await spool.append(arrivals("d")) == 1
    assert len(report.texts) == 2
    assert "SQLITE_IOERR_FSYNC" in report.problems[0]


async def test_a_file_that_stays_broken_is_not_trusted(context: SpoolContext, layer, mock_clock):
    async with open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool:
        layer.fail_write = IOERR_WRITE
        with pytest.raises(SpoolUnavailable, match="SQLITE_IOERR_WRITE"):
            await spool.append(arrivals("a"))
        assert not await spool.housekeeping.recover()
        with pytest.raises(SpoolUnavailable, match="SQLITE_IOERR_WRITE"):
            await spool.append(arrivals("a"))
        layer.fail_write = 0
        assert await spool.housekeeping.recover()
        assert await spool.append(arrivals("a")) == 1


async def test_a_taker_hears_nothing_of_the_trouble_but_a_pause(
    context: SpoolContext, layer, mock_clock
):
    taken = []

    async def take(subscription):
        taken.extend(keys_of(await take_all(subscription, 1)))

    async with (
        open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        layer.fail_sync = True
        await outcome_of(spool, "a", {})
        assert not await spool.housekeeping.recover()
        async with trio.open_nursery() as takers:
            takers.start_soon(take, out)
            layer.fail_sync = False
            assert await spool.housekeeping.recover()
            await spool.append(arrivals("a"))
            await let_time_pass(mock_clock, taken)
    assert taken == ["a"]


async def test_a_file_that_cannot_be_read_is_not_written_either(
    context: SpoolContext, layer, mock_clock
):
    async with (
        open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        await spool.append(arrivals("a"))
        layer.fail_read = True
        with pytest.raises(SpoolUnavailable, match="SQLITE_IOERR_READ"):
            await spool.accounts([])
        with pytest.raises(SpoolUnavailable, match="SQLITE_IOERR_READ"):
            await spool.append(arrivals("b"))
        assert not await spool.housekeeping.recover()
        with pytest.raises(SpoolUnavailable, match="SQLITE_IOERR_READ"):
            await spool.accounts([])
        layer.fail_read = False
        assert await spool.housekeeping.recover()
        assert keys_of(await take_all(out, 1)) == ["a"]


async def test_a_taker_that_meets_a_broken_file_waits_for_its_mending(
    context: SpoolContext, layer, mock_clock
):
    taken = []

    async def take(subscription):
        taken.extend(keys_of(await take_all(subscription, 1)))

    async with (
        open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        await spool.append(arrivals("a"))
        layer.fail_read = True
        async with trio.open_nursery() as takers:
            takers.start_soon(take, out)
            while spool.refusal is None:
                await trio.lowlevel.checkpoint()
            assert "SQLITE_IOERR_READ" in spool.refusal
            layer.fail_read = False
            assert await spool.housekeeping.recover()
            await let_time_pass(mock_clock, taken)
    assert taken == ["a"]


async def test_a_taker_waits_while_unwanted_events_cannot_be_settled(
    context: SpoolContext, layer, report: FakeReport, mock_clock
):
    taken = []

    async def take(subscription):
        taken.extend(keys_of(await take_all(subscription, 1)))

    async with (
        open_sqlite(SqliteSettings(lanes=1), context, vfs=layer.name) as spool,
        spool.subscribe("out", batch=9, sources=["towers"]) as out,
    ):
        await spool.append(arrivals("a"))
        layer.fail_write = FULL
        async with trio.open_nursery() as takers:
            takers.start_soon(take, out)
            await report.wait_for("no room left")
            await trio.testing.wait_all_tasks_blocked()
            layer.fail_write = 0
            mock_clock.jump(1)
            await report.wait_for("stores events")
            await spool.append(arrivals("b", source="towers"))
            await let_time_pass(mock_clock, taken)
        assert taken == ["b"]
        (account,) = await spool.accounts([])
        assert (account.filtered, account.delivered) == (1, 1)


async def test_a_lease_from_before_the_trouble_can_be_settled_after(
    context: SpoolContext, layer, mock_clock
):
    async with (
        open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        await spool.append(arrivals("a"))
        lease = await out.take()
        layer.fail_write = IOERR_WRITE
        with pytest.raises(SpoolUnavailable):
            await lease.settle(1)
        with pytest.raises(SpoolUnavailable):
            await lease.settle(1)
        layer.fail_write = 0
        assert await spool.housekeeping.recover()
        await lease.settle(1)
        (account,) = await spool.accounts(["out"])
        assert (account.delivered, account.pending) == (1, 0)


async def test_an_error_in_a_checkpoint_is_not_overlooked(
    context: SpoolContext, layer, mock_clock, report: FakeReport
):
    async with open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool:
        layer.fail_database_sync = True
        assert (
            await spool.append([arrival(f"{number}") for number in range(1100)]) == 1100
        )  # a log worth of them
        await outcome_of(spool, "later", {})
        assert "SQLITE_IOERR_FSYNC" in spool.refusal
        layer.fail_database_sync = False
        assert await spool.housekeeping.recover()
        assert await spool.append(arrivals("0", "1099", "new")) == 1
    assert audit(context.directory).problems == ()


async def test_every_acknowledged_event_is_there_after_a_power_cut(
    context: SpoolContext, layer, tmp_path: Path
):
    chance = random.Random(4)
    for cut in range(12):
        layer.forget()
        here = evolve(context, directory=tmp_path / f"before{cut}")
        acknowledged = []
        async with (
            open_sqlite(SqliteSettings(), here, vfs=layer.name) as spool,
            spool.subscribe("out", batch=9) as out,
        ):
            for number in range(chance.randrange(1, 20)):
                keys = [f"{number}-{part}" for part in range(chance.randrange(1, 120))]
                await spool.append(arrivals(*keys))
                acknowledged += keys
                if chance.random() < 0.3:
                    lease = await out.take()
                    await lease.settle(len(lease.events))
            layer.hold_syncs()
            async with trio.open_nursery() as senders:
                senders.start_soon(outcome_of, spool, "unknown", {})
                await trio.to_thread.run_sync(layer.waiting.wait)
                layer.cut(tmp_path / f"after{cut}", chance if cut else None)
                layer.release_syncs()
        after = evolve(context, directory=tmp_path / f"after{cut}")
        assert audit(after.directory).problems == ()
        async with (
            open_sqlite(SqliteSettings(), after) as spool,
            spool.subscribe("all", batch=999, start="beginning") as out,
        ):
            keys = keys_of(await take_all(out, len(acknowledged)))
            assert set(acknowledged) <= {*keys}
            (account, _) = sorted(await spool.accounts([]), key=lambda account: -account.delivered)
            assert account.pending <= 1


async def test_a_power_cut_while_it_is_made_leaves_one_that_opens(
    context: SpoolContext, layer, tmp_path: Path
):
    async with open_sqlite(SqliteSettings(), context, vfs=layer.name):
        layer.cut(tmp_path / "half")
    async with open_sqlite(SqliteSettings(), evolve(context, directory=tmp_path / "half")) as spool:
        assert await spool.append(arrivals("a")) == 1


async def test_a_full_disk_refuses_sources_and_lets_sinks_go_on(
    context: SpoolContext, layer, report: FakeReport, mock_clock
):
    async with (
        open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool,
        spool.subscribe("out", batch=1) as out,
    ):
        reserve = context.directory / "spool.reserve"
        assert reserve.exists()
        await spool.append(arrivals("a", "b"))
        lease = await out.take()
        outcomes = {}
        layer.full_until_removed = reserve
        async with trio.open_nursery() as both:
            both.start_soon(outcome_of, spool, "c", outcomes)
            both.start_soon(lease.settle, 1)
        await outcome_of(spool, "d", outcomes)
        expected = (
            f"no room left in {context.directory}; sources are refused until there is, sinks go on"
        )
        assert outcomes == {"c": expected, "d": expected}
        await (await out.take()).settle(1)
        assert (report.texts, report.problems) == ([expected], [expected])

        layer.full_until_removed = None
        mock_clock.jump(1)
        await report.wait_for("stores events")
        assert reserve.exists()
        assert await spool.append(arrivals("c")) == 1
        assert keys_of((await out.take()).events) == ["c"]


async def test_a_spool_opens_on_a_full_disk_with_its_reserve(
    context: SpoolContext, layer, mock_clock
):
    reserve = context.directory / "spool.reserve"
    context.directory.mkdir()
    reserve.write_bytes(bytes(1000))
    layer.full_until_removed = reserve
    async with open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool:
        layer.full_until_removed = None
        assert await spool.append(arrivals("a")) == 1


async def test_a_spool_that_finds_no_room_at_all_says_so(context: SpoolContext, layer):
    layer.fail_write = FULL
    with pytest.raises(
        SpoolError, match=r"cannot be opened \(database or disk is full\); look at the room"
    ):
        async with open_sqlite(SqliteSettings(), context, vfs=layer.name):
            pass


async def test_sources_are_refused_while_the_reserve_cannot_be_made(
    context: SpoolContext, report: FakeReport, mock_clock, monkeypatch: pytest.MonkeyPatch
):
    room = os.statvfs(context.directory.parent)
    small = SimpleNamespace(f_bavail=4095, f_frsize=4096, f_blocks=1 << 16)
    monkeypatch.setattr(os, "statvfs", lambda _path: small)
    async with (
        open_sqlite(SqliteSettings(), context) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        with pytest.raises(SpoolUnavailable, match="no room left"):
            await spool.append(arrivals("a"))
        await spool.state("sink:out").put("sinks", "go on")
        monkeypatch.setattr(os, "statvfs", lambda _path: room)
        mock_clock.jump(1)
        while "stores events" not in report.texts:
            await trio.lowlevel.checkpoint()
        await spool.append(arrivals("a"))
        assert keys_of(await take_all(out, 1)) == ["a"]


async def test_a_disk_without_any_room_loses_nothing(context: SpoolContext, layer, mock_clock):
    async with (
        open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool,
        spool.subscribe("out", batch=1) as out,
    ):
        await spool.append(arrivals("a"))
        lease = await out.take()
        layer.fail_write = FULL
        with pytest.raises(SpoolUnavailable, match="no room left"):
            await lease.settle(1)
        with pytest.raises(SpoolUnavailable, match="no room left"):
            await spool.append(arrivals("b"))
        layer.fail_write = 0
        await lease.settle(1)
    assert audit(context.directory).problems == ()


@pytest.mark.parametrize("failure", ["sync", "full"])
async def test_after_a_failure_among_requests_stored_singly_none_is_acknowledged(
    context: SpoolContext, layer, monkeypatch, failure
):
    """What cannot be written makes the writer store each request of its batch alone."""
    outcomes: dict[str, str] = {}
    stored = 0
    store = Writer._store

    def failing_once(writer, appends, operations):
        nonlocal stored
        stored += 1
        if stored == 2:  # the first request that is stored alone
            layer.fail_sync = failure == "sync"
            layer.fail_write = FULL if failure == "full" else 0
        try:
            store(writer, appends, operations)
        finally:
            layer.fail_sync, layer.fail_write = False, 0

    async with open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool:
        await spool.append(arrivals("before"))
        monkeypatch.setattr(Writer, "_store", failing_once)

        async def put_what_cannot_be_written() -> None:
            with pytest.raises(Exception, match=r"surrogates|refuse|room|disk|verified|sync"):
                await spool.state("source:x").put("\ud800", 1)

        async with trio.open_nursery() as senders:
            senders.start_soon(put_what_cannot_be_written)
            for key in "abc":
                senders.start_soon(outcome_of, spool, key, outcomes)
    assert outcomes.keys() == {"a", "b", "c"}
    assert "stored" not in outcomes.values()
