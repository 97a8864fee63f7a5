"""The history: which devices, which pages, and events as the pushes would have brought
them.
"""

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from urllib.parse import parse_qsl

import httpx
import pytest
import trio
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

import bridge_plugins.disruptive
from bridge.api import Pause, Reject, Retry, Secret, Url, encode
from bridge.testing.fakes import FixedClock, fake_source_context
from bridge_plugins.disruptive.emulator.server import Account, Rules, open_cloud
from bridge_plugins.disruptive.events import decode_event
from bridge_plugins.disruptive.history import (
    open_history,
    recovered_event,
    rfc3339,
    unreadable_key,
)
from bridge_plugins.disruptive.settings import Settings

NOW = datetime(2024, 5, 29, 12, 0, 0, tzinfo=UTC)
START, END = NOW - timedelta(days=2), NOW
DATA = Path(__file__).parents[2] / "data"
DEVICES = "/v2/projects/p1/devices"


def make_settings(**settings):
    return Settings(
        **{
            "secret": Secret("hook-secret"),
            "url": Url("https://api.example.org/v2"),
            "project": "p1",
            "service_account_key": "key-id",
            "service_account_secret": Secret("service-secret"),
        }
        | settings
    )


def device(name="d1", **members):
    labels = {"name": "fridge", "room": "1"}
    return {
        "name": f"projects/p1/devices/{name}",
        "type": "temperature",
        "productNumber": "100011",
        "labels": labels,
    } | members


def event(number, *, minutes=0, target="projects/p1/devices/d1"):
    return {
        "eventId": f"e{number}",
        "targetName": target,
        "eventType": "temperature",
        "data": {
            "temperature": {
                "value": number,
                "updateTime": rfc3339(START + timedelta(minutes=minutes)),
            }
        },
        "timestamp": rfc3339(START + timedelta(minutes=minutes)),
    }


@define
class FakeDT:
    """Answers by path; a list gives its answers in turn, the last one for ever."""

    answers: dict
    requests: list = field(factory=list)

    async def __call__(self, request):
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        answer = self.answers.get(
            request.url.path, httpx.Response(404, json={"error": "not found"})
        )
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def asked(self, path):
        """Give the queries of all requests for a path."""
        return [
            parse_qsl(request.url.query.decode())
            for request in self.requests
            if request.url.path == path
        ]


@asynccontextmanager
async def opened(answers, **settings):
    dt = FakeDT({DEVICES: {"devices": [device()]}} | answers)
    context = fake_source_context("sensors", clock=FixedClock(NOW))
    async with open_history(
        make_settings(**settings), context, network=lambda: httpx.MockTransport(dt)
    ) as history:
        yield history, dt


EVENTS = f"{DEVICES}/d1/events"


# The parts


async def test_the_parts_are_the_ids_of_all_devices_each_once():
    answers = {
        DEVICES: [
            {"devices": [device("d1"), device("d2"), {"type": "ccon"}], "nextPageToken": "t1"},
            {"devices": [device("d2"), device("emuc3")], "nextPageToken": ""},
        ]
    }
    async with opened(answers, page_size=2) as (history, dt):
        assert await history.parts() == ["d1", "d2", "emuc3"]
    assert dt.asked(DEVICES) == [[("pageSize", "2")], [("pageSize", "2"), ("pageToken", "t1")]]


@pytest.mark.fact("Of a list means the project")
async def test_a_project_that_is_not_there_waits_for_a_person():
    refused = httpx.Response(404, json={"error": "not found"})
    async with opened({DEVICES: refused}) as (history, _):
        with pytest.raises(Pause, match=r"404: not found; check project \(p1\)"):
            await history.parts()


async def test_a_list_of_devices_that_has_no_end_stops_with_an_error():
    async with opened({DEVICES: {"devices": [device()], "nextPageToken": "t1"}}) as (history, dt):
        with pytest.raises(Pause, match="no end"):
            await history.parts()
    assert len(dt.requests) == 2


# The pages


