"""``bridged parked`` and ``bridged retry``."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from tests.cli.spool.office import Office


@pytest.fixture(params=["memory", "sqlite"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def bridge_of(office: Office, either: bool) -> AbstractContextManager[Any]:
    return office.running() if either else nullcontext()


def test_parked_devices_are_listed_with_their_cause(office: Office, either: bool):
    office.park("d1", "d2")
    office.park("d3", sink="dumb", why="429: too many")
    with bridge_of(office, either):
        assert office("parked") == 0
    rows = [" ".join(line.split()) for line in office.out.splitlines()]
    assert len(rows) == 4
    assert rows[1].startswith("dumb d3 1 2026-05-04 10:03:00 ")
    assert rows[1].endswith(" 2 429: too many")
    assert " in 1 h 2 404: no such device" in rows[2] or " in 59 min " in rows[2]


def test_without_parked_devices_it_says_so(office: Office, either: bool):
    office.begin("shelf")
    with bridge_of(office, either):
        assert office("parked") == 0
    assert office.out == "no device is parked\n"


def test_a_page_of_devices_says_how_to_go_on(office: Office, either: bool):
    office.park("d1", "d2", "d3")
    with bridge_of(office, either):
        assert office("parked", "--limit", "2") == 0
        assert office.out.splitlines()[-1] == (
            "there are more; the next ones: bridged parked shelf --after d2"
        )
        page = office.json("parked", "shelf", "--limit", "2", "--after", "d2")
    assert ([device["device"] for device in page["devices"]], page["next"]) == (["d3"], {})


def test_more_devices_than_an_answer_holds_are_listed(office: Office, monkeypatch):
    monkeypatch.setattr("bridge.admin.sinks.MAX_PAGE", 2)
    office.park("d1", "d2", "d3", "d4", "d5")
    found = office.json("parked", "shelf")
    assert [device["device"] for device in found["devices"]] == ["d1", "d2", "d3", "d4", "d5"]


def test_a_sink_that_nobody_knows_is_told(office: Office, either: bool):
    office.begin("former")
    with bridge_of(office, either):
        assert office("parked", "frmer") == 1
        assert office.err == "the spool knows no sink 'frmer', did you mean 'former'?\n"
        assert office("retry", "frmer") == 1
        assert office.err == "the spool knows no sink 'frmer', did you mean 'former'?\n"


def test_a_parked_device_is_tried_now_when_asked_for(office: Office):
    office.park("d1", "d2")
    assert office("retry", "shelf", "d2") == 0
    assert office.out == "shelf: 1 parked device is due now\n"
    first, second = office.json("parked")["devices"]
    assert first["due"] > 60
    assert second["due"] < 1


def test_all_parked_devices_of_a_sink_are_tried_now(office: Office, either: bool):
    office.park("d1", "d2")
    office.park("d3", sink="former")
    with bridge_of(office, either):
        assert office("retry", "shelf") == 0
        assert office.out == "shelf: 2 parked devices are due now\n"
        (other,) = office.json("parked", "former")["devices"]
    assert other["due"] > 60


def test_a_device_that_is_not_parked_is_told(office: Office, either: bool):
    office.park("d1")
    with bridge_of(office, either):
        assert office("retry", "shelf", "d9") == 1
    assert office.err == "shelf: no device 'd9' is parked; see bridged parked shelf\n"
