"""The v1 JSON API of the emulator: inventory and history."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
import pytest

from bridge_plugins.idigi.emulator.content.event_factory import data_point
from bridge_plugins.idigi.emulator.server import Emulator, open_emulator

INVENTORY = "/ws/v1/monitors/inventory"
HISTORY = "/ws/v1/monitors/history/178008"
NOON = datetime(2024, 5, 2, 12, tzinfo=UTC)
WANTED = {
    "type": "tcp",
    "topics": ["[group=a,b]DataPoint", "DeviceCore"],
    "description": "ours",
    "format": "json",
    "persistent": True,
    "acknowledgement": "explicit",
    "compression": "gzip",
    "batch_duration": 10,
    "batch_size": 100,
}
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


@pytest.mark.fact(
    "v1: POST gives a numeric id; numbers, booleans and lists of their own; status in lower case",
)
async def test_a_monitor_is_created_and_read_with_types_of_json(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    created = await client.post(INVENTORY, json=WANTED)
    assert (created.status_code, created.json()["id"]) == (201, 178008)
    expected = WANTED | {
        "id": 178008,
        "customer_id": 7603,
        "compression": "zlib",
        "status": "inactive",
    }
    assert (await client.get(f"{INVENTORY}/178008")).json() == expected
    assert (await client.get(INVENTORY)).json()["list"] == [expected]
    assert emulator.account.monitors[178008].elements["monAutoReplayOnConnect"] == "true"


@pytest.mark.parametrize(
    "changes",
    [
        {"topics": ["Nonsense"]},
        {"topics": 5},
        {"batch_size": "100"},
        {"persistent": "true"},
        {"colour": "red"},
    ],
)
async def test_a_monitor_that_cannot_be_is_refused(
    client: httpx.AsyncClient, changes: dict[str, Any]
) -> None:
    refused = await client.post(INVENTORY, json=WANTED | changes)
    assert (refused.status_code, len(refused.json()["error"])) == (400, 1)
    assert (await client.post(INVENTORY, content=b"{")).status_code == 400


async def test_the_limit_of_monitors_holds_here_too(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    emulator.faults.monitor_limit = 0
    refused = await client.post(INVENTORY, json=WANTED)
    assert (refused.status_code, "limit of monitors" in refused.text) == (400, True)


@pytest.mark.fact("v1: query with = and startsWith")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status='inactive' and description startsWith 'x'", [178009]),
        ("description startsWith 'x' or persistent='true'", [178008, 178009]),
        ("id>'178008'", [178009]),
        ("status='active'", []),
        ("topics='DataPoint'", [178008]),
    ],
)
async def test_a_query_chooses(
    client: httpx.AsyncClient, emulator: Emulator, query: str, found: list[int]
) -> None:
    emulator.account.create(PERSISTENT)
    emulator.account.create({"monTopic": "Job", "monTransportType": "tcp", "monDescription": "xyz"})
    listed = (await client.get(INVENTORY, params={"query": query})).json()["list"]
    assert [item["id"] for item in listed] == found


@pytest.mark.parametrize(
    "parameters", [{"query": "id like '1%'"}, {"cursor": "x"}, {"size": "0"}, {"size": "many"}]
)
async def test_a_list_that_cannot_be_understood_is_refused(
    client: httpx.AsyncClient, parameters: dict[str, str]
) -> None:
    assert (await client.get(INVENTORY, params=parameters)).status_code == 400


@pytest.mark.fact("v1: orderby, size, cursor")
async def test_the_inventory_comes_in_pages_and_in_order(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    for _ in range(3):
        emulator.account.create(PERSISTENT)
    first = (await client.get(INVENTORY, params={"size": 2, "orderby": "id desc"})).json()
    assert [item["id"] for item in first["list"]] == [178010, 178009]
    parameters = {"size": 2, "orderby": "id desc", "cursor": first["cursor"]}
    rest = (await client.get(INVENTORY, params=parameters)).json()
    assert ([item["id"] for item in rest["list"]], "cursor" in rest) == ([178008], False)


@pytest.mark.fact("v1: DELETE")
async def test_a_monitor_is_deleted(client: httpx.AsyncClient, emulator: Emulator) -> None:
    emulator.account.create(PERSISTENT)
    assert (await client.delete(f"{INVENTORY}/178008")).status_code == 204
    assert emulator.account.monitors == {}
    gone = await client.get(f"{INVENTORY}/178008")
    assert (gone.status_code, "178008" in gone.json()["error"][0]) == (400, True)
    assert (await client.get(HISTORY)).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", INVENTORY, 405),
        ("PUT", f"{INVENTORY}/178008", 405),
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
async def test_the_history_is_paged_by_cursor_and_ends_in_the_way_that_is_chosen(
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
async def test_an_item_of_the_history_may_be_an_object_around_the_event(
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


async def test_the_history_goes_back_further_than_the_record(
    client: httpx.AsyncClient, emulator: Emulator, clock: Clock
) -> None:
    emulator.account.record_limit, emulator.account.history_limit = 1, 2
    monitor = await saved(emulator, clock)
    assert len(monitor.record) == 1
    assert data(await client.get(HISTORY)) == [1, 2]


@pytest.mark.parametrize(
    "parameters", [{"start_time": "noon"}, {"end_time": "9" * 30}, {"cursor": "x"}, {"size": "-1"}]
)
async def test_a_history_call_that_cannot_be_understood_is_refused(
    client: httpx.AsyncClient, emulator: Emulator, parameters: dict[str, str]
) -> None:
    emulator.account.create(PERSISTENT)
    assert (await client.get(HISTORY, params=parameters)).status_code == 400


# History of a data stream


async def test_the_history_of_a_stream_counts_in_time_of_measurement_and_needs_no_monitor(
    client: httpx.AsyncClient, emulator: Emulator, clock: Clock
) -> None:
    for number in range(3):
        time = NOON - timedelta(days=number)
        await emulator.inject(
            [data_point("dev/metrics/level", number, time=time, random=Random(1))]
        )
    path = "/ws/v1/streams/history/dev%2Fmetrics%2Flevel"
    answer = (await client.get(path)).json()
    assert [point["data"] for point in answer["list"]] == [0, 1, 2]
    assert answer["list"][0]["streamId"] == "dev/metrics/level"
    span = {"start_time": "2024-05-01T00:00:00Z", "end_time": "2024-05-01T23:00:00Z"}
    assert [point["data"] for point in (await client.get(path, params=span)).json()["list"]] == [1]
    page = (await client.get("/ws/v1/streams/history/dev/metrics/level", params={"size": 2})).json()
    assert (len(page["list"]), "cursor" in page) == (2, True)
    assert (await client.get("/ws/v1/streams/history/unknown")).json()["list"] == []


@pytest.mark.fact("History of a data stream at a path of choice (the emulator's own call)")
async def test_the_path_of_stream_histories_can_be_chosen(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    emulator.options.streams_path = "/elsewhere/{stream}/points"
    await emulator.publish("DataPoint/x", "DataPoint", {"streamId": "x", "data": 1})
    assert (await client.get("/elsewhere/x/points")).json()["list"] == [
        {"streamId": "x", "data": 1}
    ]