@pytest.mark.fact(
    "History: startTime, endTime, eventTypes repeated, pageSize, pageToken in camelCase; times "
    "RFC 3339 UTC percent-encoded"
)
async def test_a_page_is_asked_for_in_camel_case_with_times_in_utc():
    async with opened({EVENTS: {"events": []}}, events=("temperature", "touch"), page_size=7) as (
        history,
        dt,
    ):
        await history.parts()
        oslo = timezone(timedelta(hours=2))
        await history.page("d1", START.astimezone(oslo), END, None)
    assert dt.asked(EVENTS) == [
        [
            ("startTime", "2024-05-27T12:00:00.000000Z"),
            ("endTime", "2024-05-29T12:00:00.000000Z"),
            ("eventTypes", "temperature"),
            ("eventTypes", "touch"),
            ("pageSize", "7"),
        ]
    ]
    assert b"startTime=2024-05-27T12%3A00%3A00.000000Z&" in dt.requests[-1].url.query


@pytest.mark.fact("Page size is a setting, default 500")
async def test_all_event_types_are_asked_for_unless_some_are_named():
    async with opened({EVENTS: {"events": []}}) as (history, dt):
        await history.parts()
        await history.page("d1", START, END, None)
    assert [name for name, _ in dt.asked(EVENTS)[0]] == ["startTime", "endTime", "pageSize"]
    assert ("pageSize", "500") in dt.asked(EVENTS)[0]


@pytest.mark.fact("Mistake: times written as +00:00Z")
@given(
    moment=st.datetimes(
        timezones=st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
    )
)
def test_a_time_is_written_with_z_and_nothing_else(moment):
    try:
        text = rfc3339(moment)
    except OverflowError:  # an offset that leaves the years 1 to 9999
        return
    assert text.endswith("Z")
    assert "+" not in text
    assert datetime.fromisoformat(text) == moment


async def test_pages_follow_each_other_until_there_is_no_token():
    pages = [{"events": [event(1)], "nextPageToken": "t/1"}, {"events": [event(2)]}]
    async with opened({EVENTS: pages}) as (history, dt):
        await history.parts()
        first = await history.page("d1", START, END, None)
        second = await history.page("d1", START, END, first.cursor)
    assert (first.cursor, second.cursor) == ("t/1", None)
    assert ("pageToken", "t/1") not in dt.asked(EVENTS)[0]
    assert dt.asked(EVENTS)[1] == [*dt.asked(EVENTS)[0], ("pageToken", "t/1")]


@pytest.mark.fact("The order of the history is unknown: events are sorted")
async def test_the_events_of_a_page_are_sorted_by_their_time():
    page = {"events": [event(3, minutes=3), event(1, minutes=1), event(2, minutes=2)]}
    async with opened({EVENTS: page}) as (history, _):
        await history.parts()
        events = (await history.page("d1", START, END, None)).events
    assert [each.readings[0].value for each in events] == [1, 2, 3]


@pytest.mark.fact("A page token that repeats stops the history of a device with an error")
async def test_the_events_of_a_page_whose_token_repeats_are_not_lost():
    pages = [{"events": [event(number)], "nextPageToken": "t1"} for number in (1, 2)]
    async with opened({EVENTS: pages}) as (history, _):
        await history.parts()
        first = await history.page("d1", START, END, None)
        second = await history.page("d1", START, END, first.cursor)
    assert [each.readings[0].value for each in second.events] == [2]
    assert second.cursor == first.cursor  # by which the core knows that there is no end


async def test_a_page_and_a_whole_device_may_be_read_again():
    pages = [
        {"nextPageToken": "t1"},
        httpx.Response(503),
        {"nextPageToken": "t2"},
        {"nextPageToken": "t2"},
    ]
    async with opened({EVENTS: [*pages, {"nextPageToken": "t1"}]}) as (history, _):
        await history.parts()
        await history.page("d1", START, END, None)
        with pytest.raises(Retry):
            await history.page("d1", START, END, "t1")
        assert (await history.page("d1", START, END, "t1")).cursor == "t2"
        assert (await history.page("d1", START, END, "t1")).cursor == "t2"
        assert (await history.page("d1", START, END, None)).cursor == "t1"


