"""What a person has stopped: kept, told, and waited for."""

from __future__ import annotations

import pytest
import trio
from attrs import define, field

from bridge.api import SpoolUnavailable
from bridge.flow.instances.hold import Hold
from bridge.testing.fakes import FakeReport, FakeState, FixedClock


@define(eq=False)
class Desk:
    """Where a person pauses the instance ``sink:shelf``."""

    state: FakeState = field(factory=FakeState)
    report: FakeReport = field(factory=FakeReport)
    hold: Hold = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """As a bridge does at its start."""
        self.hold = Hold("sink:shelf", self.state, self.report, FixedClock())


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_pause_is_a_problem_that_says_how_it_ends(desk: Desk):
    assert desk.report.topics == {}
    await desk.hold.pause("the shelf is full")
    assert desk.report.topics == {
        "pause": (
            "paused by hand since 2026-01-02 03:04 UTC: the shelf is full; bridged resume "
            "sink:shelf lets it go on"
        )
    }
    assert desk.report.problems == [desk.report.topics["pause"]]
    assert await desk.hold.resume()
    assert desk.report.topics == {}


async def test_a_pause_and_paused_devices_last_over_a_restart(desk: Desk):
    await desk.hold.pause("why")
    await desk.hold.pause_device("d1", "broken")
    desk.report.topics.clear()
    desk.start()
    assert str(desk.hold.held) == "paused by hand since 2026-01-02 03:04 UTC: why"
    assert [*desk.hold.devices] == ["d1"]
    assert set(desk.report.topics) == {"pause", "paused devices"}


async def test_what_is_resumed_leaves_nothing_behind(desk: Desk):
    await desk.hold.pause()
    await desk.hold.pause_device("d1")
    assert await desk.hold.resume()
    assert await desk.hold.resume_device("d1")
    assert not await desk.hold.resume()
    assert not await desk.hold.resume_device("d1")
    assert desk.state.values == {}
    desk.start()
    assert desk.hold.held is None


async def test_a_pause_that_cannot_be_stored_does_not_begin(desk: Desk, monkeypatch):
    async def put(self: FakeState, key: str, value: object) -> None:
        raise SpoolUnavailable("no room left")

    monkeypatch.setattr(FakeState, "put", put)
    with pytest.raises(SpoolUnavailable):
        await desk.hold.pause()
    with pytest.raises(SpoolUnavailable):
        await desk.hold.pause_device("d1")
    assert (desk.hold.held, desk.hold.devices, desk.report.topics) == (None, {}, {})


async def test_many_paused_devices_are_one_sentence(desk: Desk):
    for number in range(7):
        await desk.hold.pause_device(f"d{number}")
    assert desk.report.topics["paused devices"] == (
        "7 paused by hand, their events wait: d0, d1, d2, d3, d4, ...; bridged resume sink:shelf "
        "--device DEVICE lets one go on"
    )


async def test_who_waits_goes_on_when_it_is_resumed(desk: Desk, autojump_clock):
    await desk.hold.pause()
    with trio.move_on_after(1000) as waiting:
        await desk.hold.wait_resumed()
    assert waiting.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.hold.wait_resumed)
        await trio.testing.wait_all_tasks_blocked()
        await desk.hold.resume()


async def test_what_runs_ends_with_a_pause_and_begins_anew(desk: Desk, autojump_clock):
    diary: list[str] = []

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        diary.append("begins")
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            diary.append("ends")

    async with trio.open_nursery() as nursery:
        await nursery.start(desk.hold.run_unless_paused, run)
        assert diary == ["begins"]
        await desk.hold.pause()
        await trio.sleep(1000)
        assert diary == ["begins", "ends"]
        assert desk.report.texts[-1] == "stopped"
        await desk.hold.resume()
        await trio.sleep(1)
        assert diary == ["begins", "ends", "begins"]
        nursery.cancel_scope.cancel()


async def test_what_is_paused_at_the_start_is_started_but_does_not_run(desk: Desk, autojump_clock):
    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        raise AssertionError("it runs")

    await desk.hold.pause()
    with trio.move_on_after(1000) as waiting:
        async with trio.open_nursery() as nursery:
            await nursery.start(desk.hold.run_unless_paused, run)
            assert desk.report.texts[-1] == "not started"
    assert waiting.cancelled_caught
