"""A spool of version 1 of the tables is taken over, and nothing of it is lost."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio.testing
from attrs import evolve

from bridge.api import Duration
from bridge.api.spool import LetterFilter, SpoolContext
from bridge.spool import SqliteSettings, ageing, keys_prune, letters
from bridge.spool.audit import audit
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import arrival, arrivals, refuse_all, take_all
from tests.spool.earlier import (
    CONFIGURED,
    FOLDERS,
    Earlier,
    check_accounts,
    check_everything,
    check_known,
    copy_earlier,
    listed,
)

DAY = 86400.0


@pytest.fixture(params=FOLDERS)
def earlier(request: pytest.FixtureRequest, context: SpoolContext, tmp_path: Path) -> Earlier:
    """What was in the spool that lies in the context's folder."""
    copy_earlier(request.param, context.directory)
    return Earlier(request.param, tmp_path / "read")


@pytest.fixture
def context(context: SpoolContext) -> SpoolContext:
    return evolve(context, sinks=CONFIGURED)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done in the background takes many steps."""
    monkeypatch.setattr(letters, "MOVED_A_STEP", 4)
    monkeypatch.setattr(ageing, "PARKED_A_STEP", 3)
    monkeypatch.setattr(keys_prune, "KEYS_A_STEP", 50)


def rows(context: SpoolContext, query: str) -> list[tuple]:
    with closing(sqlite3.connect(context.directory / "spool.sqlite")) as connection:
        return connection.execute(query).fetchall()


def problems(context: SpoolContext) -> tuple[str, ...]:
    found = audit(context.directory, CONFIGURED)
    assert found.balanced == (not found.problems)
    return found.problems


async def letters_moved(spool) -> None:
    """Do what the background does, at once."""
    while spool.housekeeping._letters_to_move:
        await spool.housekeeping.move_letters()


async def let_time_pass(clock, done) -> None:
    """Let the background do its rounds until something is done."""
    while not done():
        clock.jump(1)
        await trio.testing.wait_all_tasks_blocked(0.01)


async def test_nothing_of_an_earlier_spool_is_lost(earlier: Earlier, context: SpoolContext):
    async with open_sqlite(SqliteSettings(), context) as spool:
        assert problems(context) == ()
        await check_accounts(spool, earlier)
        await check_known(spool, earlier)
        await letters_moved(spool)
        await check_everything(spool, earlier)
        await check_known(spool, earlier)
    assert problems(context) == ()


async def test_letters_are_moved_in_steps_and_each_is_sound(
    earlier: Earlier, context: SpoolContext, small_steps
):
    left = [(len(earlier.letters),)]
    async with open_sqlite(SqliteSettings(), context) as spool:
        while left != [(0,)]:
            await spool.housekeeping.move_letters()
            before, left = left, rows(context, "SELECT count(*) FROM dead_letters")
            assert before[0][0] - left[0][0] <= 4
            assert problems(context) == ()
            await check_accounts(spool, earlier)
        await check_everything(spool, earlier)
    assert problems(context) == ()


async def test_a_letter_made_meanwhile_gets_a_number_of_its_own(
    earlier: Earlier, context: SpoolContext
):
    async with open_sqlite(SqliteSettings(), context) as spool:
        async with spool.subscribe("out", batch=1) as out:
            (made,) = await refuse_all(spool, out)
        assert made == earlier.letters[-1][0] + 1
        assert problems(context) == ()
        await letters_moved(spool)
        assert (await listed(spool))[:-1] == earlier.letters
    assert problems(context) == ()


async def test_a_sink_purged_before_its_letters_moved(
    earlier: Earlier, context: SpoolContext, small_steps
):
    async with open_sqlite(SqliteSettings(), context) as spool:
        await spool._write(letters.move_letters)
        assert await spool.purge("out") == earlier.accounts["out"]["pending"]
        async with spool.subscribe("out", batch=1):
            assert problems(context) == ()
        await letters_moved(spool)
        found = await spool.letters(LetterFilter(sink="out"), limit=1000)
        assert [letter.id for letter in found] == [
            number for number, sink, *_ in earlier.letters if sink == "out"
        ]
        assert all(letter.purged for letter in found)
    assert problems(context) == ()


async def test_a_sink_renamed_before_its_letters_moved(
    earlier: Earlier, context: SpoolContext, small_steps
):
    async with open_sqlite(SqliteSettings(), context) as spool:
        await spool.rename("out", "north")
        assert problems(context) == ()
        (account, *_) = [each for each in await spool.accounts([]) if each.sink == "north"]
        assert account.dead == earlier.accounts["out"]["dead"]
        assert [each[:1] + each[2:] for each in await listed(spool)] == [
            each[:1] + each[2:] for each in earlier.letters
        ]
    assert problems(context) == ()


async def test_what_an_earlier_orphan_owes_is_set_aside_whole(
    earlier: Earlier, context: SpoolContext, small_steps, mock_clock
):
    async with open_sqlite(SqliteSettings(), context) as spool:
        await letters_moved(spool)
        await spool.housekeeping.age()
        mock_clock.jump(7 * DAY - 1)
        await spool.housekeeping.age()
        assert await spool.parked("gone") == []
        mock_clock.jump(1)
        await spool.housekeeping.age()
        waiting = await spool.parked("gone")
        assert {each.device: each.events for each in waiting} == {
            device: len(events) for device, events in earlier.owed["gone"].items()
        }
        assert problems(context) == ()
        await check_accounts(spool, earlier)
        await check_known(spool, earlier)
        await check_everything(spool, earlier)
    assert problems(context) == ()


async def test_events_go_once_the_earlier_orphan_keeps_them_not(
    earlier: Earlier, context: SpoolContext, mock_clock
):
    async with open_sqlite(SqliteSettings(keep=Duration(0)), context) as spool:
        await spool.housekeeping.age()
        mock_clock.jump(7 * DAY)
        await spool.housekeeping.age()
        for sink in CONFIGURED:
            async with spool.subscribe(sink, batch=100) as subscription:
                await take_all(subscription, earlier.accounts[sink]["pending"])
        await spool.housekeeping.prune_events()
        assert rows(context, "SELECT count(*) FROM events") == [(0,)]
        assert problems(context) == ()


async def test_earlier_keys_are_known_for_one_window(
    earlier: Earlier, context: SpoolContext, small_steps, mock_clock
):
    tables = "SELECT count(*) FROM sqlite_master WHERE name = 'keys'"
    async with open_sqlite(SqliteSettings(), context) as spool:
        mock_clock.jump(34 * DAY)
        with trio.move_on_after(120):
            await let_time_pass(mock_clock, lambda: False)
        await check_known(spool, earlier)
        assert await spool.append(arrivals("new")) == 1
        assert rows(context, tables) == [(1,)]
        mock_clock.jump(DAY)
        await let_time_pass(mock_clock, lambda: rows(context, tables) == [(0,)])
        assert await spool.append(arrivals("new")) == 0
        assert await spool.append(earlier.arrivals[:1]) == 1
        assert problems(context) == ()
    async with open_sqlite(SqliteSettings(), context) as spool:
        assert await spool.append([arrival("new"), *earlier.arrivals[:2]]) == 1
    assert problems(context) == ()
