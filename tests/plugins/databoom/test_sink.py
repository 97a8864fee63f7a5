"""The sink against the stand-in for Databoom, over real sockets."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime, timedelta

import pytest
import trio
import trustme

from bridge.api import Batch, Duration, Outcome, Pause, Reject, Retry, SettingError, Size
from bridge_plugins.databoom import sink as sink_module
from bridge_plugins.databoom.emulator.server import Fault, open_emulator

START = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
TOKEN = "t0ken-of-the-tests"
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


@pytest.mark.fact("Meta on the first push creates a validated signal")
async def test_a_new_signal_is_recorded_from_its_first_value(bench):
    async with bench(rules={"validation_trap": True}) as b:
        await b.sink.deliver(b.make.batch(("t", 1)))
        assert b.emulator.cloud.points("d1", "t") == [(START, 1)]


@pytest.mark.fact("Mistake 2: believing that a 2xx means stored")
async def test_without_meta_the_values_of_a_new_signal_are_lost_until_a_person_validates_it(bench):
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


@pytest.mark.fact("The push is POST /v1/signals/push with a JSON body and Authorization: Bearer")
@pytest.mark.fact("Requests are not compressed: support is unknown")
async def test_a_push_carries_the_token_and_plain_json(bench):
    async with bench() as b:
        await b.sink.deliver(b.make.batch(("t", 1)))
        headers = b.emulator.requests[0].headers
        assert headers["authorization"] == "Bearer ********"
        assert headers["content-type"] == "application/json"
        assert "content-encoding" not in headers


async def test_readings_arrive_over_tls(bench, server_tls, authority):
    async with bench(tls=server_tls, ca_file=authority[1]) as b:
        await b.sink.deliver(b.make.batch(("t", 1)))
        assert b.emulator.cloud.points("d1", "t") == [(START, 1)]


async def test_a_certificate_of_an_unknown_authority_pauses_before_anything_is_sent(
    bench, server_tls, tmp_path
):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    async with bench(tls=server_tls, ca_file=other) as b:
        with pytest.raises(Pause, match="cannot be trusted"):
            await b.sink.deliver(b.make.batch(("t", 1)))
        assert b.emulator.requests == []


async def test_a_server_that_does_not_speak_tls_is_tried_again(bench, open_sink, make):
    async with bench() as plain, open_sink(plain.emulator.url.replace("http:", "https:")) as sink:
        with pytest.raises(Retry, match="no connection to Databoom"):
            await sink.deliver(make.batch(("t", 1)))


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_ca_file_that_cannot_be_used_is_named(open_sink, tmp_path, content):
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    with pytest.raises(SettingError, match=str(ca_file)):
        async with open_sink("https://127.0.0.1:1/", ca_file=ca_file):
            pass


async def test_events_without_readings_are_filtered_without_a_request(bench):
    async with bench() as b:
        batch = b.make.batch(("state", "open"), ("state", "shut"))
        assert await b.sink.deliver(batch) == Outcome({0, 1})
        assert b.emulator.requests == []


async def test_events_without_readings_are_filtered_and_the_others_arrive(bench):
    async with bench() as b:
        assert await b.sink.deliver(b.make.batch(("state", "open"), ("t", 1))) == Outcome({0})
        assert b.emulator.cloud.points("d1", "t") == [(START, 1)]


@pytest.mark.fact("408, 425, 429 and 5xx are tried again, not before Retry-After")
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_temporary_failure_is_tried_again_not_before_retry_after(bench, status):
    async with bench() as b:
        b.emulator.faults.next.append(Fault(status=status, retry_after=17))
        with pytest.raises(Retry, match=str(status)) as caught:
            await b.sink.deliver(b.make.batch(("t", 1)))
        assert caught.value.after == 17


async def test_retry_after_may_be_a_date(bench):
    async with bench() as b:
        b.emulator.faults.next.append(Fault(status=503, retry_after=START + timedelta(seconds=90)))
        with pytest.raises(Retry) as caught:
            await b.sink.deliver(b.make.batch(("t", 1)))
        assert caught.value.after == 90


@pytest.mark.fact("400, 422 and other 4xx are rejected with status and excerpt")
@pytest.mark.parametrize("status", [400, 409, 422])
async def test_refused_content_is_rejected_with_its_status_for_the_whole_batch(bench, status):
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


@pytest.mark.fact(
    "A deleted token stops every push until it is restored: the sink pauses and drops nothing",
)
async def test_a_revoked_token_pauses_the_sink_until_it_is_restored(bench):
    async with bench() as b:
        b.emulator.revoke(TOKEN)
        batch = b.make.batch(("t", 1))
        with pytest.raises(Pause, match="refuses the token") as caught:
            await b.sink.deliver(batch)
        assert not caught.value.device_only
        b.emulator.restore(TOKEN)
        await b.sink.deliver(batch)
        assert b.emulator.cloud.points("d1", "t") == [(START, 1)]


@pytest.mark.fact("A push needs the scope Publish")
async def test_a_token_without_the_scope_publish_pauses_the_sink(bench):
    async with bench(tokens={TOKEN: ("Read",)}) as b:
        with pytest.raises(Pause, match=r"403.*Publish"):
            await b.sink.deliver(b.make.batch(("t", 1)))


@pytest.mark.fact("3xx pauses and is never followed; the token goes nowhere else")
@pytest.mark.fact("Mistake 8: following redirects with the token")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(bench, status):
    async with open_emulator({}) as elsewhere, bench() as b:
        b.emulator.faults.next.append(Fault(status=status, location=elsewhere.url))
        with pytest.raises(Pause, match="redirects"):
            await b.sink.deliver(b.make.batch(("t", 1)))
        assert elsewhere.requests == []


@pytest.mark.fact("The retry of an ambiguous request has the identical body")
@pytest.mark.parametrize("cut", ["before", "after"])
async def test_the_retry_of_a_cut_answer_has_the_identical_body(bench, cut):
    async with bench() as b:
        batch = b.make.batch(("t", 1), ("u", 2, 5), ("t", 3, 9))
        b.emulator.faults.next.append(Fault(cut=cut))
        with pytest.raises(Retry, match="broke before its answer"):
            await b.sink.deliver(batch)
        b.clock.advance(86_400)
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
        await b.sink.deliver(
            batch
        )  # once through, the batch is forgotten: what comes again is sent again
        assert len(b.emulator.requests) == 4


async def test_nobody_listening_is_tried_again(open_sink, make):
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    async with open_sink(f"http://127.0.0.1:{port}/v1/signals/push") as sink:
        with pytest.raises(Retry, match="no connection to Databoom"):
            await sink.deliver(make.batch(("t", 1)))


@pytest.mark.fact("Mistake 11: giving up on an empty answer although the status is 2xx")
@pytest.mark.parametrize("body", [b"", b" "])
async def test_a_blank_answer_is_as_good_as_the_documented_one(bench, body):
    async with bench(strict_body=True) as b:
        b.emulator.faults.always = Fault(body=body)
        await b.sink.deliver(b.make.batch(("t", 1)))
        assert b.reports.texts == []


@pytest.mark.fact("A 2xx with another message, or not JSON, is accepted and told once")
async def test_an_unusual_answer_is_accepted_and_told_once(bench):
    async with bench() as b:
        b.emulator.faults.always = Fault(body=b"<html>queued</html>")
        for value in range(3):
            assert await b.sink.deliver(b.make.batch(("t", value))) is None
        assert len(b.reports.texts) == 1
        assert "<html>queued</html>" in b.reports.texts[0]
        assert b.reports.problem


@pytest.mark.fact("strict_body makes it a failure that is tried again")
async def test_a_strict_sink_repeats_a_push_with_an_unusual_answer(bench):
    async with bench(strict_body=True) as b:
        b.emulator.faults.next.append(Fault(body=b"<html>queued</html>"))
        batch = b.make.batch(("t", 1))
        with pytest.raises(Retry, match="queued"):
            await b.sink.deliver(batch)
        await b.sink.deliver(batch)
        assert b.emulator.requests[0].body == b.emulator.requests[1].body


async def test_an_endless_answer_is_read_but_not_kept(bench):
    async with bench() as b:
        b.emulator.faults.next.append(Fault(status=400, body=b"x" * (1 << 20)))
        with pytest.raises(Reject) as caught:
            await b.sink.deliver(b.make.batch(("t", 1)))
        assert len(caught.value.why) < 300


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
async def test_a_single_value_that_is_too_large_is_rejected_and_the_others_arrive(bench):
    async with bench(rules={"most_bytes": 400, "texts": True}, texts="send") as b:
        batch = b.make.batch(("t", 1), ("note", "x" * 400, 1), ("t", 2, 2))
        with pytest.raises(Reject, match="single value is too large") as caught:
            await b.sink.deliver(batch)
        assert (caught.value.indexes, caught.value.status) == ({1}, 413)
        assert [value for _, value in b.emulator.cloud.points("d1", "t")] == [1, 2]


async def test_a_signal_whose_introduction_was_too_large_is_introduced_by_the_next_value(bench):
    async with bench(rules={"most_bytes": 400, "texts": True}, texts="send") as b:
        with pytest.raises(Reject):
            await b.sink.deliver(b.make.batch(("note", "x" * 400)))
        await b.sink.deliver(b.make.batch(("note", "short", 1)))
        assert [value for _, value in b.emulator.cloud.points("d1", "note")] == ["short"]


async def test_events_that_cannot_be_named_are_dead_letters_and_the_others_arrive(bench):
    async with bench(signal="{label.room}_{signal}") as b:
        lacking = b.make.event(("t", 1))
        named = b.make.event(("t", 2), labels={"room": "hall"})
        outcome = await b.sink.deliver(Batch((lacking, named)))
        assert "no label 'room'" in outcome.dead[0]
        assert (outcome.dead.keys(), outcome.filtered) == ({0}, frozenset())
        assert b.emulator.cloud.points("d1", "hall_t") == [(START, 2)]


@pytest.mark.fact("A point more than 10 minutes in the future is not sent, and kept as dead letter")
async def test_a_reading_from_the_future_is_a_dead_letter_that_no_refusal_is_counted_for(bench):
    async with bench() as b:
        outcome = await b.sink.deliver(b.make.batch(("t", 1, 700), ("t", 2)))
        assert "more than future_limit" in outcome.dead[0]
        assert b.emulator.cloud.points("d1", "t") == [(START, 2)]


@pytest.mark.fact("Mistake 7: dropping a whole batch for one bad point")
async def test_refused_events_have_a_reason_each_and_the_sink_says_what_became_of_the_others(bench):
    async with bench(rules={"most_bytes": 400, "texts": True}, texts="send") as b:
        batch = b.make.batch(("t", 1), ("t", 2, 700), ("a", "x" * 400), ("b", "x" * 500))
        batch = Batch((*batch.events, b.make.event()))
        with pytest.raises(Reject) as caught:
            await b.sink.deliver(batch)
        assert caught.value.reasons.keys() == {2, 3}
        assert (caught.value.others.filtered, caught.value.others.dead.keys()) == ({4}, {1})


@pytest.mark.fact("And 405 pause the sink where nothing ever worked")
@pytest.mark.parametrize("status", [404, 405])
async def test_an_address_that_never_worked_pauses_the_whole_sink(bench, status):
    async with bench() as b:
        b.emulator.faults.always = Fault(status=status)
        with pytest.raises(Pause, match="check url") as caught:
            await b.sink.deliver(b.make.batch(("t", 1)))
        assert not caught.value.device_only


@pytest.mark.fact("Of one device while others succeed pauses that device only")
async def test_an_unknown_device_pauses_alone_if_another_one_works(bench):
    async with bench(rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        with pytest.raises(Pause, match="no device 'd2'") as caught:
            await b.sink.deliver(b.make.batch(("t", 1), device="d2"))
        assert caught.value.device_only


async def test_a_device_that_worked_and_is_gone_pauses_the_sink_if_it_is_the_only_one(bench):
    async with bench(rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        del b.emulator.cloud.devices["d1"]
        with pytest.raises(Pause) as caught:
            await b.sink.deliver(b.make.batch(("t", 2)))
        assert not caught.value.device_only


async def probe(b, batch, times, seconds):
    """Deliver again and again to a device that is not found, while another one goes on."""
    for _ in range(times):
        with pytest.raises(Pause):
            await b.sink.deliver(batch)
        b.clock.advance(seconds)
        await b.sink.deliver(b.make.batch(("t", 1)))


@pytest.mark.fact("More than 10 times over at least an hour: dead letters of that device")
async def test_a_device_that_stays_unknown_for_an_hour_gets_dead_letters(bench):
    async with bench(rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        lost = b.make.batch(("t", 1), ("t", 2, 1), device="d2")
        await probe(b, lost, times=10, seconds=360)
        with pytest.raises(Reject, match="no device 'd2'") as caught:
            await b.sink.deliver(lost)
        assert (caught.value.indexes, caught.value.status) == ({0, 1}, 404)


@pytest.mark.fact("Less than an hour is waited for")
async def test_a_device_unknown_for_less_than_an_hour_is_waited_for(bench):
    async with bench(rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        await probe(b, b.make.batch(("t", 1), device="d2"), times=30, seconds=100)


async def test_a_device_asked_for_rarely_is_waited_for_longer_than_an_hour(bench):
    async with bench(rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        await probe(b, b.make.batch(("t", 1), device="d2"), times=10, seconds=3600)


@pytest.mark.fact("401, 403 and 404 never drop data while all devices are unknown")
async def test_no_device_gets_dead_letters_while_all_are_unknown(bench):
    async with bench(rules={"unknown_device": 404}, unknown_device_time=Duration(0)) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        b.emulator.faults.always = Fault(status=404)
        for _ in range(20):
            b.clock.advance(3600)
            with pytest.raises(Pause):
                await b.sink.deliver(b.make.batch(("t", 1), device="d2"))


async def test_a_device_that_is_created_at_last_gets_its_events(bench):
    async with bench(rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        waiting = b.make.batch(("t", 1), device="d2")
        await probe(b, waiting, times=3, seconds=360)
        b.emulator.cloud.add_device("d2")
        await b.sink.deliver(waiting)
        assert b.emulator.cloud.points("d2", "t") == [(START, 1)]


@pytest.mark.fact("The clock is compared with the Date of answers; more than 60 s are told")
@pytest.mark.parametrize(("minutes", "said"), [(2, "behind"), (-2, "ahead of")])
async def test_a_wrong_clock_is_told_once_and_taken_back(bench, minutes, said):
    async with bench() as b:
        b.emulator.faults.clock_skew = timedelta(minutes=minutes)
        for value in range(3):
            await b.sink.deliver(b.make.batch(("t", value)))
        assert len(b.reports.texts) == 1
        assert f"more than 60 s {said} Databoom's" in b.reports.texts[0]
        assert b.reports.problem
        b.emulator.faults.clock_skew = timedelta(seconds=59)
        await b.sink.deliver(b.make.batch(("t", 9)))
        assert len(b.reports.texts) == 2
        assert not b.reports.problem


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


TELLING = [
    Fault(
        status=status,
        body=f'{{"message":"bad token {TOKEN}"}}'.encode(),
        location=f"https://x/?t={TOKEN}",
    )
    for status in (200, 301, 400, 401, 403, 404, 413, 429, 500)
]


@pytest.mark.fact("Dead letters never hold the token")
@pytest.mark.parametrize(
    "fault", [*TELLING, Fault(cut="before")], ids=lambda fault: str(fault.status)
)
async def test_the_token_is_in_no_log_report_or_exception(bench, caplog, fault):
    with caplog.at_level(logging.INFO):
        async with bench() as b:
            b.emulator.faults.always = fault
            said = ""
            try:
                await b.sink.deliver(b.make.batch(("t", 1)))
            except (Retry, Reject, Pause) as verdict:
                said = "".join(traceback.format_exception(verdict))
    assert TOKEN not in said
    assert TOKEN not in caplog.text
    assert TOKEN not in "".join(b.reports.texts)
    assert TOKEN not in repr(b.emulator.requests)


@pytest.mark.fact("Mistake 6: logging the key on a 401, or the token in a debug dump")
async def test_the_token_is_not_even_in_the_log_of_every_detail(bench, caplog):
    with caplog.at_level(logging.DEBUG):
        async with bench() as b:
            await b.sink.deliver(b.make.batch(("t", 1)))
    assert caplog.text
    assert TOKEN not in caplog.text


async def test_the_largest_push_of_the_settings_is_kept(bench):
    async with bench(most_bytes=Size(1024)) as b:
        await b.sink.deliver(b.make.batch(*(("t", value, value) for value in range(100))))
        assert [value for _, value in b.emulator.cloud.points("d1", "t")] == list(range(100))
        assert max(len(request.body) for request in b.emulator.requests) <= 1024