@pytest.mark.fact("For a device leaves it out of the backfill")
async def test_a_device_that_is_gone_is_left_out_and_the_others_go_on():
    async with opened({}) as (history, _):
        await history.parts()
        with pytest.raises(Reject) as caught:
            await history.page("d1", START, END, None)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (httpx.Response(429, headers={"Retry-After": "9"}), Retry),
        (httpx.Response(503), Retry),
        (httpx.Response(200, text="<html>"), Retry),
        (httpx.ConnectError("no route"), Retry),
        (httpx.Response(401), Pause),
        (httpx.Response(403), Pause),
        (httpx.Response(400), Reject),
    ],
)
async def test_a_page_is_one_attempt_with_a_verdict(answer, verdict):
    async with opened({EVENTS: answer}) as (history, dt):
        await history.parts()
        with pytest.raises(verdict) as caught:
            await history.page("d1", START, END, None)
    assert len(dt.asked(EVENTS)) == 1
    if isinstance(answer, httpx.Response) and answer.status_code == 429:
        assert caught.value.after == pytest.approx(9, abs=1)


# The events


@pytest.mark.fact("History holds bare events; labels and metadata are taken from the device")
async def test_an_event_is_what_its_push_would_have_been():
    async with opened({EVENTS: {"events": [event(1)]}}) as (history, _):
        await history.parts()
        [recovered] = (await history.page("d1", START, END, None)).events
    push = {
        "event": event(1),
        "labels": {"name": "fridge", "room": "1"},
        "metadata": {
            "deviceId": "d1",
            "projectId": "p1",
            "deviceType": "temperature",
            "productNumber": "100011",
        },
    }
    assert recovered == decode_event(push, received=NOW)


async def test_only_the_labels_that_the_connector_pushes_are_filled_in():
    async with opened({EVENTS: {"events": [event(1)]}}, connector_labels=("name",)) as (history, _):
        await history.parts()
        [recovered] = (await history.page("d1", START, END, None)).events
    assert recovered.data["labels"] == {"name": "fridge"}
    assert "room" not in recovered.labels


@pytest.mark.fact("GET devices gives name, type, labels; productNumber may be missing")
async def test_a_device_without_labels_type_and_number_is_read_as_well():
    bare = {"name": "projects/p1/devices/d1"}
    async with opened({DEVICES: {"devices": [bare]}, EVENTS: {"events": [event(1)]}}) as (
        history,
        _,
    ):
        await history.parts()
        [recovered] = (await history.page("d1", START, END, None)).events
    assert recovered.labels == {"metadata.projectId": "p1"}


async def test_a_device_that_was_listed_before_is_asked_for_by_its_id():
    async with opened({f"{DEVICES}/d1": device(), EVENTS: {"events": [event(1)]}}) as (history, dt):
        [recovered] = (await history.page("d1", START, END, None)).events
        await history.page("d1", START, END, None)
    assert recovered.labels["name"] == "fridge"
    assert len(dt.asked(f"{DEVICES}/d1")) == 1


async def test_a_device_id_stays_one_segment_of_the_path():
    async with opened({}) as (history, dt):
        with pytest.raises(Reject):
            await history.page("d1/../d2", START, END, None)
    assert dt.requests[0].url.raw_path == b"/v2/projects/p1/devices/d1%2F..%2Fd2"


@pytest.mark.fact("targetName of a moved device is part of the key")
async def test_the_key_of_a_moved_device_has_the_name_of_the_history():
    moved = event(1, target="projects/p0/devices/d1")
    async with opened({EVENTS: {"events": [moved]}}) as (history, _):
        await history.parts()
        [recovered] = (await history.page("d1", START, END, None)).events
    assert json.loads(recovered.key) == ["e1", "temperature", "projects/p0/devices/d1"]
    assert recovered.device == "d1"


@pytest.mark.parametrize(
    "odd", [None, 7, "text", [], {}, {"eventId": "e1"}, {"eventType": "touch"}]
)
async def test_what_cannot_be_read_is_kept_raw_and_known_once(odd):
    async with opened({EVENTS: {"events": [odd]}}) as (history, _):
        await history.parts()
        [first] = (await history.page("d1", START, END, None)).events
        [second] = (await history.page("d1", START, END, None)).events
    assert (first.kind, first.device, first.data) == ("unreadable", "d1", odd)
    assert first.key == second.key
    encode(first)


def test_the_key_of_what_cannot_be_read_is_one_text_for_ever():
    odd = {"b": 1.5, "a": [None, True, "ü", -7]}
    later = NOW + timedelta(days=30)
    [first, again] = (recovered_event(odd, "d1", {}, {}, time) for time in (NOW, later))
    assert first.key == again.key
    assert first.key == "fa9b9a968a59edde6eb457afd89fa6875178eaed55a66c793277519da12295cb"
    assert first.former_keys == (
        "73e8dbc27a3a1a1a26d53d500ca12623eff829ed2e6a4d8eba392fe76d081a4c",
    )


