"""Faults of the emulator that have a course: what takes time, and what comes
after.

Against the whole bridge, as the table of ``test_faults_databoom.py``. Time passes when
a test says so.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bridge_plugins.databoom import validation
from bridge_plugins.databoom.emulator.server import Fault, Faults, Rules
from tests.end_to_end.databoom_world import (
    BEGIN,
    HEARTBEAT,
    READ,
    SINK,
    TEMPLATE,
    TOKEN,
    World,
    knobs,
    open_world,
)
from tests.end_to_end.test_faults_databoom import TABLE

D1, D2, D3 = ("d1", "t", 1), ("d1", "t", 2), ("d2", "t", 3)
CHECKED = f"read_token = {READ}"
CLOCK, LIST, VALIDATION = f"{SINK}/clock", f"{SINK}/list", f"{SINK}/validation"
LATE = [
    (status, {"always": Fault(status=status, retry_after=late)})
    for status in (429, 503)
    for late in (120, BEGIN + timedelta(seconds=120))
]
DUPLICATES: list[Any] = ["overwrite", "second row"]
PAGES: list[Any] = ["number", "object", "missing"]
LISTS = [
    ("refused", {"reading": Fault(status=401)}, "Databoom refuses the read_token (401"),
    ("fails", {"reading": Fault(status=500)}, "answered 500"),
    ("gone", {"reading": Fault(status=404)}, "answered 404"),
    (
        "redirects",
        {"reading": Fault(status=302, location="https://elsewhere.example/")},
        "answered 302",
    ),
    ("cut", {"reading": Fault(cut="before")}, "cannot be reached"),
    ("html", {"reading": Fault(body=b"<html>")}, "is no JSON"),
    ("other", {"reading": Fault(body=b'{"pages":1}')}, "holds no data"),
]

pytestmark = [
    pytest.mark.slow,
    # httpx leaves the body of a request behind, where its connection breaks
    pytest.mark.filterwarnings("ignore:Async generator 'httpx._content.ByteStream:ResourceWarning"),
]


def test_every_knob_of_the_emulator_is_turned_by_some_test():
    named = {name for cell in TABLE for name in knobs(cell.faults) | knobs(cell.rules)}
    named |= {name for _, faults in LATE for name in knobs(faults)}
    named |= knobs({"duplicates": DUPLICATES, "pages": PAGES})
    named |= {name for _, faults, _ in LISTS for name in knobs(faults)}
    for kind in (Fault, Faults, Rules):
        assert {each.name for each in attrs.fields(kind)} <= named


@pytest.mark.parametrize(("status", "faults"), LATE)
async def test_no_request_goes_before_the_time_that_databoom_asks_for(
    tmp_path: Path, mock_clock: MockClock, status: int, faults: Any
):
    async with open_world(tmp_path, mock_clock, faults=faults) as world:
        await world.emit(D1)
        await world.says(SINK, f"fails: Databoom cannot take it now ({status}", problem=True)
        begun = world.faults.begun
        world.faults.always = None
        world.pass_time(110)
        await wait_all_tasks_blocked(0.01)
        assert world.faults.begun == begun == 1
        world.pass_time(11)
        await world.account(delivered=1)
        await world.clean()
    world.audited(delivered=1)


async def test_a_retry_after_of_a_day_is_obeyed_for_an_hour(tmp_path: Path, mock_clock: MockClock):
    async with open_world(
        tmp_path, mock_clock, faults={"always": Fault(status=503, retry_after=86_400)}
    ) as world:
        await world.emit(D1)
        await world.says(SINK, "fails", problem=True)
        world.faults.always = None
        world.pass_time(3590)
        await wait_all_tasks_blocked(0.01)
        assert world.faults.begun == 1
        world.pass_time(11)
        await world.account(delivered=1)
        await world.clean()
    world.audited(delivered=1)


@pytest.mark.parametrize("duplicates", DUPLICATES)
@pytest.mark.parametrize("cut", ["before", "after"])
async def test_what_is_sent_again_has_the_same_dates_and_values(
    tmp_path: Path, mock_clock: MockClock, cut: Any, duplicates: Any
):
    faults, rules = {"next": [Fault(cut=cut)]}, {"duplicates": duplicates}
    async with open_world(tmp_path, mock_clock, faults=faults, rules=rules) as world:
        await world.emit(D1)
        await world.account(delivered=1)
        first, again = world.emulator.requests
        assert first.body == again.body
        rows = 2 if (cut, duplicates) == ("after", "second row") else 1
        assert world.emulator.cloud.points("d1", "t") == [(world.sent[D1], 1)] * rows
        assert not world.board.problems
    world.audited(delivered=1)


async def test_an_answer_that_takes_too_long_is_given_up(tmp_path: Path, mock_clock: MockClock):
    faults = {"next": [Fault(delay=1000)] * 3}
    async with open_world(
        tmp_path, mock_clock, faults=faults, settings="request_timeout = 5s"
    ) as world:
        await world.emit(D1)
        for request in (1, 2, 3):
            await world.begun(request)
            assert not world.board.problems
            world.pass_time(6)
        await world.says(
            SINK, "fails: no answer of Databoom within 5 s (request_timeout)", problem=True
        )
        await world.account(delivered=1)
        await world.clean()
    world.audited(delivered=1)


async def test_what_waits_for_a_token_waits_across_a_restart(tmp_path: Path, mock_clock: MockClock):
    async with open_world(tmp_path, mock_clock, run=False) as world:
        world.emulator.revoke(TOKEN)
        async with world.running():
            await world.emit(D1, D2, D3)
            await world.says(SINK, "paused: Databoom refuses the token", problem=True)
        world.audited(pending=3)
        world.emulator.restore(TOKEN)
        async with world.running():
            await world.account(delivered=3)
            await world.clean()
        assert set(world.recorded.values()) == {1}
    world.audited(delivered=3)


@pytest.mark.parametrize("status", [400, 413])
async def test_probes_of_a_sink_that_refuses_all_make_no_dead_letters(
    tmp_path: Path, mock_clock: MockClock, status: int
):
    settings = "reject_limit = 3"
    async with open_world(
        tmp_path, mock_clock, faults={"always": Fault(status=status)}, settings=settings
    ) as world:
        await world.emit(*((f"d{number}", "t", number) for number in range(12)))
        await world.says(SINK, "paused: refused 3 devices in a row", problem=True)
        await world.begun(world.faults.begun + 20)
        dead = (await world.count()).dead
        assert dead < 3
        world.faults.always = None
        await world.account(delivered=12 - dead, dead=dead)
    world.audited(delivered=12 - dead, dead=dead)


async def test_a_device_not_found_waits_alone_until_it_is_created(
    tmp_path: Path, mock_clock: MockClock
):
    async with open_world(tmp_path, mock_clock, rules={"unknown_device": 404}) as world:
        world.emulator.cloud.add_device("d1")
        await world.emit(D1)
        await world.account(delivered=1)
        await world.emit(D3)
        told = "1 device waits apart, the others go on; 'd2': Databoom has no device 'd2' (404"
        await world.says(f"{SINK}/parked", told, problem=True)
        await world.emit(D2)
        await world.account(delivered=2, pending=1)
        world.emulator.cloud.add_device("d2")
        await world.account(delivered=3)
        await world.clean()
    world.audited(delivered=3)


async def test_a_device_that_is_never_created_gets_dead_letters(
    tmp_path: Path, mock_clock: MockClock
):
    settings = "unknown_device_attempts = 3\nunknown_device_time = 0s"
    async with open_world(
        tmp_path, mock_clock, rules={"unknown_device": 404}, settings=settings
    ) as world:
        world.emulator.cloud.add_device("d1")
        await world.emit(D1)
        await world.account(delivered=1)
        await world.emit(D3)
        await world.begun(6)
        # Who knows whether anything would go through now.
        await world.account(delivered=1, pending=1)
        await world.emit(D2)
        await world.account(delivered=2, dead=1)
        await world.says(f"{SINK}/dead", "no device 'd2'", problem=True)
    world.audited(delivered=2, dead=1)


@pytest.mark.parametrize("status", [404, 405])
async def test_an_address_that_is_gone_after_it_worked_costs_nothing(
    tmp_path: Path, mock_clock: MockClock, status: int
):
    settings = "unknown_device_attempts = 1\nunknown_device_time = 0s"
    async with open_world(tmp_path, mock_clock, settings=settings) as world:
        await world.emit(D1, D3)
        await world.account(delivered=2)
        world.faults.always = Fault(status=status)
        await world.emit(D2, ("d2", "t", 4), ("d3", "t", 5))
        await world.begun(world.faults.begun + 12)
        await world.says(f"{SINK}/parked", f"({status}: fault {status})", problem=True)
        await world.account(delivered=2, pending=3)
        world.faults.always = None
        await world.account(delivered=5)
        await world.clean()
    world.audited(delivered=5)


async def test_a_wrong_clock_is_said_beside_an_outage(tmp_path: Path, mock_clock: MockClock):
    async with open_world(
        tmp_path, mock_clock, faults={"clock_skew": timedelta(minutes=2)}
    ) as world:
        await world.emit(D1)
        await world.says(CLOCK, "clock is more than 60 s behind", problem=True)
        world.faults.always = Fault(status=503)
        await world.emit(D2)
        await world.says(SINK, "fails", problem=True)
        world.faults.always = None
        await world.says(SINK, "delivers again", problem=False)
        await world.says(CLOCK, "clock is more than 60 s behind", problem=True)
        world.faults.clock_skew = timedelta(0)
        await world.emit(D3)
        await world.clean()
    world.audited(delivered=3)


async def test_a_signal_is_said_until_somebody_validates_it(tmp_path: Path, mock_clock: MockClock):
    async with open_world(tmp_path, mock_clock, settings=f"{CHECKED}\nmeta = no") as world:
        await world.emit(D1)
        await world.account(delivered=1)
        world.pass_time(11)
        await world.says(VALIDATION, "not validated: values are being lost: d1/t", problem=True)
        assert world.recorded == {}
        world.emulator.cloud.validate("d1", "t")
        await pass_until(world, lambda: not world.board.problems)
        await world.emit(D2)
        await world.account(delivered=2)
        assert world.recorded == {D2: 1}
    world.audited(delivered=2)


@pytest.mark.parametrize("pages", PAGES)
async def test_a_signal_on_the_second_page_is_found(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch, pages: Any
):
    monkeypatch.setattr(validation, "PER_PAGE", 1)
    rules = {"pages": pages}
    async with open_world(tmp_path, mock_clock, settings=CHECKED, rules=rules) as world:
        await world.emit(D1)
        await world.account(delivered=1)
        await world.emit(D3)
        await world.account(delivered=2)
        world.emulator.cloud.signals["d2", "t"].status = "INIT"
        world.pass_time(11)
        await world.says(VALIDATION, "values are being lost: d2/t;", problem=True)
        world.emulator.cloud.validate("d2", "t")
        await pass_until(world, lambda: not world.board.problems)
    world.audited(delivered=2)


async def pass_until(world: World, holds: Callable[[], bool]) -> None:
    """Let so much time pass that the list is read again, until this holds."""
    while not holds():
        world.pass_time(310)
        with trio.move_on_after(0.5):
            await world.board.changed.wait()


@pytest.mark.parametrize(
    ("faults", "says"), [row[1:] for row in LISTS], ids=[row[0] for row in LISTS]
)
async def test_a_list_that_cannot_be_read_stops_no_delivery(
    tmp_path: Path, mock_clock: MockClock, faults: Any, says: str
):
    async with open_world(tmp_path, mock_clock, settings=CHECKED, faults=faults) as world:
        await world.emit(D1)
        await world.account(delivered=1)
        world.pass_time(11)
        await world.says(LIST, "the check whether signals are validated failed", problem=True)
        assert says in world.board.states[LIST].text
        await world.emit(D2, D3)
        await world.account(delivered=3)
        world.faults.reading = None
        await pass_until(world, lambda: not world.board.problems)
        assert set(world.recorded.items()) == {(D1, 1), (D2, 1), (D3, 1)}
    world.audited(delivered=3)


@pytest.mark.parametrize(
    "fault", [None, Fault(status=401), Fault(status=503), Fault(cut="after")], ids=str
)
async def test_a_heartbeat_that_fails_is_no_problem(
    tmp_path: Path, mock_clock: MockClock, fault: Fault | None
):
    settings = f"heartbeat = {HEARTBEAT}\nheartbeat_interval = 60s\nheartbeat_for = 10m"
    async with open_world(tmp_path, mock_clock, settings=settings) as world:
        await world.emit(D1)
        await world.account(delivered=1)
        if fault is not None:
            world.faults.next.append(fault)
        alive = "d1", HEARTBEAT, 1
        while not world.recorded[alive]:
            world.pass_time(20)
            with trio.move_on_after(0.1):
                await world.board.changed.wait()
        assert not world.board.problems
        assert world.recorded[D1] == 1
    world.audited(delivered=1)


async def test_a_device_is_pushed_no_more_often_than_its_interval(
    tmp_path: Path, mock_clock: MockClock
):
    async with open_world(tmp_path, mock_clock, settings="min_interval = 10s") as world:
        await world.emit(D1)
        await world.account(delivered=1)
        await world.emit(D2)
        await world.emit(D3)  # of another device
        await world.account(delivered=2, pending=1)
        await wait_all_tasks_blocked(0.01)
        assert world.recorded == {D1: 1, D3: 1}
        world.pass_time(10)
        await world.account(delivered=3)
    world.audited(delivered=3)


async def test_in_template_form_a_device_is_made_with_its_first_values(
    tmp_path: Path, mock_clock: MockClock
):
    settings = f"form = template\ntemplate = {TEMPLATE}"
    async with open_world(tmp_path, mock_clock, settings=settings) as world:
        world.emulator.cloud.add_template(TEMPLATE, "t")
        await world.emit(D1, D2, D3)
        await world.account(delivered=3)
        assert set(world.recorded) == {
            (f"{TEMPLATE}-{device}", signal, value) for device, signal, value in (D1, D2, D3)
        }
        await world.clean()
    world.audited(delivered=3)
