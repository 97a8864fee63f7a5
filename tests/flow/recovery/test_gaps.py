from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import trio

from bridge.api import SpoolUnavailable
from bridge.flow.ingest import Ingest, Intake
from bridge.flow.recovery.gaps import RECEIVED, SILENCE, TICK, Found, span, tell_of_gap, watch_gaps
from bridge.testing.fakes import FakeReport, FakeState, FixedClock
from bridge.testing.memory import MemorySpool, MemoryStore
from tests.flow.conftest import START, make_event


class Gaps:
    """Collects the gaps that were found."""

    def __init__(self) -> None:
        self.found: list[tuple[datetime, bool]] = []

    def __call__(self, since: datetime, up: bool) -> None:
        self.found.append((since, up))


async def watched(intake: Intake, state: FakeState, found: Found, *steps: object) -> None:
    """Watch an intake while things happen, a look after each."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_gaps, intake, state, found, lambda: START)
        await trio.sleep(TICK / 2 + 0.5)  # between two looks
        for step in steps:
            assert callable(step)
            step()
            await trio.sleep(TICK)
        nursery.cancel_scope.cancel()


async def test_a_source_that_never_received_has_no_gap(autojump_clock):
    gaps = Gaps()
    await watched(Intake(), FakeState(), gaps, lambda: None)
    assert gaps.found == []


async def test_after_a_start_the_gap_begins_when_it_last_received(autojump_clock):
    gaps = Gaps()
    state = FakeState()
    await state.put(RECEIVED, START.isoformat())
    await watched(Intake(), state, gaps)
    assert gaps.found == [(START, False)]


async def test_a_gap_found_at_the_start_is_not_found_again(
    autojump_clock,
):
    gaps, intake, state = Gaps(), Intake(), FakeState()
    await state.put(RECEIVED, (START - timedelta(hours=2)).isoformat())
    await watched(
        intake, state, gaps, lambda: setattr(intake, "last", START + timedelta(seconds=5))
    )
    assert gaps.found == [(START - timedelta(hours=2), False)]


async def test_the_first_receipt_of_all_is_kept_at_once(autojump_clock):
    intake, state = Intake(), FakeState()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_gaps, intake, state, Gaps(), lambda: START)
        await trio.sleep(0.5)
        intake.last = START
        await trio.sleep(1)
        assert state.get(RECEIVED) == START.isoformat()
        nursery.cancel_scope.cancel()


async def test_the_last_receipt_is_kept_while_it_runs_and_at_its_stop(autojump_clock):
    intake, state = Intake(), FakeState()

    def receive_later() -> None:
        intake.last = START + timedelta(seconds=30)

    intake.last = START
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_gaps, intake, state, Gaps(), lambda: START)
        await trio.sleep(TICK + 1)
        assert state.get(RECEIVED) == START.isoformat()
        receive_later()
        nursery.cancel_scope.cancel()
    assert state.get(RECEIVED) == (START + timedelta(seconds=30)).isoformat()


async def test_an_hour_of_silence_before_an_event_is_a_gap(autojump_clock):
    gaps, intake = Gaps(), Intake()
    later = START + timedelta(seconds=SILENCE - 1)
    much_later = later + timedelta(seconds=SILENCE)
    await watched(
        intake,
        FakeState(),
        gaps,
        lambda: setattr(intake, "last", START),
        lambda: setattr(intake, "last", later),
        lambda: setattr(intake, "last", much_later),
    )
    assert gaps.found == [(later, True)]


async def test_what_was_refused_is_a_gap_once_events_are_stored_again(autojump_clock):
    gaps, intake, clock = Gaps(), Intake(), FixedClock(START)
    spool = MemorySpool(MemoryStore())
    ingest = Ingest(spool, clock)
    async with trio.open_nursery() as nursery:
        intake = ingest.intakes.setdefault("s", intake)
        outlet = ingest.outlet("s")
        nursery.start_soon(watch_gaps, intake, FakeState(), gaps, clock)
        spool.refuse = "the disk is full"
        for number in range(3):
            clock.move(timedelta(seconds=1))
            with pytest.raises(SpoolUnavailable):
                await outlet.emit(make_event(number))
        await trio.sleep(3 * TICK)
        assert gaps.found == [], "the gap goes on while nothing is stored"
        spool.refuse = None
        clock.move(timedelta(seconds=60))
        for number in (9, 10):  # told once, not with every event that follows
            clock.move(timedelta(seconds=1))
            await outlet.emit(make_event(number))
            await trio.sleep(3 * TICK)
        nursery.cancel_scope.cancel()
    assert gaps.found == [(START + timedelta(seconds=1), False)]


async def test_an_event_stored_too_late_for_its_sender_is_a_gap_too(autojump_clock):
    class HeldSpool(MemorySpool):
        async def append(self, arrivals: object) -> int:
            await trio.sleep(60)
            return 1

    ingest = Ingest(HeldSpool(MemoryStore()), lambda: START)
    outlet = ingest.outlet("s")
    with trio.move_on_after(8) as patience:
        await outlet.emit(make_event(1))
    assert patience.cancelled_caught
    intake = ingest.intakes["s"]
    assert (intake.refused_since, intake.refused, intake.events) == (START, 1, 0)


async def test_a_spool_that_cannot_write_does_not_end_the_watch(autojump_clock):
    class Full(FakeState):
        async def put(self, key: str, value: object) -> None:
            raise SpoolUnavailable("the disk is full")

    gaps, intake = Gaps(), Intake()
    later = START + timedelta(hours=2)
    await watched(
        intake,
        Full(),
        gaps,
        lambda: setattr(intake, "last", START),
        lambda: setattr(intake, "last", later),
    )
    assert gaps.found == [(START, True)]


def test_a_source_without_a_history_says_what_is_missing():
    report = FakeReport()
    tell_of_gap(report, FixedClock(START), START - timedelta(hours=2, minutes=13), False)
    assert report.texts == [
        (
            "gap 2 h 13 min: what its vendor does not send again is missing; its plugin can read "
            "nothing back"
        )
    ]


@pytest.mark.parametrize(("seconds", "up"), [(59, False), (7200, True)])
def test_a_restart_and_a_quiet_time_are_no_news(seconds, up):
    report = FakeReport()
    tell_of_gap(report, FixedClock(START), START - timedelta(seconds=seconds), up)
    assert report.texts == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7980, "2 h 13 min"),
        (3601, "1 h"),
        (86_400 * 3 + 3600 * 5, "3 d 5 h"),
        (86_400 * 40, "40 d"),
    ],
)
def test_a_span_is_written_as_people_say_it(seconds, text):
    assert span(seconds) == text
