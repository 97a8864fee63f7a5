"""Delivery to one sink: order, batches, retries, pauses, dead letters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from attrs import evolve

from bridge.api import Arrival, Batch, Outcome, Pause, Reject, Retry, encode
from bridge.flow.instances.grace_period import GracePeriod
from bridge.testing.fakes import FakeReport
from bridge.testing.memory import open_memory_spool
from tests.flow.conftest import START, make_event
from tests.flow.delivery.delivering import (
    POLICY,
    FakeSink,
    account,
    delivering,
    drained,
    fill,
    of_device,
)


@pytest.mark.fact("FIFO per signal", vendor="databoom")
async def test_everything_is_delivered_in_order_per_device(autojump_clock):
    async with open_memory_spool() as spool:
        sink = FakeSink(seconds=0.1)
        await fill(spool, 1000, devices=7)
        async with delivering(spool, sink):
            await drained(spool)
        for device in range(7):
            assert of_device(sink.taken, f"d{device}") == list(range(device, 1000, 7))
        assert (await account(spool)).delivered == 1000


async def test_no_more_attempts_run_at_once_than_in_flight_allows(autojump_clock):
    async with open_memory_spool() as spool:
        sink = FakeSink(seconds=1)
        await fill(spool, 1000, devices=50)
        async with delivering(spool, sink, evolve(POLICY, in_flight=3)):
            await drained(spool)
        assert sink.busiest == 3


async def test_a_slow_destination_gets_larger_batches(autojump_clock):
    async with open_memory_spool() as spool:
        sink = FakeSink(seconds=10)
        async with delivering(spool, sink, evolve(POLICY, in_flight=1)):
            for number in range(60):
                event = make_event(number, "d1")
                await spool.append([Arrival("s", event.key, event.device, encode(event), START)])
                await trio.sleep(0.5)
            await drained(spool)
        assert len(sink.sizes) <= 6


async def test_an_outage_loses_nothing_and_says_so_once(autojump_clock):
    async with open_memory_spool() as spool:
        report = FakeReport()

        def away(batch: Batch) -> None:
            if trio.current_time() < 86_400:
                raise Retry("connection refused")

        sink = FakeSink(away)
        await fill(spool, 500, devices=20)
        async with delivering(spool, sink, report=report):
            await drained(spool)
        assert sorted(sink.taken) == sorted(f"d{n % 20}-{n}" for n in range(500))
        assert set(report.problems) == {"fails: connection refused; trying again, its events wait"}
        assert set(report.problem_names) == {"sink-fails"}
        assert report.texts[-1] == "delivers again"


@pytest.mark.fact("And 403 pause the sink and keep the queue", vendor="databoom")
async def test_a_refused_token_pauses_the_sink_and_drops_nothing(autojump_clock):
    async with open_memory_spool() as spool:
        attempts: list[float] = []

        def refuse(batch: Batch) -> None:
            attempts.append(trio.current_time())
            if trio.current_time() < 3500:
                raise Pause("401: the token is refused")

        report = FakeReport()
        await fill(spool, 100, devices=10)
        async with delivering(spool, FakeSink(refuse), report=report):
            await drained(spool)
        probes = [time for time in attempts if 0 < time < 3500]
        assert len(probes) == 11  # one every five minutes
        assert "401: the token is refused" in report.problems[0]
        assert set(report.problem_names) == {"sink-paused"}
        assert (await account(spool)).delivered == 100


async def test_a_dead_sink_does_not_delay_another(autojump_clock):
    async with open_memory_spool() as spool:

        def refuse(batch: Batch) -> None:
            raise Retry("503")

        good = FakeSink()
        await fill(spool, 200, devices=5)
        async with (
            delivering(spool, FakeSink(refuse), name="bad"),
            delivering(spool, good, name="good"),
        ):
            await drained(spool, "good")
            assert trio.current_time() == 0
        assert (await account(spool, "bad")).pending == 200


async def test_one_refused_event_of_500_is_a_dead_letter_in_the_spool(
    autojump_clock,
):
    async with open_memory_spool() as spool:

        def refuse(batch: Batch) -> None:
            if any(stored.event.key == "d0-123" for stored in batch.events):
                raise Reject("value out of range", status=422)

        report = FakeReport()
        await fill(spool, 500)
        async with delivering(spool, FakeSink(refuse), evolve(POLICY, batch=500), report=report):
            await drained(spool)
            await report.wait_for("dead letter")
        assert report.topics == {"dead": "1 dead letter, the newest: value out of range"}
        (kept,) = spool.dead_letters
        assert kept.stored.event.key == "d0-123"
        assert (kept.letter.reason, kept.letter.status) == ("value out of range", 422)
        found = await account(spool)
        assert (found.delivered, found.dead) == (499, 1)


async def test_thousands_of_dead_letters_are_a_line_a_minute(autojump_clock):
    async with open_memory_spool() as spool:

        def refuse(batch: Batch) -> None:
            if any(stored.event.device == "d0" for stored in batch.events):
                raise Reject("no such signal")

        report = FakeReport()
        await fill(spool, 1000, devices=2)
        async with delivering(
            spool,
            FakeSink(refuse, seconds=0.1),
            evolve(POLICY, batch=10, reject_limit=0),
            report=report,
        ):
            await drained(spool)
            await trio.sleep(120)
        assert len(spool.dead_letters) == 500
        assert report.topics["dead"].startswith("500 dead letters")
        assert len(report.problems) <= trio.current_time() / 60 + 1


async def test_a_sink_that_refuses_everything_is_paused_until_mended(
    autojump_clock,
):
    async with open_memory_spool() as spool:

        def refuse(batch: Batch) -> None:
            if trio.current_time() < 10_000:
                raise Reject("date format", status=400)

        sink = FakeSink(refuse)
        report = FakeReport()
        await fill(spool, 1000, devices=50)
        async with delivering(spool, sink, report=report):
            await drained(spool)
        assert "refused 20 devices in a row" in report.problems[0]
        assert spool.dead_letters == []
        for device in range(50):
            assert of_device(sink.taken, f"d{device}") == list(range(device, 1000, 50))


async def test_a_probe_that_holds_nothing_for_the_sink_is_not_the_last(autojump_clock):
    async with open_memory_spool() as spool:

        def behave(batch: Batch) -> Outcome:
            if trio.current_time() < 10:
                raise Reject("date format")
            return Outcome(range(len(batch.events)))

        await fill(spool, 50, devices=50)
        async with delivering(spool, FakeSink(behave, seconds=0.1)):
            await drained(spool)
        assert (await account(spool)).filtered == 50


async def test_one_device_that_sends_rubbish_never_pauses_the_sink(autojump_clock):
    async with open_memory_spool() as spool:

        def refuse(batch: Batch) -> None:
            if any(stored.event.device == "d0" for stored in batch.events):
                raise Reject("no such signal")

        await fill(spool, 1000)
        async with delivering(spool, FakeSink(refuse)):
            await drained(spool)
        assert (await account(spool)).dead == 1000


async def test_an_attempt_that_takes_too_long_is_repeated(autojump_clock):
    async with open_memory_spool() as spool:
        sink = FakeSink(seconds=31)

        async def faster() -> None:
            await trio.sleep(100)
            sink.seconds = 1

        report = FakeReport()
        await fill(spool, 5)
        async with delivering(spool, sink, report=report), trio.open_nursery() as nursery:
            nursery.start_soon(faster)
            await drained(spool)
        assert "no answer within 30 s" in report.problems[0]


async def test_a_sink_may_ask_for_one_device_a_request(autojump_clock):
    async with open_memory_spool(lanes=1) as spool:
        devices: list[int] = []

        def look(batch: Batch) -> None:
            devices.append(len({stored.event.device for stored in batch.events}))

        await fill(spool, 90, devices=9)
        async with delivering(spool, FakeSink(look), evolve(POLICY, one_device=True)):
            await drained(spool)
        assert set(devices) == {1}


async def test_on_stop_an_attempt_under_way_may_finish_and_is_settled(autojump_clock):
    async with open_memory_spool() as spool:
        grace_period = GracePeriod()
        sink = FakeSink(seconds=5)
        await fill(spool, 10)
        async with delivering(spool, sink, grace_period=grace_period):
            await trio.sleep(1)
            grace_period.close(20)
        assert trio.current_time() == 5
        assert (await account(spool)).delivered == 10


async def test_on_stop_an_endless_attempt_is_cut_off_at_the_deadline(autojump_clock):
    async with open_memory_spool() as spool:
        grace_period = GracePeriod()
        await fill(spool, 10)
        async with delivering(spool, FakeSink(seconds=25), grace_period=grace_period):
            await trio.sleep(1)
            grace_period.close(3)
        assert trio.current_time() == 4
        assert (await account(spool)).pending == 10


async def test_delivered_events_are_settled_when_the_store_can_write(autojump_clock):
    async with open_memory_spool() as spool:
        sink = FakeSink()
        await fill(spool, 3)
        spool.refuse_writes = "the disk is full"

        async def room_again() -> None:
            await trio.sleep(10)
            spool.refuse_writes = None

        async with delivering(spool, sink), trio.open_nursery() as nursery:
            nursery.start_soon(room_again)
            await drained(spool)
        assert len(sink.taken) == 3  # not delivered twice


async def test_a_sink_owes_only_what_its_sources_bring(autojump_clock):
    async with open_memory_spool() as spool:
        sink = FakeSink()
        await fill(spool, 20, source="a")
        async with delivering(spool, sink, sources=["b"]):
            await drained(spool)
        found = await account(spool)
        assert (found.filtered, found.delivered, sink.taken) == (20, 0, [])


async def test_a_mistake_of_the_plugin_is_logged_with_traceback_once(autojump_clock, caplog):
    async with open_memory_spool() as spool:

        def crash(batch: Batch) -> None:
            if any(stored.event.key == "d0-5" for stored in batch.events):
                raise ZeroDivisionError("division by zero")

        await fill(spool, 10)
        async with delivering(spool, FakeSink(crash)):
            await drained(spool)
        (kept,) = spool.dead_letters
        assert kept.stored.event.key == "d0-5"
        (record,) = [record for record in caplog.records if record.exc_info]
        assert record.exc_info[0] is ZeroDivisionError


async def test_a_sink_that_returns_nonsense_is_told_what_is_expected(autojump_clock, caplog):
    async with open_memory_spool() as spool:
        sink = FakeSink(behave=lambda batch: "200 OK")
        await fill(spool, 1)
        async with delivering(spool, sink):
            await drained(spool)
        (letter,) = spool.dead_letters
        assert "deliver returned '200 OK', expected an Outcome or None" in letter.letter.reason
        assert caplog.text.count("the plugin of a sink failed") == 1


@pytest.mark.parametrize("nonsense", [False, 0, [], "200 OK"])
async def test_only_none_and_an_outcome_say_delivered(autojump_clock, nonsense):
    async with open_memory_spool() as spool:
        await fill(spool, 1)
        async with delivering(spool, FakeSink(behave=lambda batch: nonsense)):
            await drained(spool)
        assert (await account(spool)).dead == 1


def rejecting(*indexes: int, others: Outcome | None = None) -> Callable[[Batch], Outcome | None]:
    def behave(batch: Batch) -> Outcome | None:
        raise Reject("no", indexes=indexes, others=others)

    return behave


@pytest.mark.parametrize(
    "behave",
    [
        rejecting(-1),
        rejecting(7),
        rejecting(0, others=Outcome(filtered={7})),
        lambda batch: Outcome(filtered={7}),
        lambda batch: Outcome(dead={-1: "no"}),
        lambda batch: Outcome(dead={0, 1}),
    ],
)
async def test_a_position_that_a_batch_lacks_is_a_mistake_and_no_delivery(autojump_clock, behave):
    async with open_memory_spool() as spool:
        await fill(spool, 3)
        async with delivering(spool, FakeSink(behave=behave)):
            await drained(spool)
        assert (await account(spool)).delivered == 0
        assert len(spool.dead_letters) == 3


async def test_a_lease_that_has_ended_elsewhere_is_lent_again(autojump_clock, caplog):
    async with open_memory_spool(lanes=1) as spool:
        purged = False

        def look(batch: Batch) -> None:
            nonlocal purged
            if not purged:
                purged = True
                cursors = spool.store.cursors["sink"]
                cursors[0] = evolve(cursors[0], position=2, filtered=2)

        sink = FakeSink(look)
        await fill(spool, 5)
        async with delivering(spool, sink):
            await drained(spool)
        assert sink.taken[-3:] == ["d0-2", "d0-3", "d0-4"]
        assert "lent again" in caplog.text
