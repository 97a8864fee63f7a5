"""The emulator of DT's push engine: its queue, its clock and its bytes, without a
network.
"""

import hmac
import itertools
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from random import Random

import httpx
import pytest
import trio
from attrs import evolve

from bridge.api import Request, Secret
from bridge_plugins.disruptive.emulator.demo import publish_forever
from bridge_plugins.disruptive.emulator.events import new_xid, rfc3339
from bridge_plugins.disruptive.emulator.push.faults import Faults
from bridge_plugins.disruptive.emulator.server import Delivery, open_emulator
from bridge_plugins.disruptive.webhook import Settings, make_receive

URL = "https://bridge.example.org/dt"
START = datetime(2024, 5, 29, 10, 34, 3, 970415, tzinfo=UTC)


def now():
    return START + timedelta(seconds=trio.current_time())


@asynccontextmanager
async def emulator(answer, **settings):
    """Open a connector whose requests are answered by a function of (number of the
    request, request).

    Gives the connector and a growing list of (time, request).
    """
    requests = []

    async def respond(request):
        await request.aread()
        requests.append((trio.current_time(), request))
        status = answer(len(requests), request)
        if status is None:
            await trio.sleep_forever()
        return httpx.Response(status)

    settings = {"delivery": Delivery(jitter=0), "random": Random(1), "verify": False, **settings}
    transport = httpx.MockTransport(respond)
    async with open_emulator(
        URL, "test-secret", now=now, transport=transport, **settings
    ) as connector:
        yield connector, requests


def fine(_number, _request):
    return 200


def values(requests):
    return [
        json.loads(request.content)["event"]["data"]["temperature"]["value"]
        for _, request in requests
    ]


@pytest.mark.fact("A push is one event, compact UTF-8 JSON with event, labels and metadata")
async def test_a_body_is_byte_for_byte_what_the_vendor_documents(autojump_clock):
    async with emulator(fine) as (connector, requests):
        event_id = connector.publish(
            "temperature", "emucdd6ef2eu277bo8f52vg", {"value": 27}, labels={"name": "test temp"}
        )
        await connector.drained()
    [(_, request)] = requests
    project = json.loads(request.content)["metadata"]["projectId"]
    expected = (
        '{"event":{"eventId":"EVENT","targetName":"projects/PROJECT/devices/emucdd6ef2eu277bo8f52vg",'
        '"eventType":"temperature","data":{"temperature":{"value":27,"updateTime":"2024-05-29T10:34:03.970415Z",'
        '"samples":[{"value":27,"sampleTime":"2024-05-29T10:34:03.970415Z"}],"isBackfilled":false}},'
        '"timestamp":"2024-05-29T10:34:03.970415Z"},"labels":{"name":"test temp"},"metadata":'
        '{"deviceId":"emucdd6ef2eu277bo8f52vg","projectId":"PROJECT","deviceType":"temperature","productNumber":""}}'
    )
    assert request.content.decode() == expected.replace("EVENT", event_id).replace(
        "PROJECT", project
    )


@pytest.mark.fact("An eventId is an xid: 20 characters of 0-9a-v that begin with the time")
def test_an_id_is_an_xid():
    made = new_xid(datetime.fromtimestamp(1716978843, UTC), Random(1))
    assert re.fullmatch("[0-9a-v]{20}", made)
    assert made.startswith("cpbg96")  # as the recorded event of that second


async def test_labels_changed_is_flat(autojump_clock):
    async with emulator(fine) as (connector, requests):
        connector.publish(
            "labelsChanged", "d", {"added": {"name": "x"}, "modified": {}, "removed": []}
        )
        await connector.drained()
    [(_, request)] = requests
    assert json.loads(request.content)["event"]["data"] == {
        "added": {"name": "x"},
        "modified": {},
        "removed": [],
    }


@pytest.mark.fact("4xx and 5xx are retried until success; only 200 is success")
async def test_an_event_is_sent_and_signed_again_until_it_hears_200(autojump_clock):
    def answer(number, _request):
        return (503, 401, 202, 200)[number - 1]

    async with emulator(answer) as (connector, requests):
        event_id = connector.publish("temperature", "d", {"value": 1})
        assert connector.pending == 1
        await connector.drained()
    assert [time for time, _ in requests] == [0, 5, 10, 15]
    assert len({request.content for _, request in requests}) == 1
    assert len({request.headers["X-Dt-Signature"] for _, request in requests}) == 4
    assert connector.acknowledged == {event_id: 1}
    assert connector.outcomes == {"503": 1, "401": 1, "202": 1, "200": 1}
    assert connector.pending == 0


