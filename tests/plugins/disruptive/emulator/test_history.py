"""The emulator's devices and their history: what a client can read back."""

import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_plugins.disruptive.emulator.project import Project
from bridge_plugins.disruptive.emulator.server import Account, Delivery, Rules, open_cloud

NOW = datetime(2024, 5, 29, 12, 0, 0, tzinfo=UTC)
ACCOUNT = Account(basic=True, role="user")
HOUR = timedelta(hours=1)


class Clock:
    def __init__(self):
        self.time = NOW

    def __call__(self):
        return self.time


class Client:
    def __init__(self, cloud, http, clock):
        self.cloud, self.http, self.clock = cloud, http, clock
        self.project = cloud.add_project("p1")

    async def get(self, path, **query):
        return await self.http.get(
            self.cloud.rest_url + path, params=query, auth=(ACCOUNT.key, ACCOUNT.secret)
        )

    async def events(self, device="d", **query):
        """Read a history to its end."""
        events, token = [], None
        while token != "":
            page = {**query, **({"pageToken": token} if token else {})}
            answer = await self.get(f"/projects/p1/devices/{device}/events", **page)
            assert answer.status_code == 200, answer.text
            events += answer.json()["events"]
            token = answer.json()["nextPageToken"]
        return events

    async def values(self, **query):
        return [event["data"]["temperature"]["value"] for event in await self.events(**query)]

    def publish(self, value, ago, **others):
        return self.project.publish(
            "temperature", "d", {"value": value}, time=self.clock.time - ago, **others
        )


@asynccontextmanager
async def opened(**rules):
    clock = Clock()
    with trio.fail_after(30):
        async with (
            open_cloud(
                accounts=[ACCOUNT], now=clock, random=Random(1), asymmetric=False, verify=False
            ) as cloud,
            httpx.AsyncClient(trust_env=False, verify=False) as http,
        ):
            cloud.rules = Rules(**rules)
            yield Client(cloud, http, clock)


@pytest.fixture
async def client():
    async with opened() as client:
        yield client


# --- history ---


@pytest.mark.fact("History has bare events")
async def test_a_history_has_bare_events(client):
    event_id = client.project.publish("touch", "d", time=NOW - HOUR, labels={"name": "x"})
    assert await client.events() == [
        {
            "eventId": event_id,
            "targetName": "projects/p1/devices/d",
            "eventType": "touch",
            "data": {"touch": {"updateTime": "2024-05-29T11:00:00.000000Z"}},
            "timestamp": "2024-05-29T11:00:00.000000Z",
        }
    ]


@pytest.mark.fact("The history answers camelCase whatever was published")
async def test_the_members_of_an_event_are_named_in_camel_case(client):
    fields = {"cloud_connectors": [{"id": "g", "signal_strength": 45}], "rssi": -83}
    client.project.publish("networkStatus", "d", fields, time=NOW - HOUR)
    client.project.publish("labelsChanged", "d", {"added": {"my_label": "x"}}, time=NOW)
    status, labels = await client.events()
    assert status["data"]["networkStatus"] == {
        "cloudConnectors": [{"id": "g", "signalStrength": 45}],
        "rssi": -83,
        "updateTime": "2024-05-29T11:00:00.000000Z",
    }
    assert labels["data"] == {"added": {"my_label": "x"}}  # people chose the name


@pytest.mark.fact("History defaults to the last 24 h")
async def test_a_history_is_of_the_last_day_unless_asked_otherwise(client):
    client.publish(1, timedelta(hours=25))
    client.publish(2, timedelta(hours=23))
    assert await client.values() == [2]
    assert await client.values(startTime="2024-05-28T00:00:00Z") == [1, 2]
    assert await client.values(
        startTime="2024-05-28T00:00:00Z", endTime="2024-05-28T12:00:00Z"
    ) == [1]


@pytest.mark.fact("camelCase and snake_case parameters")
@pytest.mark.parametrize(("start", "end"), [("startTime", "endTime"), ("start_time", "end_time")])
async def test_parameters_come_in_camel_case_or_snake_case(client, start, end):
    for hours in (1, 2, 3):
        client.publish(hours, hours * HOUR)
    query = {start: "2024-05-29T09:30:00+00:00", end: "2024-05-29T12:30:00+02:00"}
    assert await client.values(**query) == [2]


@pytest.mark.fact("History is kept 31 days")
async def test_a_history_ends_31_days_ago(client):
    client.publish(1, timedelta(days=31, seconds=1))
    client.publish(2, timedelta(days=31, seconds=-1))
    assert await client.values(startTime="2024-01-01T00:00:00Z") == [2]


@pytest.mark.fact("History shows new events after a delay")
async def test_a_history_shows_an_event_after_the_indexing_delay():
    async with opened(indexing_delay=timedelta(seconds=10)) as client:
        client.publish(1, HOUR)
        client.clock.time += timedelta(seconds=9)
        assert await client.values() == []
        client.clock.time += timedelta(seconds=1)
        assert await client.values() == [1]


@pytest.mark.fact("Order of history unknown: ascending, descending")
@pytest.mark.parametrize(
    ("order", "expected"), [("ascending", [1, 2, 3]), ("descending", [3, 2, 1])]
)
async def test_the_order_of_a_history_can_be_chosen(order, expected):
    async with opened(order=order) as client:
        for value in (2, 3, 1):  # as a sensor that backfills
            client.publish(value, (4 - value) * HOUR)
        assert await client.values() == expected