def test_the_order_of_members_does_not_change_a_key():
    assert unreadable_key("d1", {"a": 1, "b": 2}) == unreadable_key("d1", {"b": 2, "a": 1})


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(one=JSON_VALUES, other=JSON_VALUES)
def test_only_the_same_values_have_the_same_key(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (unreadable_key("d1", one) == unreadable_key("d1", other)) == same
    assert unreadable_key("d1", one) != unreadable_key("d2", one)


def sample_events():
    lines = [
        json.loads(line)
        for line in (DATA / "disruptive_events.jsonl").read_text("utf-8").splitlines()
    ]
    return [line["body"] for line in lines if line["kind"].startswith("bare-event")]


@pytest.mark.fact("Bare events of all known types are read, malformed names and times too")
@pytest.mark.parametrize("bare", sample_events(), ids=lambda bare: bare["eventType"])
def test_every_sample_of_the_history_has_the_key_of_its_push(bare):
    pushed = decode_event({"event": bare, "labels": {}}, received=NOW)
    recovered = recovered_event(bare, "d1", {"name": "x"}, {}, NOW)
    assert recovered.key == pushed.key
    assert recovered.readings == pushed.readings
    encode(recovered)


# The kind


@pytest.mark.fact(
    "Kept 31 days, planned with 30; visible after 10 s; gaps under 11 h are DT's retries; "
    "overlap 60 s"
)
def test_the_kind_reads_back_what_dt_no_longer_sends():
    [kind] = bridge_plugins.disruptive.bridge_source_kinds()
    recovery = kind.recovery
    assert (recovery.parts, recovery.automatic) == ("devices", True)
    hour = 3600
    assert (recovery.after, recovery.overlap, recovery.delay, recovery.reach) == (
        11 * hour,
        60,
        10,
        30 * 24 * hour,
    )


@pytest.mark.fact("Without credentials it is told what is missing for good")
def test_without_credentials_it_is_said_what_is_missing():
    [kind] = bridge_plugins.disruptive.bridge_source_kinds()
    text = kind.recovery.lacks(Settings(secret=Secret("s")))
    for word in ("project", "service_account_key", "service_account_secret", "12 hours", "missing"):
        assert word in text
    assert kind.recovery.lacks(make_settings()) is None


async def test_a_history_without_credentials_waits_for_a_person():
    [kind] = bridge_plugins.disruptive.bridge_source_kinds()
    with pytest.raises(Pause, match="needs the settings project"):
        async with kind.recovery.open(Settings(secret=Secret("s")), fake_source_context()):
            pass


@pytest.mark.fact("The only way to recover lost events is the REST event history, per device")
@pytest.mark.fact("Recovery merges by the same keys as the pushes")
async def test_the_history_of_the_emulator_has_the_keys_of_the_pushes():
    account = Account(basic=True)
    pushed = []

    async def receive(request):
        pushed.append(decode_event(json.loads(await request.aread()), received=NOW))
        return httpx.Response(200)

    with trio.fail_after(20):
        async with open_cloud(
            accounts=[account],
            rules=Rules(order="shuffled"),
            now=lambda: NOW,
            random=Random(3),
            transport=httpx.MockTransport(receive),
        ) as dt:
            project = dt.add_project("p1")
            dt.add_connector(project, "https://bridge.example.org/dt", "hook-secret", labels=None)
            for name in ("d1", "d2", "d3"):
                for value in range(5):
                    project.publish("temperature", name, {"value": value}, labels={"name": name})
            await dt.drained()
            settings = make_settings(
                url=Url(dt.rest_url),
                page_size=2,
                service_account_key=account.key,
                service_account_secret=Secret(account.secret),
            )
            recovered = []
            [kind] = bridge_plugins.disruptive.bridge_source_kinds()
            async with kind.recovery.open(
                settings, fake_source_context(clock=FixedClock(NOW))
            ) as history:
                for part in await history.parts():
                    cursor = None
                    while True:
                        page = await history.page(part, START, END + timedelta(minutes=1), cursor)
                        recovered += page.events
                        cursor = page.cursor
                        if cursor is None:
                            break
    assert len(pushed) == 15
    assert {each.key: each.labels for each in recovered} == {
        each.key: each.labels for each in pushed
    }