@pytest.mark.fact("Any 2xx may count as success (selectable)")
async def test_any_2xx_is_success_if_so_chosen(autojump_clock):
    async with emulator(lambda *_: 202, delivery=Delivery(exactly_200=False)) as (connector, _):
        event_id = connector.publish("temperature", "d", {"value": 1})
        await connector.drained()
    assert connector.acknowledged == {event_id: 1}


@pytest.mark.fact("An answer must come within 10 s")
async def test_an_answer_after_ten_seconds_is_none(autojump_clock):
    async with emulator(lambda number, _: None if number == 1 else 200) as (connector, requests):
        connector.publish("temperature", "d", {"value": 1})
        await connector.drained()
    assert [time for time, _ in requests] == [0, 15]
    assert connector.outcomes == {"no answer in time": 1, "200": 1}


@pytest.mark.fact("An event is dropped at the age of 12 h")
async def test_an_event_is_dropped_after_twelve_hours(autojump_clock):
    async with emulator(lambda *_: 503, delivery=Delivery(spacing=3600, jitter=0)) as (
        connector,
        requests,
    ):
        event_id = connector.publish("temperature", "d", {"value": 1})
        await connector.drained()
        assert trio.current_time() == 12 * 3600
    assert connector.lost == {event_id}
    assert len(requests) == 12


@pytest.mark.fact("5 days of nothing but failures give SYSTEM_DISABLED")
async def test_a_connector_is_disabled_after_five_days_of_failures(autojump_clock):
    async with emulator(lambda *_: 500, delivery=Delivery(spacing=3600)) as (connector, requests):
        published = set()
        for day in range(6):
            published.add(connector.publish("temperature", f"d{day}", {"value": day}))
            await trio.sleep(23.5 * 3600)
        assert connector.disabled
        waiting = connector.publish("temperature", "d", {"value": 7})
        await connector.drained()
        assert connector.lost == published | {waiting}

        connector.enable()
        attempts = len(requests)
        connector.publish("temperature", "d", {"value": 8})
        await trio.sleep(1)
        assert len(requests) == attempts + 1


@pytest.mark.fact("Days without events are no failures")
async def test_days_without_events_are_no_failures(autojump_clock):
    async with emulator(lambda number, _: 503 if number == 1 else 200) as (connector, _):
        await trio.sleep(6 * 86400)
        connector.publish("temperature", "d", {"value": 1})
        await connector.drained()
    assert not connector.disabled


@pytest.mark.fact("Disabling loses the queue")
async def test_disabling_loses_what_waits_and_what_is_held_back(autojump_clock):
    async with emulator(lambda *_: 503, faults=Faults(reorder=1)) as (connector, _):
        held_back = connector.publish("temperature", "d", {"value": 1})
        connector.faults = Faults()
        waiting = connector.publish("temperature", "d", {"value": 2})
        await trio.sleep(1)
        connector.disable()
        await connector.drained()
    assert connector.lost == {held_back, waiting}


@pytest.mark.fact("What was held back is lost with the queue when the connector is disabled")
@pytest.mark.parametrize(
    ("faults", "status"), [(Faults(reorder=1), 200), (Faults(late_retry=1), 503)]
)
async def test_what_is_held_back_during_a_disabling_stays_lost(autojump_clock, faults, status):
    async with emulator(lambda *_: status, faults=faults) as (connector, requests):
        event_id = connector.publish("temperature", "d", {"value": 1})
        await trio.sleep(1)
        connector.disable()
        connector.enable()
        await connector.drained()
        assert connector.lost == {event_id}
        assert len(requests) == (status == 503)


async def test_a_duplicate_of_before_a_disabling_is_not_pushed(autojump_clock):
    async with emulator(fine, faults=Faults(duplicate=1, late_retry=1)) as (connector, requests):
        connector.publish("temperature", "d", {"value": 1})
        await trio.sleep(1)
        connector.disable()
        connector.enable()
        await connector.drained()
    assert (len(requests), connector.lost) == (1, set())


