"""The stand-in for DT's push engine: its queue, its clock and its bytes, without a network."""

import json
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import httpx
import pytest
import trio

from bridge.api import Request, Secret
from bridge_plugins.disruptive.emulator import Delivery, open_emulator
from bridge_plugins.disruptive.emulator_devices import publish_forever
from bridge_plugins.disruptive.emulator_requests import Faults, new_xid
from bridge_plugins.disruptive.webhook import Settings, make_receive

URL = "https://bridge.example.org/dt"
START = datetime(2024, 5, 29, 10, 34, 3, 970415, tzinfo=UTC)


def now():
    return START + timedelta(seconds=trio.current_time())


@asynccontextmanager
async def emulator(answer, **settings):
    """Open a connector whose requests are answered by a function of (number of the request, request).

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

    settings = {"delivery": Delivery(jitter=0), "random": Random(1), **settings}
    transport = httpx.MockTransport(respond)
    async with open_emulator(URL, "test-secret", now=now, transport=transport, **settings) as connector:
        yield connector, requests


def fine(_number, _request):
    return 200


def values(requests):
    return [json.loads(request.content)["event"]["data"]["temperature"]["value"] for _, request in requests]


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
    assert request.content.decode() == expected.replace("EVENT", event_id).replace("PROJECT", project)


def test_an_id_is_an_xid():
    made = new_xid(datetime.fromtimestamp(1716978843, UTC), Random(1))
    assert re.fullmatch("[0-9a-v]{20}", made)
    assert made.startswith("cpbg96")  # as the recorded event of that second


async def test_labels_changed_is_flat(autojump_clock):
    async with emulator(fine) as (connector, requests):
        connector.publish("labelsChanged", "d", {"added": {"name": "x"}, "modified": {}, "removed": []})
        await connector.drained()
    [(_, request)] = requests
    assert json.loads(request.content)["event"]["data"] == {"added": {"name": "x"}, "modified": {}, "removed": []}


async def test_an_event_is_sent_again_and_signed_anew_until_it_hears_200(autojump_clock):
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


async def test_any_2xx_is_success_if_so_chosen(autojump_clock):
    async with emulator(lambda *_: 202, delivery=Delivery(exactly_200=False)) as (connector, _):
        event_id = connector.publish("temperature", "d", {"value": 1})
        await connector.drained()
    assert connector.acknowledged == {event_id: 1}


async def test_an_answer_after_ten_seconds_is_none(autojump_clock):
    async with emulator(lambda number, _: None if number == 1 else 200) as (connector, requests):
        connector.publish("temperature", "d", {"value": 1})
        await connector.drained()
    assert [time for time, _ in requests] == [0, 15]
    assert connector.outcomes == {"no answer in time": 1, "200": 1}


async def test_an_event_is_dropped_after_twelve_hours(autojump_clock):
    async with emulator(lambda *_: 503, delivery=Delivery(spacing=3600, jitter=0)) as (connector, requests):
        event_id = connector.publish("temperature", "d", {"value": 1})
        await connector.drained()
        assert trio.current_time() == 12 * 3600
    assert connector.lost == {event_id}
    assert len(requests) == 12


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


async def test_days_without_events_are_no_failures(autojump_clock):
    async with emulator(lambda number, _: 503 if number == 1 else 200) as (connector, _):
        await trio.sleep(6 * 86400)
        connector.publish("temperature", "d", {"value": 1})
        await connector.drained()
    assert not connector.disabled


async def test_disabling_loses_what_waits_and_what_is_held_back(autojump_clock):
    async with emulator(lambda *_: 503, faults=Faults(reorder=1)) as (connector, _):
        held_back = connector.publish("temperature", "d", {"value": 1})
        connector.faults = Faults()
        waiting = connector.publish("temperature", "d", {"value": 2})
        await trio.sleep(1)
        connector.disable()
        await connector.drained()
    assert connector.lost == {held_back, waiting}


async def test_events_of_a_device_come_in_order_and_devices_do_not_wait_for_each_other(autojump_clock):
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


async def test_reordering_lets_later_events_overtake(autojump_clock):
    async with emulator(fine, faults=Faults(reorder=1)) as (connector, requests):
        connector.publish("temperature", "d", {"value": 1})
        connector.faults = Faults()
        connector.publish("temperature", "d", {"value": 2})
        await connector.drained()
    assert values(requests) == [2, 1]


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


async def test_several_devices_are_served_at_one_time_but_not_more_than_allowed(autojump_clock):
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
    async with open_emulator(URL, "s", now=now, delivery=delivery, transport=transport) as connector:
        for number in range(9):
            connector.publish("touch", f"d{number}")
        await connector.drained()
        assert trio.current_time() == 3
    assert most == 3


async def test_custom_headers_go_with_every_request(autojump_clock):
    async with emulator(fine, headers={"X-Bridge-Key": "v"}) as (connector, requests):
        connector.publish("touch", "d")
        await connector.drained()
    [(_, request)] = requests
    assert request.headers["X-Bridge-Key"] == "v"


async def test_old_bodies_lack_metadata_and_samples(autojump_clock):
    async with emulator(fine, faults=Faults(no_metadata=1, no_samples=1)) as (connector, requests):
        connector.publish("temperature", "d", {"value": 1})
        connector.publish("labelsChanged", "d", {"added": {}, "removed": []})
        await connector.drained()
    first, second = (json.loads(request.content) for _, request in requests)
    assert first["event"]["data"] == {"temperature": {"value": 1, "updateTime": "2024-05-29T10:34:03.970415Z"}}
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


@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_a_chunked_body_takes_its_time(autojump_clock, share):
    async with emulator(fine, faults=Faults(chunked=share, pause=0.25)) as (connector, requests):
        connector.publish("touch", "d")
        await connector.drained()
    [(time, request)] = requests
    assert ("Transfer-Encoding" in request.headers) == bool(share)
    assert time == (0.25 if not share else 0.25 * -(-len(request.content) // 64))


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