@pytest.mark.fact("Order of history unknown: shuffled")
async def test_a_shuffled_history_is_complete():
    async with opened(order="shuffled", page_size=7) as client:
        for value in range(30):
            client.publish(value, HOUR - timedelta(seconds=value))
        values = await client.values()
        assert values != sorted(values)
        assert sorted(values) == list(range(30))


@pytest.mark.fact("Inclusive bounds unknown, selectable")
@pytest.mark.parametrize(("inclusive", "expected"), [(True, [1, 2, 3]), (False, [2])])
async def test_whether_the_ends_of_a_span_belong_to_it_can_be_chosen(inclusive, expected):
    async with opened(inclusive=inclusive) as client:
        for value in (1, 2, 3):
            client.publish(value, (4 - value) * HOUR)
        span = {"startTime": "2024-05-29T09:00:00Z", "endTime": "2024-05-29T11:00:00Z"}
        assert await client.values(**span) == expected


@pytest.mark.fact("eventTypes may be repeated")
async def test_a_history_can_be_limited_to_types(client):
    for event_type in ("touch", "networkStatus", "co2"):
        client.project.publish(event_type, "d", time=NOW - HOUR)
    events = await client.events(eventTypes=["touch", "co2"])
    assert {event["eventType"] for event in events} == {"touch", "co2"}


async def test_what_happens_meanwhile_does_not_shift_the_pages():
    async with opened(page_size=2) as client:
        for value in range(4):
            client.publish(value, HOUR - timedelta(seconds=value))
        path = "/projects/p1/devices/d/events"
        first = (await client.get(path)).json()
        client.publish(99, 2 * HOUR)
        second = (await client.get(path, pageToken=first["nextPageToken"])).json()
        values = [
            event["data"]["temperature"]["value"] for event in first["events"] + second["events"]
        ]
        assert values == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "query",
    [
        {"startTime": "yesterday"},
        {"startTime": "2024-05-29T12:00:00"},
        {"startTime": "2024-05-29"},
        {"startTime": "2024-05-29T12:00:01Z"},
        {"startTime": "2024-05-28T12:00:00Z", "endTime": "2024-05-27T12:00:00Z"},
        {"start": "2024-05-29T11:00:00Z"},
    ],
)
async def test_a_span_that_makes_no_sense_is_answered_400(client, query):
    client.publish(1, HOUR)
    answer = await client.get("/projects/p1/devices/d/events", **query)
    assert answer.status_code == 400


@pytest.mark.fact("Every published event is in the history, pushed or not")
async def test_a_backfill_finds_exactly_what_pushes_lost():
    # The bridge is away, and the connector is disabled: events get lost.
    async with opened() as client:
        connector = client.cloud.add_connector(client.project, "http://127.0.0.1:1/", "secret")
        connector.disable()
        published = {client.publish(value, HOUR - timedelta(seconds=value)) for value in range(10)}
        assert connector.lost == published
        connector.enable()
        assert {event["eventId"] for event in await client.events()} == published


async def test_filtered_events_are_in_the_history_too(client):
    client.cloud.add_connector(client.project, "http://127.0.0.1:1/", "secret", events=["touch"])
    client.publish(1, HOUR)
    assert await client.values() == [1]


async def test_ten_thousand_events_of_two_hours_are_published_quickly():
    async with opened(page_size=1000) as client:
        client.cloud.delivery = Delivery(spacing=3600)
        client.cloud.add_connector(client.project, "http://127.0.0.1:1/", "secret", labels=["name"])
        began = time.process_time()
        for number in range(10_000):
            ago = timedelta(hours=2) - timedelta(seconds=0.72 * number)
            client.project.publish(
                "temperature", f"d{number % 20}", {"value": number}, time=NOW - ago
            )
        assert time.process_time() - began < (
            2 if sys.gettrace() is None else 10
        )  # measuring coverage takes its time
        assert len(await client.events("d0")) == 500


@settings(max_examples=50, deadline=None)
@given(
    ages=st.lists(st.integers(0, 1000), max_size=30),
    start=st.integers(0, 1000),
    length=st.integers(0, 1000),
    inclusive=st.booleans(),
)
def test_a_span_holds_the_events_whose_times_lie_in_it(ages, start, length, inclusive):
    project = Project("p", "o", "", now=lambda: NOW, random=Random(1))
    device = project.add_device("d", "touch")
    for age in ages:
        project.publish("touch", "d", time=NOW - timedelta(seconds=age))
    first, last = NOW - timedelta(seconds=start + length), NOW - timedelta(seconds=start)
    found = [event.time for event in device.between(first, last, inclusive=inclusive)]
    times = sorted(NOW - timedelta(seconds=age) for age in ages)
    assert found == [
        time for time in times if (first <= time <= last if inclusive else first < time < last)
    ]


# --- devices ---


async def test_an_unknown_device_comes_with_its_first_event(client):
    client.publish(1, HOUR)
    [device] = (await client.get("/projects/p1/devices")).json()["devices"]
    assert device == {"name": "projects/p1/devices/d", "type": "temperature", "labels": {}}
