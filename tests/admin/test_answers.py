"""What monitors and programs get from the admin address."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest

from bridge.flow.ingest import Intake
from bridge.flow.problems import SINK_FAILS

PATHS = ("/", "/status.json", "/livez", "/readyz")


async def test_livez_says_that_the_loop_turns_whatever_else_is_wrong(bridge):
    bridge.spool.refuse = "the disk is full"
    bridge.board.report("sink:databoom")("fails", problem=SINK_FAILS)
    async with bridge.browser() as client:
        answer = await client.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"alive": True})


async def test_readyz_is_200_while_events_can_be_stored(bridge):
    async with bridge.browser() as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": []})


async def test_readyz_is_503_with_the_reason_while_the_spool_refuses_and_200_again_afterwards(
    bridge,
):
    async with bridge.browser() as client:
        bridge.spool.refuse = "no room left"
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (
            503,
            {"ready": False, "reasons": ["spool: no room left"]},
        )
        bridge.spool.refuse = None
        assert (await client.get("/readyz")).status_code == 200


async def test_a_dead_sink_does_not_fail_readyz(bridge):
    bridge.sinks = {"databoom": "databoom"}
    await bridge.begin("databoom")
    await bridge.store(1000)
    bridge.board.report("sink:databoom")(
        "fails: connection refused; trying again, its events wait", problem=SINK_FAILS
    )
    async with bridge.browser() as client:
        assert (await client.get("/readyz")).status_code == 200


async def test_status_json_holds_what_the_page_shows(bridge):
    bridge.sources = {"sensors": "disruptive", "towers": "wattsense"}
    bridge.sinks = {"databoom": "databoom"}
    bridge.intakes["sensors"] = Intake(events=30, refused=2, last=bridge.clock())
    await bridge.begin("databoom")
    await bridge.begin("former")
    await bridge.store(30)
    bridge.board.report("sink:databoom")("paused: 401", problem=SINK_FAILS)
    bridge.board.report("source:sensors")("receives on /disruptive")
    bridge.board.report("source:sensors/gap")("gap 2 h 13 min, backfilling 41 devices")
    bridge.clock.move(timedelta(seconds=1))
    async with bridge.browser() as client:
        answer = await client.get("/status.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    sink = {
        "plugin": "-",
        "state": None,
        "remarks": [],
        "received": 30,
        "again": 0,
        "delivered": 0,
        "filtered": 0,
        "dead": 0,
        "expired": 0,
        "pending": 30,
        "parked": 0,
        "parked_devices": 0,
        "first_parked": [],
        "oldest_pending": "2026-01-05T03:04:05+00:00",
    }
    source = {"state": None, "events": 0, "refused": 0, "last": None, "remarks": []}
    assert orjson.loads(answer.content) == {
        "instance": "office",
        "time": "2026-01-05T03:04:06+00:00",
        "started": "2026-01-02T03:04:05+00:00",
        "spool": {"refusal": None},
        "letters": 0,
        "sources": [
            {
                "name": "sensors",
                "plugin": "disruptive",
                "state": "receives on /disruptive",
                "events": 30,
                "refused": 2,
                "last": "2026-01-05T03:04:05+00:00",
                "remarks": ["gap 2 h 13 min, backfilling 41 devices"],
            },
            {"name": "towers", "plugin": "wattsense", **source},
        ],
        "sinks": [
            {
                "name": "databoom",
                **sink,
                "plugin": "databoom",
                "state": "paused: 401",
                "orphaned": False,
            },
            {"name": "former", **sink, "orphaned": True},
        ],
        "problems": {
            "sink:databoom": {
                "problem": "sink-fails",
                "text": "paused: 401",
                "remedy": SINK_FAILS.remedy,
                "since": "2026-01-05T03:04:05+00:00",
            }
        },
    }


async def test_status_json_names_parked_devices_and_counts_letters(bridge):
    bridge.sinks = {"databoom": "databoom"}
    await bridge.park("databoom", "d1", "d2", why="404: no such device")
    async with bridge.browser() as client:
        status = (await client.get("/status.json")).json()
    (sink,) = status["sinks"]
    assert (sink["pending"], sink["parked"], sink["parked_devices"]) == (2, 2, 2)
    assert status["letters"] == sink["dead"] == 1
    assert [device.pop("device") for device in sink["first_parked"]] == ["d1", "d2"]
    assert sink["first_parked"][0] == {
        "events": 1,
        "since": "2026-01-05T03:04:05+00:00",
        "waited": pytest.approx(0.0, abs=5),
        "due": pytest.approx(60.0, abs=5),
        "attempts": 1,
        "why": "404: no such device",
    }


async def test_a_sink_of_which_nothing_is_known_has_null_for_its_numbers(bridge, unreadable):
    bridge.sinks = {"databoom": "databoom"}
    bridge.spool = unreadable
    async with bridge.browser() as client:
        answer = await client.get("/status.json")
    assert answer.status_code == 200
    (sink,) = answer.json()["sinks"]
    assert (sink["name"], sink["pending"], sink["orphaned"]) == ("databoom", None, False)
    assert answer.json()["spool"] == {"refusal": "the spool is being opened again"}


@pytest.mark.parametrize(
    "path", ["/status", "/livez/", "/metrics", "/../etc/passwd", "/status.json/x"]
)
async def test_another_path_is_not_found(bridge, path: str):
    async with bridge.browser() as client:
        assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_nothing_can_be_changed_here(bridge, path: str, method: str):
    async with bridge.browser() as client:
        answer = await client.request(method, path, content=b"x" if method != "OPTIONS" else None)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", PATHS)
async def test_head_answers_as_get_does_without_the_body(bridge, path: str):
    async with bridge.browser() as client:
        got, head = await client.get(path), await client.head(path)
    assert head.content == b""
    assert head.status_code == got.status_code
    assert {**head.headers, "date": ""} == {**got.headers, "date": ""}


@pytest.mark.parametrize("path", PATHS)
async def test_a_query_changes_nothing(bridge, path: str):
    async with bridge.browser() as client:
        assert (await client.get(path, params={"token": "x"})).status_code == 200
