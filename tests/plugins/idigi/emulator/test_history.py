"""The histories of monitors and of data streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
import pytest

from bridge_plugins.idigi.emulator.content.event_factory import data_point
from bridge_plugins.idigi.emulator.server import Emulator, open_emulator

HISTORY = "/ws/v1/monitors/history/178008"
NOON = datetime(2024, 5, 2, 12, tzinfo=UTC)
PERSISTENT = {
    "monTopic": "DataPoint",
    "monTransportType": "tcp",
    "monFormatType": "xml",
    "monAutoReplayOnConnect": "true",
}


class Clock:
    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def emulator(clock: Clock) -> AsyncIterator[Emulator]:
    async with open_emulator(now=clock) as emulator:
        yield emulator


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=emulator.rest_url, auth=("user", "pass"), trust_env=False
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", HISTORY, 405),
        ("GET", "/ws/v1/elsewhere", 404),
        ("GET", "/ws/v1/streams/history/", 404),
    ],
)
async def test_other_calls_are_not_understood(
    client: httpx.AsyncClient, emulator: Emulator, method: str, path: str, status: int
) -> None:
    emulator.account.create(PERSISTENT)
    assert (await client.request(method, path)).status_code == status


# History of a monitor


async def saved(emulator: Emulator, clock: Clock, count: int = 3) -> Any:
    """A persistent monitor for which an event was saved each minute from noon on."""
    emulator.options.before_first_connect = "recorded"
    monitor = emulator.account.create(PERSISTENT)
    for number in range(count):
        clock.time = NOON + timedelta(minutes=number)
        await emulator.publish("DataPoint/x", "DataPoint", {"data": number, "timestamp": 1})
    return monitor


def data(answer: httpx.Response) -> list[Any]:
    return [item["DataPoint"]["data"] for item in answer.json()["list"]]


@pytest.mark.fact("v1 history: saved events whether sent or not")
async def test_the_history_has_events_whether_sent_or_not_in_json(
    client: httpx.AsyncClient, emulator: Emulator, clock: Clock
) -> None:
    monitor = await saved(emulator, clock, 2)
    attachment = monitor.attach(emulator.faults, lambda _how: None)
    attachment.take()
    answer = await client.get(HISTORY)
    assert data(answer) == [0, 1]
    event = answer.json()["list"][0]
    assert (event["topic"], event["timestamp"], event["group"]) == (
        "7603/DataPoint/x",
        "2024-05-02T12:00:00.000Z",
        "*",
    )
    assert "replay" not in event


@pytest.mark.fact("v1 history: start_time and end_time count in server time")
@pytest.mark.parametrize(
    ("span", "found"),
    [
        ({"start_time": "2024-05-02T12:01:00Z"}, [1, 2]),
        ({"end_time": "2024-05-02T12:01:00.000Z"}, [0, 1]),
        ({"start_time": "2024-05-02T12:00:30", "end_time": "2024-05-02T12:01:30Z"}, [1]),
        ({"start_time": str(int(NOON.timestamp() * 1000) + 90_000)}, [2]),
        ({"start_time": "2030-01-01T00:00:00Z"}, []),
    ],
)
async def test_a_span_of_the_history_counts_in_time_of_the_server(
    client: httpx.AsyncClient,
    emulator: Emulator,
    clock: Clock,
    span: dict[str, str],
    found: list[int],
) -> None:
    await saved(emulator, clock)
    assert data(await client.get(HISTORY, params=span)) == found


@pytest.mark.fact(
    "v1 history: paged by cursor; the last page may lack it, repeat it, or lead to an empty one",
)
@pytest.mark.parametrize("last", ["absent", "repeats", "empty-page"])
async def test_the_history_is_paged_and_ends_as_is_chosen(
    client: httpx.AsyncClient, emulator: Emulator, clock: Clock, last: Any
) -> None:
    emulator.options.last_cursor = last
    await saved(emulator, clock)
    first = await client.get(HISTORY, params={"size": 2})
    cursor = first.json()["cursor"]
    second = await client.get(HISTORY, params={"size": 2, "cursor": cursor})
    assert (data(first), data(second)) == ([0, 1], [2])
    following = second.json().get("cursor")
    if last == "absent":
        assert following is None
    elif last == "repeats":
        assert following == cursor
    else:
        empty = (await client.get(HISTORY, params={"size": 2, "cursor": following})).json()
        assert empty == {"count": 0, "list": []}


@pytest.mark.fact("v1 history: an item may wrap the event")
async def test_an_item_of_the_history_may_wrap_the_event(
    client: httpx.AsyncClient, emulator: Emulator, clock: Clock
) -> None:
    emulator.options.history_items = "wrapped"
    await saved(emulator, clock, 1)
    (item,) = (await client.get(HISTORY)).json()["list"]
    assert item["event"]["DataPoint"]["data"] == 0


@pytest.mark.fact("v1 history: a later change of topics does not alter saved events")
async def test_a_later_change_of_topics_leaves_the_history_as_it_is(
    client: httpx.AsyncClient, emulator: Emulator, clock: Clock
) -> None:
    await saved(emulator, clock, 1)
    await client.put("/ws/Monitor/178008", content=b"<Monitor><monTopic>Job</monTopic></Monitor>")
    await emulator.publish("DataPoint/x", "DataPoint", {"data": "after"})
    assert data(await client.get(HISTORY)) == [0]


@pytest.mark.fact("v1 history: persistent monitors only")
async def test_only_persistent_monitors_have_a_history(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    emulator.account.create(PERSISTENT | {"monAutoReplayOnConnect": "false"})
    refused = await client.get(HISTORY)
    assert (refused.status_code, "not persistent" in refused.text) == (400, True)


@pytest.mark.parametrize(
    "parameters", [{"start_time": "noon"}, {"end_time": "9" * 30}, {"cursor": "x"}, {"size": "-1"}]
)
async def test_a_history_call_that_cannot_be_understood_is_refused(
    client: httpx.AsyncClient, emulator: Emulator, parameters: dict[str, str]
) -> None:
    emulator.account.create(PERSISTENT)
    assert (await client.get(HISTORY, params=parameters)).status_code == 400


# History of a data stream


STREAM = "/ws/v1/streams/history/dev/metrics/level"


async def measured(emulator: Emulator, count: int = 3) -> None:
    """A point for each day, back from noon."""
    for number in range(count):
        time = NOON - timedelta(days=number)
        point = data_point("dev/metrics/level", number, time=time, random=Random(1))
        await emulator.inject([point])


@pytest.mark.fact("Stream history: slashes of the id stand in the path; fields as documented")
async def test_the_history_of_a_stream_has_the_documented_form(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    await measured(emulator, 1)
    answer = (await client.get(STREAM)).json()
    (point,) = answer.pop("list")
    assert answer == {"count": 1, "size": 1000}
    assert point.pop("id")
    assert point == {
        "stream_id": "dev/metrics/level",
        "timestamp": "2024-05-02T12:00:00.000Z",
        "server_timestamp": "2024-05-02T12:00:00.000Z",
        "value": 0,
        "quality": 0,
    }


@pytest.mark.fact("Stream history: start_time, end_time, size and cursor; next_uri")
async def test_the_history_of_a_stream_counts_in_time_of_measurement(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    await measured(emulator)
    span = {"start_time": "2024-05-01T00:00:00Z", "end_time": "2024-05-01T23:00:00Z"}
    within = (await client.get(STREAM, params=span)).json()
    assert [point["value"] for point in within["list"]] == [1]
    first = (await client.get(STREAM, params={"size": 2})).json()
    assert [point["value"] for point in first["list"]] == [0, 1]
    for following in (STREAM + f"?size=2&cursor={first['cursor']}", first["next_uri"]):
        last = (await client.get(following)).json()
        assert [point["value"] for point in last.pop("list")] == [2]
        assert last == {"count": 1, "size": 2}


@pytest.mark.fact("Stream history: a %2F in the path is refused")
async def test_a_stream_is_not_asked_for_with_escaped_slashes(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    await measured(emulator)
    assert (await client.get("/ws/v1/streams/history/dev%2Fmetrics%2Flevel")).status_code == 400
    assert (await client.get("/ws/v1/streams/history/unknown")).json()["list"] == []
