"""Values that the webhook did not bring, read back from the emulator's REST API."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Duration, Pause, Reject, Request, Response, Retry, Secret
from bridge.testing.fakes import FixedClock, fake_source_context
from bridge.testing.http_server import serve_http
from bridge_plugins.wattsense import bridge_source_kinds
from bridge_plugins.wattsense.emulator.options import RestOptions, WebhookOptions
from bridge_plugins.wattsense.emulator.rest import open_rest_service
from bridge_plugins.wattsense.emulator.server import open_emulator
from bridge_plugins.wattsense.emulator.store import Store
from bridge_plugins.wattsense.history import Position, next_position, position_of
from bridge_plugins.wattsense.rest import client as rest_module
from bridge_plugins.wattsense.settings import Settings
from bridge_plugins.wattsense.webhook import make_receive
from tests.plugins.known_again import identities

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MILLISECONDS = int(NOW.timestamp() * 1000)
DAY = 86_400_000


@pytest.fixture(autouse=True)
def no_spacing(monkeypatch):
    """Ask as fast as the machine can; pace has its own tests."""
    monkeypatch.setattr(rest_module, "SPACING", 0.0)
    monkeypatch.setattr(rest_module, "CONFIGURATION_SPACING", 0.0)


def item(device="tower-1", point="p1", *, ago=0, payload=21.5, **members):
    return {
        "deviceId": device,
        "property": point,
        "timestamp": MILLISECONDS - ago,
        "payload": payload,
    } | members


def store_of(*items):
    store = Store()
    for each in items:
        store.add(each)
    return store


@asynccontextmanager
async def history_of(store, options=None, *, clock=None, **settings):
    clock = clock or FixedClock(NOW)
    options = options or RestOptions()
    async with open_rest_service(store, options, now=clock) as service:
        given = {
            "rest_key": options.key,
            "rest_secret": Secret(options.secret),
            "timeout": Duration(5),
        } | settings
        (kind,) = bridge_source_kinds()
        context = fake_source_context("towers", clock=clock)
        async with kind.recovery.open(
            Settings(signature="none", url=service.url, **given), context
        ) as history:
            with trio.fail_after(20):
                yield history, service


async def read_all(history, part, *, hours=1.0):
    """Read a part to its end, and return the pages."""
    pages, cursor = [], None
    while not pages or cursor is not None:
        page = await history.page(part, NOW - timedelta(hours=hours), NOW, cursor)
        pages.append(page)
        cursor = page.cursor
    return pages


def values(pages):
    return [reading.value for page in pages for event in page.events for reading in event.readings]


# ---- parts


@pytest.mark.fact("REST: GET /v1/devices names the devices")
async def test_the_parts_are_the_devices_of_the_account():
    async with history_of(store_of(item("tower-1"), item("a/b ü"))) as (history, service):
        assert await history.parts() == ["tower-1", "a%2Fb%20%C3%BC"]
    assert service.served == [("/v1/devices", 200)]


@pytest.mark.fact("Mistake avoided: reading only the first page of the devices")
async def test_a_long_list_of_devices_is_read_to_its_end():
    async with history_of(
        store_of(*[item(f"t{n}") for n in range(5)]), RestOptions(page_size=2)
    ) as (history, service):
        assert await history.parts() == [f"t{n}" for n in range(5)]
    assert len(service.served) == 3


@pytest.mark.fact("REST: devices can be restricted")
async def test_the_devices_can_be_named_and_are_then_not_asked_for():
    async with history_of(store_of(item()), rest_devices=("tower-1", "tower-1", "x")) as (
        history,
        service,
    ):
        assert await history.parts() == ["tower-1", "x"]
    assert not service.served


@pytest.mark.fact(
    "REST: property is optional in a history call (assumed); a setting reads each property "
    "by itself"
)
async def test_each_property_can_be_read_by_itself():
    store = store_of(item(point="a b"), item(point="p2", payload=1), item("t2", "p3"))
    options = RestOptions(needs_property=True)
    async with history_of(
        store, options, rest_parts="points", rest_devices=("tower-1", "none")
    ) as (history, service):
        assert await history.parts() == ["tower-1/a%20b", "tower-1/p2", "none"]
        (page,) = await read_all(history, "tower-1/a%20b")
        with pytest.raises(Reject):
            await history.page("none", NOW, NOW, None)
        with pytest.raises(Reject):
            await history.page("tower-1", NOW, NOW, None)
    assert [(event.device, event.readings[0].signal) for event in page.events] == [
        ("tower-1", "a b")
    ]
    assert any("&property=a%20b&size=500" in target for target, _ in service.served)


@pytest.mark.parametrize("trouble", [404, 400, "not-array", "redirect", 401])
async def test_a_list_of_devices_that_cannot_be_read_needs_a_person(trouble):
    async with history_of(store_of(item())) as (history, service):
        service.troubles.append(trouble)
        with pytest.raises(Pause):
            await history.parts()
        assert await history.parts() == ["tower-1"]


async def test_a_list_of_devices_that_never_ends_needs_a_person():
    options = RestOptions(page_size=1, link_fault="loop")
    async with history_of(store_of(item("a"), item("b")), options) as (history, _):
        with pytest.raises(Pause, match="the list /v1/devices gives the same next page"):
            await history.parts()


# ---- pages


@pytest.mark.fact("REST: followed links are signed anew")
@pytest.mark.fact("REST: order is unknown: items are sorted by timestamp")
@pytest.mark.fact("Emulator REST: small pages, absolute and relative links, any order")
@pytest.mark.parametrize("links", ["absolute", "relative"])
@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
async def test_all_pages_are_read_and_each_is_in_the_order_of_time(links, order):
    store = store_of(*[item(ago=1000 * n, payload=n) for n in range(11)])
    async with history_of(store, RestOptions(page_size=4, links=links, order=order)) as (
        history,
        service,
    ):
        pages = await read_all(history, "tower-1")
    assert [len(page.events) for page in pages] == [4, 4, 3]
    assert sorted(values(pages)) == list(range(11))
    for page in pages:
        assert [event.time for event in page.events] == sorted(event.time for event in page.events)
    assert len(service.signatures) == 3


@pytest.mark.fact("REST: the query has the fixed order since, until, property, size")
async def test_the_query_has_the_order_since_until_property_size():
    async with history_of(store_of(item()), page_size=7) as (history, service):
        await read_all(history, "tower-1")
    since = MILLISECONDS - 3_600_000
    assert service.served == [
        (f"/v1/devices/tower-1/properties?since={since}&until={MILLISECONDS}&size=7", 200)
    ]


@pytest.mark.fact("Backfill: at most one day per request, then pages")
async def test_no_request_asks_for_more_than_a_day():
    store = store_of(*[item(ago=hour * 3_600_000, payload=hour) for hour in range(60)])
    async with history_of(store, RestOptions(page_size=20)) as (history, service):
        pages = await read_all(history, "tower-1", hours=60)
    assert set(values(pages)) == set(range(60))
    windows = [
        (int(target.split("since=")[1].split("&")[0]), int(target.split("until=")[1].split("&")[0]))
        for target, _ in service.served
    ]
    assert max(until - since for since, until in windows) == DAY
    assert sorted(set(windows)) == [
        (MILLISECONDS - 60 * 3_600_000, MILLISECONDS - 36 * 3_600_000),
        (MILLISECONDS - 36 * 3_600_000, MILLISECONDS - 12 * 3_600_000),
        (MILLISECONDS - 12 * 3_600_000, MILLISECONDS),
    ]


@pytest.mark.fact("Backfill: reading goes on at a cursor that was kept over a restart")
async def test_reading_goes_on_at_a_cursor_after_a_restart():
    store = store_of(*[item(ago=1000 * n, payload=n) for n in range(5)])
    async with history_of(store, RestOptions(page_size=2, links="relative")) as (history, service):
        first = await history.page("tower-1", NOW - timedelta(hours=1), NOW, None)
        port = int(service.url.rpartition(":")[2])
    async with history_of(store, RestOptions(page_size=2, links="relative")) as (history, _):
        second = await history.page("tower-1", NOW - timedelta(hours=1), NOW, first.cursor)
        again = await history.page("tower-1", NOW - timedelta(hours=1), NOW, first.cursor)
        third = await history.page("tower-1", NOW - timedelta(hours=1), NOW, second.cursor)
    assert port
    assert again == second
    assert sorted(values([first, second, third])) == [0, 1, 2, 3, 4]
    assert third.cursor is None


@pytest.mark.fact("Emulator REST: 204, empty body, []")
@pytest.mark.parametrize("empty", ["204", "no-body", "array"])
async def test_no_data_is_no_error(empty):
    async with history_of(store_of(item(ago=DAY * 9)), RestOptions(empty=empty)) as (history, _):
        (page,) = await read_all(history, "tower-1")
    assert (page.events, page.cursor) == ((), None)


@pytest.mark.fact(
    "REST: history items may lack deviceId and property: filled from the request; same "
    "decoder, same key as the webhook"
)
async def test_an_item_has_the_key_that_the_webhook_gave_it():
    whole = item(
        scaledPayload=2.15,
        receivedAt=MILLISECONDS + 5,
        name="Room",
        unit="°C",
        tags={"a": "b"},
        slug="room",
    )
    live = make_receive(Settings(signature="none"), "values", lambda: NOW)
    (received,) = live(Request("POST", "/wattsense/values", "", {}, orjson.dumps(whole))).events
    async with history_of(store_of(whole), RestOptions(sparse=True)) as (history, _):
        (page,) = await read_all(history, "tower-1")
    (recovered,) = page.events
    assert identities([recovered]) == identities([received])
    assert (recovered.device, recovered.time) == ("tower-1", received.time)
    assert recovered.readings[0].value == received.readings[0].value == 2.15
    assert "name" not in recovered.labels


@pytest.mark.fact("REST: timestamps are milliseconds")
async def test_the_history_has_milliseconds_whatever_the_webhook_has():
    webhook = make_receive(Settings(signature="none", timestamp_unit="s"), "values", lambda: NOW)
    in_seconds = item() | {"timestamp": MILLISECONDS // 1000}
    (received,) = webhook(Request("POST", "/", "", {}, orjson.dumps(in_seconds))).events
    async with history_of(store_of(item()), timestamp_unit="s") as (history, _):
        (page,) = await read_all(history, "tower-1")
    assert page.events[0].time == NOW
    assert identities(page.events) == identities([received])


async def test_a_device_that_is_null_is_the_one_that_was_asked_for():
    store = store_of(item())
    store.items["tower-1"] = [item() | {"deviceId": None}]
    async with history_of(store) as (history, _):
        (page,) = await read_all(history, "tower-1")
    assert [(event.device, event.kind) for event in page.events] == [("tower-1", "value")]


async def test_an_item_that_is_none_is_kept_and_harms_no_other():
    store = store_of(item(), item(isOutOfService=True, ago=1))
    store.items["tower-1"].append(
        {"deviceId": "tower-1", "property": None, "timestamp": MILLISECONDS}
    )
    async with history_of(store) as (history, _):
        (page,) = await read_all(history, "tower-1")
    assert sorted(event.labels.get("dropped", "") for event in page.events) == [
        "",
        "out-of-service",
        "property",
    ]
    assert page.events[2].device == "tower-1"


# ---- what goes wrong


@pytest.mark.fact("Emulator REST: 401 403 404 5xx, redirect, cut, half and wrong answers")
@pytest.mark.parametrize(
    ("trouble", "verdict"),
    [
        (401, Pause),
        (403, Pause),
        ("redirect", Pause),
        (404, Reject),
        (400, Reject),
        ("not-array", Reject),
        (429, Retry),
        (500, Retry),
        (503, Retry),
        ("cut", Retry),
        ("half", Retry),
        ("not-json", Retry),
    ],
)
async def test_trouble_has_its_verdict_and_the_page_is_read_later(trouble, verdict):
    store = store_of(*[item(ago=1000 * n, payload=n) for n in range(4)])
    async with history_of(store, RestOptions(page_size=2, retry_after=0)) as (history, service):
        first = await history.page("tower-1", NOW - timedelta(hours=1), NOW, None)
        service.troubles.append(trouble)
        with pytest.raises(verdict) as caught:
            await history.page("tower-1", NOW - timedelta(hours=1), NOW, first.cursor)
        second = await history.page("tower-1", NOW - timedelta(hours=1), NOW, first.cursor)
    assert sorted(values([first, second])) == [0, 1, 2, 3]
    assert "rest-secret" not in str(caught.value)


@pytest.mark.fact("Emulator REST: slow answers")
async def test_a_slow_answer_is_tried_again():
    async with history_of(store_of(item()), RestOptions(slowness=60), timeout=Duration(0.1)) as (
        history,
        service,
    ):
        service.troubles.append("slow")
        with pytest.raises(Retry, match="timeout"):
            await read_all(history, "tower-1")


@pytest.mark.fact("REST: an unknown device is reported, the others go on")
async def test_an_unknown_device_is_refused_and_the_others_are_read():
    async with history_of(store_of(item())) as (history, _):
        with pytest.raises(Reject, match="no such device") as caught:
            await read_all(history, "tower-9")
        assert caught.value.status == 404
        assert values(await read_all(history, "tower-1")) == [21.5]


@pytest.mark.fact("REST: a link visited already stops the reading")
async def test_a_page_link_that_repeats_gives_the_same_cursor_again():
    store = store_of(*[item(ago=n, payload=n) for n in range(4)])
    start = NOW - timedelta(hours=1)
    async with history_of(store, RestOptions(page_size=2, link_fault="loop")) as (history, _):
        first = await history.page("tower-1", start, NOW, None)
        second = await history.page("tower-1", start, NOW, first.cursor)
    assert first.cursor == second.cursor is not None  # at which the core ends the reading


@pytest.mark.fact("Emulator REST: foreign link")
async def test_a_page_link_to_a_foreign_host_is_not_followed():
    store = store_of(*[item(ago=n) for n in range(4)])
    async with history_of(store, RestOptions(page_size=2, link_fault="foreign")) as (
        history,
        service,
    ):
        with pytest.raises(Pause, match=r"api\.example\.com"):
            await read_all(history, "tower-1")
    assert len(service.served) == 1


@pytest.mark.parametrize("skew", [-301, 301])
async def test_a_clock_that_is_wrong_is_named_as_what_to_check(skew):
    store, clock = store_of(item()), FixedClock(NOW)
    async with open_rest_service(store, now=clock) as service:
        settings = Settings(
            signature="none",
            url=service.url,
            rest_key="rest-key",
            rest_secret=Secret("rest-secret"),
        )
        (kind,) = bridge_source_kinds()
        context = fake_source_context("towers", clock=FixedClock(NOW + timedelta(seconds=skew)))
        async with kind.recovery.open(settings, context) as history:
            with pytest.raises(Pause, match="301 s"):
                await history.parts()


async def test_basic_is_accepted_where_it_is_chosen():
    async with history_of(store_of(item()), rest_auth="basic") as (history, service):
        assert await history.parts() == ["tower-1"]
        assert not service.signatures


@pytest.mark.fact("Secrets are in no verdict of the REST client")
async def test_a_wrong_secret_stops_the_reading():
    async with history_of(store_of(item()), rest_secret=Secret("hunter2")) as (history, _):
        with pytest.raises(Pause) as caught:
            await history.parts()
    assert "hunter2" not in str(caught.value)


# ---- cursors


@given(
    cursor=st.none()
    | st.text(max_size=20)
    | st.sampled_from(["[1,2,null]", "[1]", '[1,2,"/x","y"]', "[1,2,3]", "{}", "7"])
)
def test_any_cursor_is_a_position_or_the_beginning(cursor):
    position = position_of(cursor, 10, 20)
    assert position == Position(10, 20) or position.cursor() == cursor


@given(
    since=st.integers(0, 10**14),
    length=st.integers(0, 5 * DAY),
    target=st.none() | st.text(max_size=5),
)
def test_a_position_is_read_back_from_its_cursor(since, length, target):
    position = Position(since, since + length, target)
    assert position_of(position.cursor(), 0, 1) == position


@pytest.mark.fact("Backfill: windows cover the gap without a hole")
@given(start=st.integers(0, 10**14), length=st.integers(0, 9 * DAY))
def test_windows_cover_the_whole_gap_without_a_hole(start, length):
    position, covered = position_of(None, start, start + length), start
    while position is not None:
        assert position.since == covered
        assert position.until - position.since <= DAY
        covered = position.until
        position = next_position(position, None, start + length)
    assert covered == start + length


# ---- both ways together


@pytest.mark.fact("Backfill: what the webhook lost is returned, nothing comes twice")
async def test_what_the_webhook_lost_is_returned_and_nothing_twice():
    receive = make_receive(Settings(signature="none"), "values", lambda: datetime.now(UTC))
    stored = {}

    async def bridge(request):
        accepted = receive(request)
        stored.update({event.key: event for event in accepted.events})
        return accepted.answer if request.method == "POST" else Response(405)

    options = WebhookOptions(framing="array", retries=0, max_items=3, lost=0.4)
    async with serve_http(bridge) as url, open_emulator(url, options=options) as cloud:
        for number in range(60):
            await cloud.publish(f"tower-{number % 3}", "energy", number, scaledPayload=number / 10)
        with trio.fail_after(20):
            await cloud.drained()
        assert cloud.given_up
        assert len(stored) == len(cloud.acknowledged) < 60
        clock = FixedClock(datetime.now(UTC) + timedelta(seconds=1))
        api = RestOptions(page_size=7, sparse=True, order="shuffled")
        async with history_of(cloud.store, api, clock=clock) as (history, _):
            for part in await history.parts():
                cursor = None
                while True:
                    page = await history.page(
                        part, clock.time - timedelta(minutes=10), clock.time, cursor
                    )
                    stored.update({event.key: event for event in page.events})
                    if (cursor := page.cursor) is None:
                        break
    known = {
        (event.device, reading.signal, round(reading.time.timestamp() * 1000))
        for event in stored.values()
        for reading in event.readings
    }
    assert known == cloud.acknowledged | cloud.given_up
    assert len(stored) == 60