async def test_events_come_in_order_within_a_device_only(
    autojump_clock,
):
    def answer(_number, request):
        return 503 if b"/devices/a" in request.content and trio.current_time() < 20 else 200

    async with emulator(answer) as (connector, requests):
        for value in range(6):
            connector.publish("temperature", "ab"[value % 2], {"value": value})
        await connector.drained()
    of_a = [(time, request) for time, request in requests if b"/devices/a" in request.content]
    of_b = [(time, request) for time, request in requests if b"/devices/b" in request.content]
    assert values(of_a) == [0, 0, 0, 0, 0, 2, 4]
    assert values(of_b) == [1, 3, 5]
    assert of_b[-1][0] == 0


@pytest.mark.fact("head-of-line blocking of the whole connector is a parameter (unknown)")
async def test_one_failing_event_may_hold_up_all_others(autojump_clock):
    delivery = Delivery(one_queue=True, jitter=0)
    async with emulator(lambda number, _: 503 if number < 3 else 200, delivery=delivery) as (
        connector,
        requests,
    ):
        for value in range(3):
            connector.publish("temperature", f"d{value}", {"value": value})
        await connector.drained()
    assert values(requests) == [0, 0, 0, 1, 2]


@pytest.mark.fact("No ordering")
async def test_reordering_lets_later_events_overtake(autojump_clock):
    async with emulator(fine, faults=Faults(reorder=1)) as (connector, requests):
        connector.publish("temperature", "d", {"value": 1})
        connector.faults = Faults()
        connector.publish("temperature", "d", {"value": 2})
        await connector.drained()
    assert values(requests) == [2, 1]


@pytest.mark.fact("At least once, duplicates")
async def test_a_duplicate_is_sent_once_more_after_its_acknowledgement(autojump_clock):
    async with emulator(fine, faults=Faults(duplicate=1)) as (connector, _):
        event_id = connector.publish("temperature", "d", {"value": 1})
        await connector.drained()
    assert connector.acknowledged == {event_id: 2}


async def test_a_duplicate_that_is_dropped_is_not_lost(autojump_clock):
    def answer(number, _request):
        return 200 if number == 1 else 503

    slow = Delivery(spacing=3600)
    async with emulator(answer, delivery=slow, faults=Faults(duplicate=1)) as (connector, _):
        connector.publish("temperature", "d", {"value": 1})
        await connector.drained()
    assert connector.lost == set()


@pytest.mark.fact("Parallel pushes are limited")
async def test_no_more_devices_are_served_at_one_time_than_allowed(autojump_clock):
    most = 0
    under_way = 0

    async def respond(_request):
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        await trio.sleep(1)
        under_way -= 1
        return httpx.Response(200)

    delivery = Delivery(parallel=3)
    transport = httpx.MockTransport(respond)
    async with open_emulator(
        URL, "s", now=now, delivery=delivery, transport=transport
    ) as connector:
        for number in range(9):
            connector.publish("touch", f"d{number}")
        await connector.drained()
        assert trio.current_time() == 3
    assert most == 3


@pytest.mark.fact("Custom headers go with each request")
async def test_custom_headers_go_with_every_request(autojump_clock):
    async with emulator(fine, headers={"X-Bridge-Key": "v"}) as (connector, requests):
        connector.publish("touch", "d")
        await connector.drained()
    [(_, request)] = requests
    assert request.headers["X-Bridge-Key"] == "v"


@pytest.mark.fact("Bodies of before 2022 lack metadata and samples")
async def test_old_bodies_lack_metadata_and_samples(autojump_clock):
    async with emulator(fine, faults=Faults(no_metadata=1, no_samples=1)) as (connector, requests):
        connector.publish("temperature", "d", {"value": 1})
        connector.publish("labelsChanged", "d", {"added": {}, "removed": []})
        await connector.drained()
    first, second = (json.loads(request.content) for _, request in requests)
    assert first["event"]["data"] == {
        "temperature": {"value": 1, "updateTime": "2024-05-29T10:34:03.970415Z"}
    }
    assert second["event"]["data"] == {"added": {}, "removed": []}
    assert set(first) == set(second) == {"event", "labels"}


