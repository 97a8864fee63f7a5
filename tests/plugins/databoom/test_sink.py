"""The sink against the emulator, over real sockets: what becomes of a batch."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import trio

from bridge.api import (
    Batch,
    Duration,
    Outcome,
    Reject,
    Retry,
    Size,
)
from bridge.testing.fakes import FakeReport
from bridge_plugins.databoom import sink as sink_module
from bridge_plugins.databoom.emulator.server import Fault
from bridge_plugins.databoom.sink import CountedRemark

START = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
TOKEN = "t0ken-of-the-tests"
KEY = "key-of-the-tests"
MINUTE = timedelta(minutes=1)


async def test_readings_arrive_with_value_and_time(bench):
    async with bench() as b:
        assert (
            await b.sink.deliver(b.make.batch(("t", 20.5, 0), ("t", 21.5, 60), ("t", True, 120)))
            is None
        )
        assert b.emulator.cloud.points("d1", "t") == [
            (START, 20.5),
            (START + MINUTE, 21.5),
            (START + 2 * MINUTE, 1),
        ]


async def test_readings_arrive_of_an_event_without_a_key(bench):
    async with bench() as b:
        await b.sink.deliver(Batch((b.make.event(("t", 20.5), key=None),)))
        assert b.emulator.cloud.points("d1", "t") == [(START, 20.5)]


async def test_a_replay_of_the_past_is_delivered_after_the_present(bench):
    async with bench() as b:
        await b.sink.deliver(b.make.batch(("t", 21.5, 60)))
        await b.sink.deliver(Batch(b.make.batch(("t", 20.5, 0)).events, replay=True))
        points = b.emulator.cloud.points("d1", "t")  # in the order of arrival
        assert points == [(START + MINUTE, 21.5), (START, 20.5)]


@pytest.mark.fact("Meta on the first push creates a validated signal")
async def test_a_new_signal_is_recorded_from_its_first_value(bench):
    async with bench(rules={"validation_trap": True}) as b:
        await b.sink.deliver(b.make.batch(("t", 1)))
        assert b.emulator.cloud.points("d1", "t") == [(START, 1)]


@pytest.mark.fact("Mistake 2: believing that a 2xx means stored")
async def test_without_meta_values_are_lost_until_someone_validates(bench):
    async with bench(meta=False) as b:
        await b.sink.deliver(b.make.batch(("t", 1)))
        assert b.emulator.cloud.points("d1", "t") == []
        b.emulator.cloud.validate("d1", "t")
        await b.sink.deliver(b.make.batch(("t", 2)))
        assert b.emulator.cloud.points("d1", "t") == [(START, 2)]


@pytest.mark.fact("Meta is sent at first contact only")
async def test_a_signal_is_described_only_once(bench):
    async with bench() as b:
        for value in (1, 2):
            await b.sink.deliver(b.make.batch(("t", value)))
        assert [("meta" in body["signals"][0]) for body in b.bodies()] == [True, False]


async def test_events_without_readings_are_filtered_without_a_request(bench):
    async with bench() as b:
        batch = b.make.batch(("state", "open"), ("state", "shut"))
        assert await b.sink.deliver(batch) == Outcome({0, 1})
        assert b.emulator.requests == []


async def test_events_without_readings_do_not_keep_others(bench):
    async with bench() as b:
        assert await b.sink.deliver(b.make.batch(("state", "open"), ("t", 1))) == Outcome({0})
        assert b.emulator.cloud.points("d1", "t") == [(START, 1)]


@pytest.mark.fact("408, 425, 429 and 5xx are tried again, not before Retry-After")
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_temporary_failure_hands_on_retry_after(bench, status):
    async with bench() as b:
        b.emulator.faults.next.append(Fault(status=status, retry_after=17))
        with pytest.raises(Retry, match=str(status)) as caught:
            await b.sink.deliver(b.make.batch(("t", 1)))
        assert caught.value.after == 17


@pytest.mark.fact("400, 422 and other 4xx are rejected with status and excerpt")
@pytest.mark.parametrize("status", [400, 409, 422])
async def test_refused_content_is_rejected_as_a_whole_with_its_status(bench, status):
    async with bench() as b:
        b.emulator.faults.next.append(Fault(status=status))
        with pytest.raises(Reject) as caught:
            await b.sink.deliver(b.make.batch(("t", 1), ("t", 2, 1)))
        assert (caught.value.status, caught.value.indexes) == (status, frozenset())


@pytest.mark.fact("A refused batch is bisected down to the culprit, the others are delivered")
async def test_one_poison_value_is_found_by_bisecting(bench):
    async with bench() as b:
        b.emulator.faults.poison.add(666)
        batch = b.make.batch(("t", 1, 0), ("t", 2, 1), ("t", 666, 2), ("t", 3, 3))
        with pytest.raises(Reject):
            await b.sink.deliver(batch)
        left = Batch(batch.events[2:3])
        with pytest.raises(Reject, match="this value is not liked") as caught:
            await b.sink.deliver(left)
        assert caught.value.status == 400
        await b.sink.deliver(Batch((*batch.events[:2], *batch.events[3:])))
        assert [value for _, value in b.emulator.cloud.points("d1", "t")] == [1, 2, 3]


@pytest.mark.fact("The retry of an ambiguous request has the identical body")
@pytest.mark.parametrize("cut", ["before", "after"])
async def test_the_retry_of_a_cut_answer_has_the_identical_body(bench, cut):
    async with bench() as b:
        batch = b.make.batch(("t", 1), ("u", 2, 5), ("t", 3, 9))
        b.emulator.faults.next.append(Fault(cut=cut))
        with pytest.raises(Retry, match="Databoom cannot be reached: Server disconnected"):
            await b.sink.deliver(batch)
        b.clock.move(timedelta(seconds=86_400))
        await b.sink.deliver(batch)
        first, again, *_ = b.emulator.requests
        assert first.body == again.body
        assert [value for _, value in b.emulator.cloud.points("d1", "t")] == [1, 3]


@pytest.mark.fact("Mistake 10: another body for the retry, or sending again what was accepted")
async def test_pushes_taken_before_a_failure_are_not_repeated(bench):
    async with bench() as b:
        batch = b.make.batch(("t", 1), ("t", 2, 1), ("t", 3, 2))
        b.emulator.faults.next += [Fault(), Fault(status=503)]
        with pytest.raises(Retry):
            await b.sink.deliver(batch)
        await b.sink.deliver(batch)
        introduction, failed, again = b.emulator.requests
        assert failed.body == again.body != introduction.body
        # Once through, the batch is forgotten: what comes again is sent again.
        await b.sink.deliver(batch)
        assert len(b.emulator.requests) == 4


@pytest.mark.fact("Is halved and tried again at once")
async def test_a_push_that_is_too_large_is_halved_until_it_fits(bench):
    async with bench(rules={"most_bytes": 400}) as b:
        batch = b.make.batch(*(("t", value, value) for value in range(40)))
        await b.sink.deliver(batch)
        assert [value for _, value in b.emulator.cloud.points("d1", "t")] == list(range(40))
        assert all(
            len(request.body) <= 400 for request in b.emulator.requests if request.status == 200
        )


@pytest.mark.fact("A single point that is refused with 413 is a dead letter")
async def test_a_single_value_that_is_too_large_is_rejected_alone(bench):
    async with bench(rules={"most_bytes": 400, "texts": True}, texts="send") as b:
        batch = b.make.batch(("t", 1), ("note", "x" * 400, 1), ("t", 2, 2))
        with pytest.raises(Reject, match="single value is too large") as caught:
            await b.sink.deliver(batch)
        assert (caught.value.indexes, caught.value.status) == ({1}, 413)
        assert [value for _, value in b.emulator.cloud.points("d1", "t")] == [1, 2]


async def test_an_introduction_too_large_is_left_to_the_next_value(bench):
    async with bench(rules={"most_bytes": 400, "texts": True}, texts="send") as b:
        with pytest.raises(Reject):
            await b.sink.deliver(b.make.batch(("note", "x" * 400)))
        await b.sink.deliver(b.make.batch(("note", "short", 1)))
        assert [value for _, value in b.emulator.cloud.points("d1", "note")] == ["short"]


async def test_events_that_cannot_be_named_are_dead_letters(bench):
    async with bench(signal="{label.room}_{signal}") as b:
        lacking = b.make.event(("t", 1))
        named = b.make.event(("t", 2), labels={"room": "hall"})
        outcome = await b.sink.deliver(Batch((lacking, named)))
        assert "no label 'room'" in outcome.dead[0]
        assert (outcome.dead.keys(), outcome.filtered) == ({0}, frozenset())
        assert b.emulator.cloud.points("d1", "hall_t") == [(START, 2)]


@pytest.mark.fact("A point more than 10 minutes in the future is not sent, and kept as dead letter")
async def test_a_reading_from_the_future_is_dead_but_no_refusal(bench):
    async with bench() as b:
        outcome = await b.sink.deliver(b.make.batch(("t", 1, 700), ("t", 2)))
        assert "more than future_limit" in outcome.dead[0]
        assert b.emulator.cloud.points("d1", "t") == [(START, 2)]


@pytest.mark.fact("Mistake 7: dropping a whole batch for one bad point")
async def test_refused_events_have_a_reason_each(bench):
    async with bench(rules={"most_bytes": 400, "texts": True}, texts="send") as b:
        batch = b.make.batch(("t", 1), ("t", 2, 700), ("a", "x" * 400), ("b", "x" * 500))
        batch = Batch((*batch.events, b.make.event()))
        with pytest.raises(Reject) as caught:
            await b.sink.deliver(batch)
        assert caught.value.reasons.keys() == {2, 3}
        assert (caught.value.others.filtered, caught.value.others.dead.keys()) == ({4}, {1})


async def test_what_the_sink_remembers_is_bounded(bench, monkeypatch):
    monkeypatch.setattr(sink_module, "MAX_BATCHES", 1)
    async with bench() as b:
        b.emulator.faults.always = Fault(status=503)
        for _ in range(3):
            with pytest.raises(Retry):
                await b.sink.deliver(b.make.batch(("a", 1)))
        assert len(b.sink._unfinished) == 1


async def test_a_batch_of_many_readings_arrives_whole(bench):
    async with bench() as b:
        event = b.make.event(*(("t", value, value / 10) for value in range(1001)))
        await b.sink.deliver(Batch((event,)))
        assert [value for _, value in b.emulator.cloud.points("d1", "t")] == list(range(1001))


async def test_several_devices_are_pushed_at_once(bench):
    async with bench() as b, trio.open_nursery() as lanes:
        for number in range(12):
            lanes.start_soon(b.sink.deliver, b.make.batch(("t", number), device=f"d{number}"))
    assert {request.json["device"] for request in b.emulator.requests} == {
        f"d{number}" for number in range(12)
    }


async def test_the_largest_push_of_the_settings_is_kept(bench):
    async with bench(most_bytes=Size(1024)) as b:
        await b.sink.deliver(b.make.batch(*(("t", value, value) for value in range(100))))
        assert [value for _, value in b.emulator.cloud.points("d1", "t")] == list(range(100))
        assert max(len(request.body) for request in b.emulator.requests) <= 1024


@pytest.mark.fact("Values reach the device that a template made")
async def test_the_first_push_of_the_template_form_makes_the_device(bench):
    async with bench(form="template", template="tpl", rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_template("tpl", "t", "u")
        await b.sink.deliver(b.make.batch(("t", 1), ("t", 2, 60)))
        cloud = b.emulator.cloud
        assert cloud.points("tpl-d1", "t") == [(START, 1), (START + timedelta(seconds=60), 2)]
        assert cloud.signals["tpl-d1", "u"].status == "ACTIVE"
        assert [request.path for request in b.emulator.requests] == ["/v1/signals/push/d1"] * 2


@pytest.mark.fact("A form that is configured is kept")
@pytest.mark.parametrize("form", ["array", "history"])
async def test_a_form_that_is_asked_for_is_kept(bench, form):
    async with bench(form=form, rules={"validation_trap": False}) as b:
        await b.sink.deliver(b.make.batch(("t", 1), ("t", 2, 60)))
        kinds = {type(body["signals"]) for body in b.bodies()}
        assert kinds == {list if form == "array" else dict}
        assert [value for _, value in b.emulator.cloud.points("d1", "t")] == [1, 2]


@pytest.mark.fact("The smaller size is remembered")
async def test_a_push_that_was_too_large_teaches_the_next_ones(bench):
    async with bench(rules={"most_bytes": 1000}) as b:
        await b.sink.deliver(b.make.batch(*(("t", value, value) for value in range(60))))
        refused = len([request for request in b.emulator.requests if request.status == 413])
        assert refused > 0
        await b.sink.deliver(b.make.batch(*(("t", value, value) for value in range(100, 160))))
        assert len([request for request in b.emulator.requests if request.status == 413]) == refused
        assert len(b.emulator.cloud.points("d1", "t")) == 120


@pytest.mark.fact("What is learned meanwhile does not change the retry")
async def test_what_is_learned_meanwhile_changes_no_retry(bench):
    async with bench(rules={"most_bytes": 1000}) as b:
        await b.sink.deliver(b.make.batch(("t", 0), ("u", 0)))
        waiting = b.make.batch(*(("t", value, value) for value in range(1, 16)))
        b.emulator.faults.next.append(Fault(cut="after"))
        with pytest.raises(Retry):
            await b.sink.deliver(waiting)
        await b.sink.deliver(
            b.make.batch(*(("t", value, value) for value in range(60)), device="d2")
        )
        await b.sink.deliver(waiting)
        of_d1 = [request.body for request in b.emulator.requests if request.json["device"] == "d1"]
        assert of_d1[1:] == [of_d1[1]] * 2
        assert len(of_d1[1]) > b.sink._push_size.bytes


@pytest.mark.parametrize(("unmapped", "outcome"), [("skip", Outcome({0})), ("send", None)])
async def test_a_device_in_no_map_is_left_out_or_sent(bench, unmapped, outcome):
    async with bench(unmapped=unmapped, devices={"other": "x"}) as b:
        assert await b.sink.deliver(b.make.batch(("t", 1))) == outcome
        assert bool(b.emulator.requests) == (unmapped == "send")


async def test_a_device_in_no_map_can_be_a_dead_letter(bench):
    async with bench(unmapped="dead", devices={"other": "x"}) as b:
        outcome = await b.sink.deliver(b.make.batch(("t", 1)))
        assert "device 'd1' is in no map" in outcome.dead[0]
        assert b.emulator.requests == []


@pytest.mark.fact("What is not sent is counted and told")
async def test_values_that_databoom_cannot_hold_are_told(bench):
    async with bench() as b:
        await b.sink.deliver(b.make.batch(("door", "open"), ("t", 1), ("big", 2**60)))
        assert b.reports.problems == []
        left_out, inexact = b.reports.topics["left-out"], b.reports.topics["inexact"]
        assert (
            "neither number nor boolean: 1 since the start, the newest: signal 'door' of "
            "device 'd1'"
        ) in left_out
        assert "above 2^53" in inexact
        assert b.emulator.cloud.points("d1", "big") == [(START, 2**60)]


@pytest.mark.fact("Collecting interval per device, 0 s by default")
async def test_a_device_waits_for_its_interval_and_others_do_not(bench, mock_clock):
    mock_clock.rate = 20
    async with bench(min_interval=Duration(5)) as b:
        began = trio.current_time()
        await b.sink.deliver(b.make.batch(("t", 1)))
        await b.sink.deliver(b.make.batch(("t", 1), device="d2"))
        assert trio.current_time() - began < 5
        await b.sink.deliver(b.make.batch(("t", 2, 1)))
        assert trio.current_time() - began >= 5


async def test_an_attempt_that_is_cut_short_goes_on_with_the_same_push(bench, mock_clock):
    mock_clock.rate = 20
    async with bench() as b:
        batch = b.make.batch(("t", 1), ("t", 2, 1), ("t", 3, 2))
        b.emulator.faults.next += [Fault(), Fault(delay=15)]
        with trio.move_on_after(10) as attempt:
            await b.sink.deliver(batch)
        assert attempt.cancelled_caught
        await b.sink.deliver(batch)
        # Until the emulator has found out that nobody waits for its late answer.
        await trio.sleep(10)
        bodies = [request.body for request in b.emulator.requests]
        assert len(bodies) == 3
        assert bodies[0] != bodies[1] == bodies[2]


async def test_a_refused_batch_is_planned_anew_for_its_halves(bench):
    async with bench() as b:
        b.emulator.faults.next.append(Fault(status=400))
        with pytest.raises(Reject):
            await b.sink.deliver(b.make.batch(("t", 1), ("t", 2, 1)))
        assert b.sink._unfinished == {}


async def test_a_count_is_told_at_once_and_then_once_an_hour(autojump_clock):
    report = FakeReport()
    remark = CountedRemark(report, "left-out", "left out")
    for _ in range(7):
        remark.add(Counter({"s": 2}), "d")
        remark.add(Counter(), "d")
        await trio.sleep(600)
    assert report.texts == [
        "left out: 2 since the start, the newest: signal 's' of device 'd'",
        "left out: 14 since the start, the newest: signal 's' of device 'd'",
    ]
    assert report.problems == []
