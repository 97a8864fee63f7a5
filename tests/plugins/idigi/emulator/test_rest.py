"""The REST server of the emulator: the old API and what stands before every call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
import trio
import trio.testing

from bridge.api import Request, Response
from bridge.testing.http_server import HangUp
from bridge_plugins.idigi.emulator.content.event_factory import device_core, device_id
from bridge_plugins.idigi.emulator.faults import gateway_error, throttled
from bridge_plugins.idigi.emulator.options import Rate
from bridge_plugins.idigi.emulator.rest.calls import answer_call
from bridge_plugins.idigi.emulator.server import Emulator

JSON = {"Accept": "application/json"}
ELEMENTS = {
    "monTopic": "DeviceCore,DataPoint",
    "monTransportType": "tcp",
    "monFormatType": "json",
    "monCompression": "gzip",
    "monBatchSize": "100",
    "monBatchDuration": "0",
    "monAckOption": "explicit",
    "monAutoReplayOnConnect": "true",
    "monDescription": "our-tag/<ä> & 1",
}


def body_of(elements: dict[str, str]) -> bytes:
    root = ElementTree.Element("Monitor")
    for name, text in elements.items():
        ElementTree.SubElement(root, name).text = text
    return ElementTree.tostring(root)


def attach(monitor: Any) -> list[str]:
    """A session that ends soon after it is told to; gives how."""
    ended: list[str] = []

    def end(how: str) -> None:
        ended.append(how)
        trio.lowlevel.current_trio_token().run_sync_soon(monitor.detach, attachment, [])

    attachment = monitor.attach(None, end)
    return ended


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=emulator.rest_url, auth=("user", "pass"), trust_env=False
    ) as client:
        yield client


# Create


@pytest.mark.fact(
    "A created monitor is answered 201 with a relative Location and XML in ISO-8859-1",
)
async def test_a_monitor_is_created_with_a_relative_location(client: httpx.AsyncClient) -> None:
    created = await client.post("/ws/Monitor", content=body_of(ELEMENTS))
    assert (created.status_code, created.headers["location"]) == (201, "Monitor/178008")
    assert created.content.startswith(b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<result>\n')
    assert ElementTree.fromstring(created.content).findtext("location") == "Monitor/178008"


@pytest.mark.fact("A bad topic is refused with the documented text")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"monTopic": "Nonsense"}, "Invalid monTopic specified"),
        ({"monTopic": ""}, "Invalid monTopic specified"),
        ({"monTopic": "[color=red]DataPoint"}, "Invalid monTopic specified"),
        ({"monTopic": "DataPoint["}, "Invalid monTopic specified"),
        ({"monTransportType": "pigeon"}, "Invalid monTransportType specified"),
        ({"monBatchSize": "0"}, "Invalid monBatchSize specified"),
        ({"monBatchDuration": "1.5"}, "Invalid monBatchDuration specified"),
        ({"monCompression": "zip"}, "Invalid monCompression specified"),
        ({"monAckOption": "yes"}, "Invalid monAckOption specified"),
        ({"monAutoReplayOnConnect": "True"}, "Invalid monAutoReplayOnConnect specified"),
        ({"monColour": "red"}, "Invalid monColour specified"),
    ],
)
async def test_a_monitor_that_cannot_be_is_refused_with_the_reason(
    client: httpx.AsyncClient, changes: dict[str, str], words: str
) -> None:
    refused = await client.post("/ws/Monitor", content=body_of(ELEMENTS | changes))
    text = ElementTree.fromstring(refused.content).findtext("error")
    assert (refused.status_code, text) == (400, f"POST Monitor error. Invalid request. {words}")


@pytest.mark.parametrize("body", [b"<Monitor", b"<Screen/>", b"<Monitor/>", b""])
async def test_a_body_that_is_no_monitor_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    refused = await client.post("/ws/Monitor", content=body)
    assert (refused.status_code, "POST Monitor error. Invalid request." in refused.text) == (
        400,
        True,
    )


@pytest.mark.fact("The limit of monitors is told with the words monitors and limit")
async def test_the_account_has_a_limit_of_monitors(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    emulator.faults.monitor_limit = 1
    assert (await client.post("/ws/Monitor", content=body_of(ELEMENTS))).status_code == 201
    refused = await client.post("/ws/Monitor", content=body_of(ELEMENTS))
    assert refused.status_code == 400
    assert "limit of monitors" in refused.text


# Read


@pytest.mark.fact("JSON reads have texts only, unset elements absent, gzip reads back as zlib")
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/ws/Monitor", JSON),
        ("/ws/Monitor/.json", {}),
        ("/ws/Monitor/178008", JSON),
        ("/ws/Monitor/178008.json", {}),
    ],
)
async def test_a_read_in_json_has_texts_only(
    client: httpx.AsyncClient, emulator: Emulator, path: str, headers: dict[str, str]
) -> None:
    await client.post("/ws/Monitor", content=body_of(ELEMENTS))
    result = (await client.get(path, headers=headers)).json()
    (item,) = result.pop("items")
    assert result == {
        "resultTotalRows": "1",
        "requestedStartRow": "0",
        "resultSize": "1",
        "requestedSize": "1000",
        "remainingSize": "0",
    }
    set_by_the_server = {
        "monId": "178008",
        "cstId": "7603",
        "monStatus": "INACTIVE",
        "monCompression": "zlib",
    }
    assert item == ELEMENTS | set_by_the_server


@pytest.mark.fact("Without Accept or .json a list is XML")
async def test_without_an_accept_header_a_list_is_xml(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await client.post("/ws/Monitor", content=body_of(ELEMENTS))
    answer = await client.get("/ws/Monitor", params={"size": 1})
    result = ElementTree.fromstring(answer.content)
    assert (result.findtext("resultTotalRows"), result.findtext("remainingSize")) == ("2", "1")
    (monitor,) = result.findall("Monitor")
    assert monitor.findtext("monDescription") == ELEMENTS["monDescription"]


@pytest.mark.fact("An empty list has zeros and no items")
async def test_an_empty_list_has_zeros(client: httpx.AsyncClient) -> None:
    result = (await client.get("/ws/Monitor", headers=JSON)).json()
    assert (result["resultTotalRows"], result["resultSize"], result["items"]) == ("0", "0", [])


@pytest.mark.fact("Lists are paged by start, size and remainingSize")
async def test_a_list_comes_in_pages(client: httpx.AsyncClient, emulator: Emulator) -> None:
    emulator.options.page_limit = 2
    for _ in range(5):
        emulator.account.create(ELEMENTS)
    found, left = [], "1"
    while int(left):
        page = (
            await client.get(
                "/ws/Monitor", params={"start": len(found), "size": 1000}, headers=JSON
            )
        ).json()
        found += [item["monId"] for item in page["items"]]
        left = page["remainingSize"]
    assert found == [str(178008 + number) for number in range(5)]
    assert len(emulator.recorder.calls) == 3
    beyond = (await client.get("/ws/Monitor", params={"start": 9}, headers=JSON)).json()
    assert (beyond["items"], beyond["remainingSize"]) == ([], "0")


@pytest.mark.fact("Condition: =, <, >, like, and, or")
@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("monTopic='DeviceCore,DataPoint'", ["178008"]),
        ("monTopic='DataPoint,DeviceCore'", []),
        ("monTopic='DeviceCore,DataPoint' and monTransportType='tcp'", ["178008"]),
        ("monId > '178008'", ["178009"]),
        ("monBatchSize<'100'", ["178009"]),
        ("monDescription like 'our-%'", ["178008"]),
        ("monTopic='Job' or monBatchSize='7' and monTransportType='tcp'", ["178009"]),
        ("monDescription='nowhere'", []),
    ],
)
async def test_a_condition_chooses(
    client: httpx.AsyncClient, emulator: Emulator, condition: str, found: list[str]
) -> None:
    emulator.account.create(ELEMENTS)
    emulator.account.create(
        {"monTopic": "Job,Alarm", "monTransportType": "tcp", "monBatchSize": "7"}
    )
    result = (await client.get("/ws/Monitor", params={"condition": condition}, headers=JSON)).json()
    assert [item["monId"] for item in result["items"]] == found


@pytest.mark.parametrize(
    "parameters",
    [
        {"condition": "monTopic"},
        {"condition": "monTopic='it's'"},
        {"condition": "monTopic startsWith 'x'"},
        {"condition": "monTopic='a' xor monId='1'"},
        {"condition": "monTopic='a' and"},
        {"start": "one"},
        {"size": "-1"},
    ],
)
async def test_a_list_that_cannot_be_understood_is_refused(
    client: httpx.AsyncClient, parameters: dict[str, str]
) -> None:
    refused = await client.get("/ws/Monitor", params=parameters)
    assert (refused.status_code, "GET Monitor error. Invalid request." in refused.text) == (
        400,
        True,
    )


@pytest.mark.fact("An unknown id in a JSON read is an error list, status selectable")
@pytest.mark.parametrize("status", [400, 404, 200])
async def test_an_unknown_id_is_a_list_of_errors(
    client: httpx.AsyncClient, emulator: Emulator, status: int
) -> None:
    emulator.faults.unknown_monitor_status = status
    answer = await client.get("/ws/Monitor/123", headers=JSON)
    assert answer.status_code == status
    assert answer.json() == {"error": ["GET Monitor error. Error reading Monitor entity id='123'"]}
    assert "<error>GET Monitor error. Error" in (await client.get("/ws/Monitor/123")).text


# Update and delete


@pytest.mark.fact("A PUT closes the session, merges elements, clears the record")
async def test_an_update_resets_the_monitor(client: httpx.AsyncClient, emulator: Emulator) -> None:
    monitor = emulator.account.create(ELEMENTS)
    ended = attach(monitor)
    recorded = await emulator.publish("DataPoint/x", "DataPoint", {})
    answer = await client.put(
        "/ws/Monitor/178008", content=body_of({"monTopic": "Job", "monCompression": "none"})
    )
    assert (answer.status_code, ElementTree.fromstring(answer.content).tag) == (200, "result")
    assert ended == ["close"]
    assert emulator.recorder.lost == {recorded}
    assert monitor.elements == ELEMENTS | {"monTopic": "Job", "monCompression": "none"}
    assert (monitor.status, monitor.topics) == ("INACTIVE", ["Job"])


@pytest.mark.fact("A PUT with the id alone only resets")
async def test_an_update_with_the_id_alone_only_resets(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    monitor = emulator.account.create(ELEMENTS)
    ended = attach(monitor)
    assert (
        await client.put("/ws/Monitor", content=body_of({"monId": "178008"}))
    ).status_code == 200
    assert (ended, monitor.elements, monitor.status) == (["close"], ELEMENTS, "INACTIVE")


@pytest.mark.fact("Errors of PUT: unknown id, bad topic")
@pytest.mark.parametrize(
    ("path", "elements", "text"),
    [
        ("/ws/Monitor/5", ELEMENTS, "PUT Monitor error. Error reading Monitor entity id='5'"),
        ("/ws/Monitor", {"monId": "5"}, "PUT Monitor error. Error reading Monitor entity id='5'"),
        (
            "/ws/Monitor/178008",
            {"monTopic": "Nonsense"},
            "PUT Monitor error. Invalid request. Invalid monTopic specified",
        ),
    ],
)
async def test_an_update_that_cannot_be_is_refused(
    client: httpx.AsyncClient, emulator: Emulator, path: str, elements: dict[str, str], text: str
) -> None:
    emulator.account.create(ELEMENTS)
    refused = await client.put(path, content=body_of(elements))
    assert (refused.status_code, ElementTree.fromstring(refused.content).findtext("error")) == (
        400,
        text,
    )


@pytest.mark.fact(
    "A DELETE closes the session, destroys recorded events, later 400; an id that is no "
    "number has its own text"
)
async def test_a_delete_closes_the_session_and_clears_the_record(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    ended = attach(emulator.account.create(ELEMENTS))
    unsent = await emulator.publish("DataPoint/x", "DataPoint", {})
    deleted = await client.delete("/ws/Monitor/178008")
    assert (deleted.status_code, "<message>1 items deleted</message>" in deleted.text) == (
        200,
        True,
    )
    assert (ended, emulator.recorder.lost) == (["close"], {unsent})
    again = await client.delete("/ws/Monitor/178008")
    assert (again.status_code, "Error reading Monitor" in again.text) == (400, True)
    wrong = await client.delete("/ws/Monitor/abc")
    text = ElementTree.fromstring(wrong.content).findtext("error")
    assert text == 'DELETE Monitor error. Invalid request. For input string: "abc"'


@pytest.mark.fact("GET /ws/DeviceCore lists the devices and tests credentials")
async def test_the_devices_can_be_read_and_a_deleted_one_is_gone(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    now = datetime(2024, 5, 2, tzinfo=UTC)
    for number in (1, 2, 3):
        await emulator.inject([device_core(number, connected=True, time=now)])
    gone = device_core(2, connected=False, time=now, operation="DELETE")
    await emulator.inject([gone, device_core(1, connected=False, time=now)])
    answer = (await client.get("/ws/DeviceCore", headers=JSON)).json()
    assert (answer["resultTotalRows"], answer["remainingSize"]) == ("2", "0")
    three, one = answer["items"]
    assert (three["devConnectwareId"], one["devConnectwareId"]) == (device_id(3), device_id(1))
    assert (three["dpConnectionStatus"], one["dpConnectionStatus"]) == ("1", "0")
    assert one["id"] == {"devId": "7201", "devVersion": "0"}
    assert one["devTerminated"] == "false"


async def test_the_devices_come_in_pages_as_json_or_as_xml(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    now = datetime(2024, 5, 2, tzinfo=UTC)
    await emulator.inject([device_core(n, connected=True, time=now) for n in (1, 2)])
    page = await client.get("/ws/DeviceCore/.json", params={"start": "1", "size": "5"})
    assert [each["devMac"] for each in page.json()["items"]] == ["00:40:9D:00:00:02"]
    root = ElementTree.fromstring((await client.get("/ws/DeviceCore")).content)
    assert root.findtext("DeviceCore/id/devId") == "7201"
    assert (await client.get("/ws/DeviceCore", params={"size": "x"})).status_code == 400
    assert (await client.post("/ws/DeviceCore")).status_code == 405


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/ws/Monitor"), ("PATCH", "/ws/Monitor/1")]
)
async def test_other_calls_are_not_understood(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    assert (await client.request(method, path)).status_code == 405


# Before every call


@pytest.mark.fact("Wrong credentials are answered 401")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic !"},
        {"Authorization": "Basic dXNlcjo="},
        {"Authorization": "Bearer dXNlcjpwYXNz"},
        {"X-API-KEY-ID": "id", "X-API-KEY-SECRET": "secret"},
    ],
)
async def test_a_stranger_hears_401(emulator: Emulator, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=emulator.rest_url, trust_env=False) as stranger:
        for path in ("/ws/Monitor", "/ws/v1/monitors/inventory"):
            assert (await stranger.get(path, headers=headers)).status_code == 401


@pytest.mark.fact("X-API-KEY-ID and X-API-KEY-SECRET open instead of a password")
async def test_a_key_that_the_account_has_opens_instead_of_a_password(emulator: Emulator) -> None:
    emulator.account.api_keys["id"] = "secret"
    async with httpx.AsyncClient(base_url=emulator.rest_url, trust_env=False) as client:
        for secret, status in (("secret", 200), ("guess", 401)):
            headers = {"X-API-KEY-ID": "id", "X-API-KEY-SECRET": secret}
            assert (await client.get("/ws/Monitor", headers=headers)).status_code == status


@pytest.mark.fact("Only the first colon of a Basic value separates")
async def test_a_password_may_hold_colons(emulator: Emulator) -> None:
    emulator.account.password = "p:a:s"
    async with httpx.AsyncClient(
        base_url=emulator.rest_url, auth=("user", "p:a:s"), trust_env=False
    ) as client:
        assert (await client.get("/ws/Monitor")).status_code == 200


@pytest.mark.fact("HTML 503, and 429 with and without Retry-After")
async def test_answers_of_gateways_and_of_a_busy_service_can_come(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    emulator.faults.rest = [gateway_error(), throttled("17"), throttled(), HangUp()]
    gateway = await client.get("/ws/Monitor")
    assert (gateway.status_code, gateway.text.startswith("<html>")) == (503, True)
    patient = await client.get("/ws/Monitor")
    assert (patient.status_code, patient.headers["retry-after"]) == (429, "17")
    assert "retry-after" not in (await client.get("/ws/Monitor")).headers
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/ws/Monitor")
    assert (await client.get("/ws/Monitor")).status_code == 200


async def call(emulator: Emulator) -> Response:
    headers = {"authorization": ("Basic dXNlcjpwYXNz",)}
    return await answer_call(
        emulator.account, emulator.faults, Request("GET", "/ws/Monitor", "", headers, b"")
    )


@pytest.mark.fact("A rate of calls is judged over a window")
async def test_too_many_calls_in_a_window_hear_429(
    emulator: Emulator, autojump_clock: trio.testing.MockClock
) -> None:
    emulator.options.rate = Rate(calls=2, seconds=10, retry_after="3")
    answers = [await call(emulator) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert ("Retry-After", "3") in answers[-1].headers
    assert emulator.recorder.throttled == 1
    await trio.sleep(10)
    assert (await call(emulator)).status == 200


@pytest.mark.fact("A limit of calls at the same time")
async def test_too_many_calls_at_the_same_time_hear_429(
    emulator: Emulator, autojump_clock: trio.testing.MockClock
) -> None:
    emulator.options.rate = Rate(calls=100, at_once=4)
    emulator.faults.rest_delay = 1
    statuses = []

    async def note() -> None:
        statuses.append((await call(emulator)).status)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(note)
    assert sorted(statuses) == [200, 200, 200, 200, 429]


async def test_the_recorder_knows_every_call(client: httpx.AsyncClient, emulator: Emulator) -> None:
    await client.get("/ws/Monitor", params={"start": 3})
    await client.post("/ws/v1/monitors/inventory", content=json.dumps({"topics": ["Job"]}))
    assert emulator.recorder.calls == ["GET /ws/Monitor", "POST /ws/v1/monitors/inventory"]
    assert emulator.recorder.queries == ["start=3", ""]
    assert emulator.recorder.bodies == [b'{"topics": ["Job"]}']