async def test_a_share_of_a_half_hits_about_half(autojump_clock):
    async with emulator(lambda *_: 200, faults=Faults(cut_after_answer=0.5)) as (connector, _):
        for number in range(200):
            connector.publish("touch", f"d{number}")
        await connector.drained()
    assert 70 < connector.outcomes["answer lost"] < 130
    assert len(connector.acknowledged) == 200


async def test_a_signed_request_satisfies_the_receiver(autojump_clock):
    async with emulator(fine) as (connector, requests):
        connector.publish("touch", "d")
        await connector.drained()
    [(_, sent)] = requests
    headers = {name.lower(): (value,) for name, value in sent.headers.items()}
    receive = make_receive(Settings(secret=Secret("test-secret")), lambda: START)
    [event] = receive(Request("POST", "/dt", "", headers, sent.content)).events
    assert event.readings[0].signal == "touch"


async def test_the_secret_is_in_no_text_of_the_connector(autojump_clock):
    async with emulator(fine) as (connector, _):
        assert "test-secret" not in repr(connector)


@pytest.mark.fact("Fault, chunked and slow body")
@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_a_chunked_body_takes_its_time(autojump_clock, share):
    async with emulator(fine, faults=Faults(chunked=share, pause=0.25)) as (connector, requests):
        connector.publish("touch", "d")
        await connector.drained()
    [(time, request)] = requests
    assert ("Transfer-Encoding" in request.headers) == bool(share)
    assert time == (0.25 if not share else 0.25 * -(-len(request.content) // 64))


@pytest.mark.fact("Late retries")
async def test_a_late_retry_does_not_hold_up_its_device(autojump_clock):
    faults = Faults(late_retry=1)
    async with emulator(lambda number, _: 503 if number == 1 else 200, faults=faults) as (
        connector,
        requests,
    ):
        connector.publish("temperature", "d", {"value": 1})
        connector.publish("temperature", "d", {"value": 2})
        await connector.drained()
    assert values(requests) == [1, 2, 1]
    assert [time for time, _ in requests] == [0, 0, 3600]


@pytest.mark.fact("Duplicates with no guarantee of timing")
async def test_a_duplicate_can_come_late(autojump_clock):
    async with emulator(fine, faults=Faults(duplicate=1, late_retry=1)) as (connector, requests):
        connector.publish("temperature", "d", {"value": 1})
        await connector.drained()
    assert [time for time, _ in requests] == [0, 3600]


async def test_a_late_retry_beyond_twelve_hours_is_lost(autojump_clock):
    delivery = Delivery(late=13 * 3600)
    async with emulator(lambda *_: 503, delivery=delivery, faults=Faults(late_retry=1)) as (
        connector,
        requests,
    ):
        event_id = connector.publish("temperature", "d", {"value": 1})
        await connector.drained()
    assert (len(requests), connector.lost) == (1, {event_id})


def issued(request):
    claims = request.headers["X-Dt-Signature"].split(".")[1]
    return json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["iat"] - int(
        START.timestamp()
    )


@pytest.mark.fact("Every attempt is signed anew (assumed), adjustable")
@pytest.mark.parametrize(("sign_anew", "times"), [(True, [0, 1000, 2000]), (False, [0, 0, 0])])
async def test_whether_a_retry_is_signed_anew_can_be_chosen(autojump_clock, sign_anew, times):
    delivery = Delivery(spacing=1000, jitter=0, sign_anew=sign_anew)
    async with emulator(lambda number, _: 503 if number < 3 else 200, delivery=delivery) as (
        connector,
        requests,
    ):
        connector.publish("touch", "d")
        await trio.sleep(500)
        connector.endpoint = evolve(connector.endpoint, secret="new")
        await connector.drained()
    assert [issued(request) for _, request in requests] == times
    tokens = [request.headers["X-Dt-Signature"].rpartition(".") for _, request in requests]
    secret = b"new" if sign_anew else b"test-secret"
    mac = (
        urlsafe_b64encode(hmac.digest(secret, tokens[2][0].encode(), "sha256"))
        .rstrip(b"=")
        .decode()
    )
    assert tokens[2][2] == mac


@pytest.mark.fact("3xx is a failure and not followed")
@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500])
async def test_any_other_answer_is_a_failure_redirects_too(autojump_clock, status):
    async with emulator(lambda number, _: status if number == 1 else 200) as (connector, requests):
        connector.publish("touch", "d")
        await connector.drained()
    assert connector.outcomes == {str(status): 1, "200": 1}
    assert {request.url for _, request in requests} == {URL}


