"""Reading back what the service has saved."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Event, History, Pause, Reject, Request, Response, Retry, Secret, Url, encode
from bridge.testing.http_server import serve_http
from bridge_plugins.idigi import bridge_source_kinds, lacks_for_history
from bridge_plugins.idigi.documents.decode import decode
from bridge_plugins.idigi.documents.keys import former_point_keys, point_key
from bridge_plugins.idigi.emulator.server import Emulator
from bridge_plugins.idigi.history import MonitorHistory, messages_in, open_history, read_answer
from bridge_plugins.idigi.push.protocol import Block
from bridge_plugins.idigi.rest.wanted import wanted_monitor
from bridge_plugins.idigi.settings import Settings
from tests.plugins.known_again import MONTH, assert_one_time_for_each_key, identities

START = datetime(2024, 5, 2, 10, tzinfo=UTC)
END = START + timedelta(hours=1)
NOW = datetime(2024, 5, 2, 12, tzinfo=UTC)

EVENT = {
    "timestamp": "2024-05-02T10:11:12.345Z",
    "topic": "7603/DataPoint/test",
    "operation": "INSERTION",
    "group": "*",
    "DataPoint": {
        "streamId": "test",
        "streamType": "LONG",
        "data": 9007199254740993,
        "timestamp": 1434307047694,
    },
}
POINT = {
    "id": "684572e0",
    "streamId": "test",
    "data": 0.5,
    "timestamp": 1434307047694,
    "quality": 0,
}


def made(**changes: Any) -> Settings:
    return Settings(**({"username": "user", "password": Secret("pass")} | changes))


DOCUMENTED = {
    "id": "684572e0",
    "stream_id": "c",
    "timestamp": "2015-06-14T18:37:27.694Z",
    "server_timestamp": "2015-06-14T18:37:28.000Z",
    "value": 0.5,
    "quality": 0,
}
STREAMS = {"streams": ("dia/ch 1/x", "c")}


def remember(core: Any, settings: Settings, monitor: int) -> None:
    core.state.values["monitor"] = {"url": str(settings.url), "username": "user", "id": monitor}


def history_of(core: Any, service: Any, settings: Settings, *answers: Any) -> History:
    service.answers = [
        answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)
        for answer in answers
    ]
    return MonitorHistory(service.api, settings, core.context)


async def read(history: History, part: str, around: datetime = START) -> list[Event]:
    """Reads all pages, as the core does."""
    hour = timedelta(hours=1)
    events: list[Event] = []
    cursor = None
    for _ in range(20):
        page = await history.page(part, around - hour, around + hour, cursor)
        events += page.events
        cursor = page.cursor
        if cursor is None:
            return events
    raise AssertionError("the pages have no end")


async def test_the_parts_are_the_remembered_monitor_and_the_streams(
    core: Any, service: Any
) -> None:
    settings = made(**STREAMS)
    remember(core, settings, 5)
    assert await history_of(core, service, settings).parts() == [
        "monitor 5",
        "stream dia/ch 1/x",
        "stream c",
    ]
    assert await history_of(core, service, made(monitor_id=7)).parts() == ["monitor 7"]


async def test_a_monitor_that_records_nothing_is_no_part(core: Any, service: Any) -> None:
    settings = made(replay=False, **STREAMS)
    remember(core, settings, 5)
    assert await history_of(core, service, settings).parts() == ["stream dia/ch 1/x", "stream c"]


async def test_without_a_monitor_only_the_streams_can_be_read(core: Any, service: Any) -> None:
    assert await history_of(core, service, made(**STREAMS)).parts() == [
        "stream dia/ch 1/x",
        "stream c",
    ]
    with pytest.raises(
        Pause, match="there is no monitor yet whose history could be read; start the bridge"
    ):
        await history_of(core, service, made()).parts()


@pytest.mark.fact("History: start_time, end_time, size in ISO 8601 UTC")
async def test_the_call_names_monitor_range_and_size(core: Any, service: Any) -> None:
    history = history_of(core, service, made(), {"list": []})
    east = timezone(timedelta(hours=2))
    start = datetime(2024, 5, 2, 12, 0, 0, 1, tzinfo=east)
    await history.page("monitor 5", start, start + timedelta(hours=1), None)
    assert service.calls == ["GET v1/monitors/history/5"]
    assert service.queries == [
        {
            "start_time": "2024-05-02T10:00:00.000Z",
            "end_time": "2024-05-02T11:00:00.001Z",
            "size": "1000",
        }
    ]


@pytest.mark.fact("History: pages by cursor until there is none")
async def test_pages_are_read_by_cursor_until_there_is_none(core: Any, service: Any) -> None:
    later = EVENT | {"timestamp": "2024-05-02T10:12:00Z"}
    history = history_of(
        core, service, made(), {"list": [EVENT], "cursor": "c1"}, {"list": [later], "cursor": ""}
    )
    assert [event.time.minute for event in await read(history, "monitor 5")] == [11, 12]
    assert [query.get("cursor") for query in service.queries] == [None, "c1"]


@pytest.mark.fact("History: an empty list ends it")
async def test_an_empty_page_ends_the_reading_although_it_has_a_cursor(
    core: Any, service: Any
) -> None:
    history = history_of(
        core, service, made(), {"list": [EVENT], "cursor": 17}, {"list": [], "cursor": "c2"}
    )
    assert len(await read(history, "monitor 5")) == 1
    assert len(service.calls) == 2


@pytest.mark.fact("History: a cursor that repeats ends it")
async def test_a_page_that_leads_to_itself_is_the_last(core: Any, service: Any) -> None:
    pages = [{"list": [EVENT], "cursor": cursor} for cursor in ("a", "b", "b")]
    await read(history_of(core, service, made(), *pages), "monitor 5")
    assert [query.get("cursor") for query in service.queries] == [None, "a", "b"]


async def test_pages_that_go_in_a_circle_are_left_to_the_core(core: Any, service: Any) -> None:
    pages = [{"list": [EVENT], "cursor": cursor} for cursor in ("a", "b", "a")]
    history = history_of(core, service, made(), *pages)
    cursors: list[str | None] = [None]
    for _ in pages:
        cursors.append((await history.page("monitor 5", START, END, cursors[-1])).cursor)
    assert cursors == [None, "a", "b", "a"]


@pytest.mark.fact("History: an item may be the event or wrap it, and has the key of the pushed one")
@pytest.mark.parametrize(
    "item",
    [
        EVENT,
        {"event": EVENT},
        {"Document": {"Msg": EVENT}},
        {"id": 1, "saved": {"Msg": [EVENT]}},
        [EVENT],
    ],
)
async def test_an_event_read_back_has_the_key_of_the_pushed_one(
    item: Any, core: Any, service: Any
) -> None:
    text = json.dumps({"Document": {"Msg": EVENT | {"replay": True}}}).encode()
    body = b"\0\0" + (1).to_bytes(2, "big") + b"\0\1" + len(text).to_bytes(4, "big") + text
    (pushed,) = decode(Block(0, body), NOW, inflate_limit=1 << 20).events
    (recovered,) = await read(history_of(core, service, made(), {"list": [item]}), "monitor 5")
    assert identities([recovered]) == identities([pushed])
    assert (recovered.device, recovered.kind, recovered.readings) == (
        pushed.device,
        pushed.kind,
        pushed.readings,
    )


@pytest.mark.fact("Integers of more than 64 bits have the same event key pushed and read back")
@pytest.mark.parametrize("number", [2**63, 2**64, 10**30, -(2**63) - 1])
async def test_a_number_beyond_64_bits_has_one_key_too(
    number: int, core: Any, service: Any
) -> None:
    message = EVENT | {"DataPoint": {"streamId": "test", "data": number}}
    text = json.dumps({"Document": {"Msg": message}}).encode()
    body = b"\0\0" + (1).to_bytes(2, "big") + b"\0\1" + len(text).to_bytes(4, "big") + text
    (pushed,) = decode(Block(0, body), NOW, inflate_limit=1 << 20).events
    (recovered,) = await read(history_of(core, service, made(), {"list": [message]}), "monitor 5")
    assert identities([recovered]) == identities([pushed])
    assert recovered.data == pushed.data
    assert str(recovered.data["DataPoint"]["data"]) == str(number)


async def test_an_item_that_is_no_event_is_kept_all_the_same(core: Any, service: Any) -> None:
    events = await read(
        history_of(core, service, made(), {"list": [17, {"odd": 1}, None]}), "monitor 5"
    )
    assert len(events) == 3
    for event in events:
        encode(event)


@pytest.mark.fact("The path of a stream's history has the slashes of its id as they are")
@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({}, "/ws/v1/streams/history/dia/ch%201/x"),
        ({"stream_history_path": "/points/{stream}/all"}, "/points/dia/ch%201/x/all"),
    ],
)
async def test_a_stream_is_asked_for_with_plain_slashes(
    changes: dict[str, Any], path: str, core: Any
) -> None:
    seen = []

    async def handle(request: Request) -> Response:
        seen.append(request)
        return Response(200, b'{"list":[]}')

    async with serve_http(handle) as url:
        settings = made(url=Url(url), insecure=True, **STREAMS, **changes)
        async with open_history(settings, core.context) as history:
            await history.page("stream dia/ch 1/x", START, END, "a&b")
    (request,) = seen
    assert request.path == path
    assert dict(httpx.QueryParams(request.query)) == {
        "start_time": "2024-05-02T10:00:00.000Z",
        "end_time": "2024-05-02T11:00:00.000Z",
        "size": "1000",
        "cursor": "a&b",
    }


async def test_a_data_point_of_a_stream_becomes_a_reading(core: Any, service: Any) -> None:
    (event,) = await read(
        history_of(core, service, made(**STREAMS), {"list": [POINT], "cursor": None}), "stream c"
    )
    assert (event.kind, event.device, event.time.year) == ("DataPoint", "test", 2015)
    (reading,) = event.readings
    assert (reading.signal, reading.value, reading.time) == ("test", 0.5, event.time)
    assert event.data == {"DataPoint": POINT}


@pytest.mark.fact("Stream history says stream_id, value and an ISO time")
@pytest.mark.parametrize(
    ("value", "read"), [(0.5, 0.5), ("on", "on"), (9007199254740993, 9007199254740993)]
)
async def test_a_data_point_of_the_documented_form_is_read(
    value: Any, read: Any, core: Any, service: Any
) -> None:
    history = history_of(core, service, made(**STREAMS), {"list": [DOCUMENTED | {"value": value}]})
    page = await history.page("stream c", START, END, None)
    (event,) = page.events
    assert (event.device, event.labels["stream"]) == ("c", "c")
    (reading,) = event.readings
    assert (reading.value, reading.time) == (read, event.time)
    assert event.time == datetime(2015, 6, 14, 18, 37, 27, 694000, tzinfo=UTC)


@pytest.mark.fact("Two points of one stream and time with different values are two")
async def test_points_of_one_time_with_two_values_are_two(core: Any, service: Any) -> None:
    items = [DOCUMENTED, DOCUMENTED | {"value": 0.6}, DOCUMENTED | {"quality": 1}]
    history = history_of(core, service, made(**STREAMS), {"list": items})
    page = await history.page("stream c", START, END, None)
    assert len({event.key for event in page.events}) == 2
    # Version 1.0 did not know the name of the value: its key says nothing of it.
    assert [event.former_keys for event in page.events] == [(), (), ()]


@pytest.mark.fact("A next_uri names another page, whatever count says")
def test_the_next_page_may_be_named_by_its_address() -> None:
    uri = "/ws/v1/streams/history/a/b?size=1&cursor=c%2F1"
    assert read_answer({"count": 0, "list": [1], "next_uri": uri}) == ([1], "c/1")
    assert read_answer({"list": [1], "next_uri": uri, "cursor": "c2"}) == ([1], "c2")
    assert read_answer({"list": [1], "next_uri": "/elsewhere"}) == ([1], None)


@pytest.mark.parametrize(
    "item", [POINT, {"DataPoint": POINT}, POINT | {"timestamp": "2015-06-14T18:37:27.694Z"}]
)
async def test_a_data_point_may_be_wrapped_and_its_time_may_be_text(
    item: Any, core: Any, service: Any
) -> None:
    (event,) = await read(history_of(core, service, made(**STREAMS), {"list": [item]}), "stream c")
    assert event.time == datetime(2015, 6, 14, 18, 37, 27, 694000, tzinfo=UTC)
    assert event.readings[0].time == event.time


async def test_a_point_without_a_stream_is_of_the_one_asked_for(core: Any, service: Any) -> None:
    (event,) = await read(
        history_of(core, service, made(**STREAMS), {"list": [{"data": 1, "timestamp": 5}]}),
        "stream c",
    )
    assert event.labels["stream"] == "c"


@pytest.mark.fact("A data point of a stream is known by its own time, a month later too")
@pytest.mark.parametrize(
    "item",
    [
        POINT,
        {"DataPoint": POINT},
        POINT | {"timestamp": "2015-06-14T18:37:27.694Z"},
        {"data": 1, "serverTimestamp": 1434307047694},
        DOCUMENTED,
    ],
)
async def test_a_data_point_of_a_stream_is_known_again(item: Any, core: Any, service: Any) -> None:
    found = []
    for now in (NOW, NOW + MONTH):
        context = evolve(core.context, now=lambda now=now: now)
        service.answers = [httpx.Response(200, json={"list": [item]})]
        found += await read(MonitorHistory(service.api, made(**STREAMS), context), "stream c")
    first, again = found
    assert identities([first]) == identities([again])
    assert first.key_time == datetime(2015, 6, 14, 18, 37, 27, 694000, tzinfo=UTC)


async def test_an_item_of_a_stream_without_a_time_is_known_again(core: Any, service: Any) -> None:
    answers = [{"list": [{"data": 1, "timestamp": "soon"}, 17, None]}] * 2
    history = history_of(core, service, made(**STREAMS), *answers)
    first, again = [await read(history, "stream c") for _ in range(2)]
    assert identities(first) == identities(again)
    assert [event.key_time for event in first] == [None, None, None]


async def test_points_of_one_key_have_one_time_whatever_else_they_say(
    core: Any, service: Any
) -> None:
    items = [
        {"data": 1, "timestamp": 10**18, "serverTimestamp": 1434307047694},
        {"data": 1, "timestamp": 10**18, "serverTimestamp": 1434307099999},
        {"data": 1, "timestamp": "soon", "serverTimestamp": 1434307047694},
        {"data": 1, "timestamp": "soon", "fdLastModifiedDate": "2013-06-24T14:52:55Z"},
    ]
    events = await read(history_of(core, service, made(**STREAMS), {"list": items}), "stream c")
    assert len({event.key for event in events}) == 2
    assert_one_time_for_each_key(events)


@pytest.mark.fact("A data point of a stream read twice is known once")
async def test_a_data_point_read_twice_is_known_once(core: Any, service: Any) -> None:
    points = [
        POINT,
        POINT | {"id": "other"},
        POINT | {"data": 0.6},
        POINT | {"timestamp": 1},
        POINT | {"streamId": "d"},
    ]
    events = await read(history_of(core, service, made(**STREAMS), {"list": points}), "stream c")
    assert len({event.key for event in events}) == 4
    named = ("test", POINT["timestamp"], POINT["data"])
    assert events[0].key == events[1].key == point_key(*named)
    assert events[0].former_keys == former_point_keys(*named)


async def test_an_event_in_a_streams_history_has_the_pushed_key(core: Any, service: Any) -> None:
    page = {"list": [EVENT]}
    (of_stream,) = await read(history_of(core, service, made(**STREAMS), page), "stream c")
    (of_monitor,) = await read(history_of(core, service, made(), page), "monitor 5")
    assert of_stream == of_monitor


@pytest.mark.parametrize("status", [200, 400, 404])
async def test_a_part_that_cannot_be_read_is_rejected_by_itself(
    status: int, core: Any, service: Any
) -> None:
    answer = httpx.Response(status, json={"error": ["Monitor 5 is not persistent"]})
    history = history_of(core, service, made(), answer)
    with pytest.raises(
        Reject,
        match=f"the history of monitor 5 cannot be read: .*{status}: Monitor 5 is not persist",
    ):
        await history.page("monitor 5", START, END, None)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (httpx.Response(401), Pause),
        (httpx.Response(403), Pause),
        (httpx.Response(302, headers={"Location": "https://elsewhere"}), Pause),
        (httpx.Response(503, text="<html/>"), Retry),
        (httpx.Response(429, headers={"Retry-After": "60"}), Retry),
        (httpx.Response(200, text="no json"), Retry),
        (httpx.Response(200, text='"a text"'), Retry),
        (httpx.Response(200, text='{"error_message": "no"}'), Retry),
    ],
)
async def test_a_failure_that_concerns_every_part_is_not_the_parts(
    answer: httpx.Response, verdict: Any, core: Any, service: Any
) -> None:
    with pytest.raises(verdict):
        await history_of(core, service, made(), answer).page("monitor 5", START, END, None)


@pytest.mark.parametrize("part", ["stream c", "monitor x", "monitor ", "nonsense", "monitor ²"])
async def test_a_part_that_the_settings_no_longer_know_is_rejected(
    part: str, core: Any, service: Any
) -> None:
    with pytest.raises(Reject, match="there is no history of"):
        await history_of(core, service, made()).page(part, START, END, None)


@asynccontextmanager
async def opened(core: Any, settings: Settings) -> AsyncIterator[History]:
    (kind,) = bridge_source_kinds()
    assert kind.recovery is not None
    async with kind.recovery.open(settings, core.context) as history:
        yield history


async def test_the_kind_opens_its_history(core: Any) -> None:
    settings = made(**STREAMS)
    async with opened(core, settings) as history:
        assert len(await history.parts()) == 2


@pytest.mark.fact("Replay stays the primary way: no automatic backfill, one hour of overlap")
def test_reading_back_waits_for_a_person() -> None:
    (kind,) = bridge_source_kinds()
    recovery = kind.recovery
    assert recovery is not None
    assert (recovery.automatic, recovery.after, recovery.overlap) == (False, 3600, 3600)
    assert recovery.parts == "monitors and streams"


def test_without_replay_and_streams_nothing_can_be_read_back() -> None:
    assert lacks_for_history(made()) is None
    assert lacks_for_history(made(replay=False, **STREAMS)) is None
    assert "replay is off" in (lacks_for_history(made(replay=False)) or "")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["list", "cursor", "topic", "operation", "Msg", "DataPoint"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(JSON_VALUES)
def test_of_any_answer_items_are_a_list_and_cursor_a_text(answer: Any) -> None:
    try:
        items, cursor = read_answer(answer)
    except Retry:
        assert not isinstance(answer, list)
        return
    assert isinstance(items, list)
    assert cursor is None or (isinstance(cursor, str) and cursor)


@given(JSON_VALUES)
def test_of_any_item_messages_are_objects_with_a_topic(item: Any) -> None:
    assert all("topic" in message for message in messages_in(item))


@pytest.mark.parametrize("items", ["event", "wrapped"])
@pytest.mark.parametrize("last_cursor", ["absent", "repeats", "empty-page"])
async def test_what_was_pushed_is_read_back_under_the_same_keys(
    items: Any, last_cursor: Any, core: Any, emulator: Emulator, settings_for: Any, point: Any
) -> None:
    emulator.options.history_items, emulator.options.last_cursor, emulator.options.page_limit = (
        items,
        last_cursor,
        3,
    )
    settings = settings_for(emulator)
    async with core.running(settings):
        ids = [await emulator.publish(*point(number)) for number in range(7)]
        await emulator.recorder.until(lambda: set(ids) <= emulator.recorder.acked)
    pushed = [event.key for event in core.outlet.events]
    async with opened(core, settings) as history:
        (part,) = await history.parts()
        assert [event.key for event in await read(history, part, datetime.now(UTC))] == pushed


async def test_the_data_points_of_a_stream_are_read_back(
    core: Any, emulator: Emulator, settings_for: Any, point: Any
) -> None:
    settings = settings_for(emulator, streams=("test",))
    for number in range(5):
        await emulator.publish(*point(number, timestamp=int(NOW.timestamp() * 1000) + number))
    async with opened(core, settings) as history:
        assert await history.parts() == ["stream test"]
        events = await read(history, "stream test", NOW)
    assert [reading.value for event in events for reading in event.readings] == list(range(5))


@pytest.mark.fact("History of an unknown monitor is told with status 200, 400 or 404")
@pytest.mark.parametrize("status", [200, 400, 404])
async def test_the_history_of_a_monitor_that_is_gone_is_rejected(
    status: int, core: Any, emulator: Emulator, settings_for: Any
) -> None:
    emulator.faults.unknown_monitor_status = status
    async with opened(core, settings_for(emulator, monitor_id=5)) as history:
        with pytest.raises(Reject, match="Error reading Monitor entity"):
            await history.page("monitor 5", START, END, None)


@pytest.mark.fact("History works for persistent monitors only")
async def test_a_monitor_that_does_not_record_has_no_history(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    settings = settings_for(emulator, replay=False)
    monitor = emulator.account.create(wanted_monitor(settings, "gateways"))
    async with opened(core, settings_for(emulator, monitor_id=monitor.id)) as history:
        (part,) = await history.parts()
        with pytest.raises(Reject, match="not persistent"):
            await history.page(part, START, END, None)


def test_a_wrapper_that_is_too_deep_is_kept_as_it_is() -> None:
    item: Any = EVENT
    for _ in range(4):
        item = {"inner": item}
    assert messages_in(item) == [EVENT]
    assert messages_in({"inner": item}) == []
