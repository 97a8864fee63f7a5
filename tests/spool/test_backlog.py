"""What a sink may owe: beyond it sources are refused, or its oldest events go."""

# ruff: noqa: SIM117  # what is nested is opened one after the other

import pytest
from attrs import evolve

from bridge.api import Size, SpoolUnavailable
from bridge.api.spool import SpoolContext
from bridge.api.spool.problems import BACKLOG_EXPIRES
from bridge.spool import SqliteSettings
from bridge.spool.audit import audit
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import arrival, keys_of, take_all
from bridge.testing.fakes import FakeReport

LIMIT = Size.parse("100KiB")


def large(first: int, count: int = 20):
    """Events of 20 kB each."""
    return [arrival(f"{number}-" + "x" * 10_000) for number in range(first, first + count)]


async def until(condition, mock_clock, spool) -> None:
    """Let the housekeeping come round until something is so."""
    while not condition():
        mock_clock.jump(1)
        await spool.accounts([])


async def test_a_sink_that_owes_too_much_refuses_sources(
    context: SpoolContext, report: FakeReport, mock_clock
):
    async with (
        open_sqlite(SqliteSettings(), evolve(context, sinks=("out",))) as spool,
        spool.subscribe("out", batch=99, max_backlog=LIMIT) as out,
    ):
        await spool.append(large(0))
        await until(lambda: spool.refusal is not None, mock_clock, spool)
        with pytest.raises(SpoolUnavailable, match=r"out owes more than max_backlog = 100KiB"):
            await spool.append(large(20))
        await take_all(out, 20)
        await until(lambda: spool.refusal is None, mock_clock, spool)
        assert await spool.append(large(20)) == 20
        (account,) = await spool.accounts(["out"])
    assert (account.delivered, account.expired, account.pending) == (20, 0, 20)


async def test_the_oldest_events_of_a_sink_go_if_it_is_to_be(
    context: SpoolContext, report: FakeReport, mock_clock
):
    context = evolve(context, sinks=("out", "other"))
    async with open_sqlite(SqliteSettings(), context) as spool:
        async with (
            spool.subscribe("out", batch=99, max_backlog=LIMIT, when_full="expire") as out,
            spool.subscribe("other", batch=99) as other,
        ):
            await spool.append(large(0))
            told = report.problem_names
            await until(lambda: BACKLOG_EXPIRES.name in told, mock_clock, spool)
            assert await spool.append(large(20, 1)) == 1
            accounts = {account.sink: account for account in await spool.accounts(["out"])}
            left = accounts["out"].pending
            assert 1 < left < 10
            assert accounts["out"].expired == 21 - left
            taken = keys_of(await take_all(out, left))
            assert [int(key.split("-")[0]) for key in taken] == [*range(21 - left, 21)]
            assert len(await take_all(other, 21)) == 21
    assert audit(context.directory).problems == ()