@pytest.mark.fact("USER_DISABLED and SYSTEM_DISABLED are told apart")
async def test_the_status_tells_who_disabled_a_connector(autojump_clock):
    async with emulator(lambda *_: 500, delivery=Delivery(spacing=3600)) as (connector, _):
        assert connector.status == "ACTIVE"
        connector.disable()
        assert connector.status == "USER_DISABLED"
        connector.enable()
        for number in range(12):
            connector.publish("touch", f"d{number}")
            await trio.sleep(11 * 3600)
        assert connector.status == "SYSTEM_DISABLED"


@pytest.mark.fact("One success keeps a connector ACTIVE")
async def test_one_success_in_five_days_keeps_a_connector_active(autojump_clock):
    def answer(_number, request):
        return 200 if b"/devices/good" in request.content else 500

    async with emulator(answer, delivery=Delivery(spacing=3600)) as (connector, _):
        for day in range(8):
            connector.publish("touch", f"d{day}")
            if day == 3:
                connector.publish("touch", "good")
            await trio.sleep(86400)
        assert connector.status == "ACTIVE"


@pytest.mark.fact("Retry jitter")
async def test_retries_come_later_by_a_share_of_chance(autojump_clock):
    delivery = Delivery(spacing=100, jitter=0.5)
    async with emulator(lambda number, _: 503 if number < 20 else 200, delivery=delivery) as (
        connector,
        requests,
    ):
        connector.publish("touch", "d")
        await connector.drained()
    times = [time for time, _ in requests]
    gaps = {round(later - sooner) for sooner, later in itertools.pairwise(times)}
    assert len(gaps) > 5
    assert min(gaps) >= 100
    assert max(gaps) <= 150


async def test_only_the_types_and_labels_of_the_connector_are_pushed(autojump_clock):
    async with emulator(fine) as (connector, requests):
        connector.events, connector.labels = ("touch",), ("name",)
        connector.publish("co2", "d", {"ppm": 1})
        connector.publish("touch", "d", labels={"name": "x", "room": "1"})
        await connector.drained()
    [(_, request)] = requests
    assert json.loads(request.content)["labels"] == {"name": "x"}


@pytest.mark.fact("Fault, a body that never ends")
async def test_a_stalled_body_ends_at_the_answer_limit(autojump_clock):
    async with emulator(fine, faults=Faults(stalled_body=1)) as (connector, requests):
        connector.publish("touch", "d")
        await connector.drained()
    assert connector.outcomes == {"no answer in time": 1, "200": 1}
    assert [time for time, _ in requests] == [15]


@pytest.mark.fact("Metrics count non-2xx as errors; latency99p is a text with suffix s")
async def test_metrics_tell_the_slowest_of_a_hundred(autojump_clock):
    async def respond(_request):
        await trio.sleep(0.663)
        return httpx.Response(202)

    async with open_emulator(
        URL, "s", now=now, transport=httpx.MockTransport(respond)
    ) as connector:
        connector.publish("touch", "d")
        await trio.sleep(1)
        # For the metrics a 202 is none of the errors, though the event comes again.
        assert connector.metrics.document(now()) == {
            "successCount": 1,
            "errorCount": 0,
            "latency99p": "0.663s",
        }
        assert connector.pending == 1


@pytest.mark.fact("Times are RFC 3339, UTC, Z, six digits")
async def test_every_shape_of_a_time_is_written_as_the_vendor_does():
    time = datetime(2024, 5, 29, 12, 0, 0, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(time) == "2024-05-29T10:00:00.000000Z"


async def test_the_demo_stops_making_events_while_a_thousand_wait(autojump_clock):
    async with emulator(lambda *_: 503) as (connector, _):
        with trio.move_on_after(200):
            await publish_forever(connector, 10, Random(1))
        assert connector.pending == 1001


async def test_the_demo_makes_as_many_events_a_second_as_asked_for(autojump_clock):
    async with emulator(fine) as (connector, requests):
        with trio.move_on_after(60.05):
            await publish_forever(connector, 10, Random(1))
        await connector.drained()
    assert len(requests) == 601
