from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import SpoolUnavailable
from bridge.flow.ingest import Ingest, Intake
from bridge.flow.instances.silence import (
    FORGOTTEN_AFTER,
    LEARNED_AFTER,
    MAX_DEVICES,
    MAX_USUAL,
    MIN_USUAL,
    RHYTHMS,
    TICK,
    Devices,
    Rhythm,
    describe,
    watch_devices,
)
from bridge.testing.fakes import FakeReport, FakeState
from bridge.testing.memory import MemorySpool, MemoryStore
from tests.flow.conftest import START, make_event

QUARTER = 900.0


def heard_every(interval: float, times: int = 10) -> Rhythm:
    rhythm = Rhythm(0.0)
    for number in range(1, times + 1):
        rhythm.heard(number * interval)
    return rhythm


def test_a_device_is_missed_after_three_times_its_usual_interval():
    rhythm = heard_every(QUARTER)
    assert not rhythm.silent(rhythm.last + 3 * QUARTER, 0.0)
    assert rhythm.silent(rhythm.last + 3 * QUARTER + 1, 0.0)


def test_nobody_is_missed_whose_rhythm_is_not_known_yet():
    assert not heard_every(QUARTER, LEARNED_AFTER - 1).silent(1e9, 0.0)
    assert heard_every(QUARTER, LEARNED_AFTER).silent(1e9, 0.0)


def test_a_device_heard_each_second_is_not_missed_within_minutes():
    rhythm = heard_every(1.0)
    assert not rhythm.silent(rhythm.last + 3 * MIN_USUAL, 0.0)
    assert rhythm.silent(rhythm.last + 3 * MIN_USUAL + 1, 0.0)


def test_a_longer_interval_is_learned_at_once_a_shorter_slowly():
    rhythm = heard_every(QUARTER)
    rhythm.heard(rhythm.last + 1.5 * QUARTER)
    assert rhythm.usual == 1.5 * QUARTER
    rhythm.heard(rhythm.last + QUARTER)
    assert QUARTER < rhythm.usual < 1.5 * QUARTER


def test_after_one_outage_of_a_device_the_next_is_noticed_too():
    rhythm = heard_every(QUARTER)
    rhythm.heard(rhythm.last + 100 * QUARTER)
    assert rhythm.silent(rhythm.last + 6 * QUARTER + 1, 0.0)


@given(st.lists(st.floats(0, 1e7), max_size=50))
def test_what_is_learned_is_bounded(intervals):
    rhythm = Rhythm(0.0)
    for interval in intervals:
        rhythm.heard(rhythm.last + interval)
    assert MIN_USUAL <= rhythm.expected <= MAX_USUAL


def test_a_clock_that_was_set_back_is_survived():
    rhythm = heard_every(QUARTER)
    last = rhythm.last
    rhythm.heard(last - 86_400)
    assert (rhythm.last, rhythm.usual) == (last, QUARTER)


def test_time_in_which_the_bridge_was_down_is_no_silence():
    rhythm = heard_every(QUARTER)
    started = rhythm.last + 100 * QUARTER
    assert not rhythm.silent(started + 3 * QUARTER, started)
    assert rhythm.silent(started + 3 * QUARTER + 1, started)


def test_above_the_bound_the_device_heard_longest_ago_goes():
    devices = Devices()
    devices.heard({f"d{number}": float(number) for number in range(MAX_DEVICES)})
    devices.heard({"d0": 1e6})
    devices.heard({"new": 1e6})
    assert len(devices.rhythms) == MAX_DEVICES
    assert {"d0", "new"} <= devices.rhythms.keys()
    assert "d1" not in devices.rhythms


def test_a_device_that_was_taken_away_is_forgotten_after_a_month():
    devices = Devices({"old": [0, 900, 10]})
    assert devices.silent(FORGOTTEN_AFTER - 1, 0.0).keys() == {"old"}
    assert devices.silent(FORGOTTEN_AFTER + 1, 0.0) == {}
    assert devices.rhythms == {}


def test_what_was_learned_is_read_back_as_it_was_kept():
    devices = Devices({"d1": [1000, 900, 7]})
    assert Devices(devices.kept()).rhythms == {"d1": Rhythm(1000, 900, 7)}


def test_the_sentence_names_five_devices_and_counts_the_rest():
    silent = {f"d{number}": Rhythm(1_767_225_600.0, 900.0, 9) for number in range(7)}
    text = describe(silent, 41)
    assert text.startswith(
        "7 of 41 devices are silent: d0 since 2026-01-01 00:00 UTC (usually every 15 min), d1 since"
    )
    assert text.endswith("d4 since 2026-01-01 00:00 UTC (usually every 15 min) and 2 more; "
                         "see whether they have power and contact")  # fmt: skip


async def test_a_silent_device_is_a_problem_that_clears_itself(autojump_clock):
    report, state = FakeReport(), FakeState()
    ingest = Ingest(MemorySpool(MemoryStore()), now)
    async with trio.open_nursery() as nursery:
        outlet = ingest.outlet("s")
        nursery.start_soon(watch_devices, ingest.intakes["s"], state, report, now)
        await trio.sleep(1)  # between two looks
        for number in range(8):
            for device in ("quiet", "steady"):
                await outlet.emit(make_event(number, device))
            await trio.sleep(600)
        assert report.texts == []
        for number in range(8, 12):
            await outlet.emit(make_event(number, "steady"))
            await trio.sleep(600)
        assert set(report.problem_names) == {"silent-devices"}
        assert report.problems[-1].startswith(
            "1 of 2 device is silent: quiet since 2026-01-01 01:10 UTC"
        )
        assert len(set(report.texts)) == 1, "the sentence changed while nothing else did"
        await outlet.emit(make_event(99, "quiet"))
        await trio.sleep(TICK)
        assert report.texts[-1] == "every device is heard again"
        assert report.texts[-1] not in report.problems
        nursery.cancel_scope.cancel()
    assert state.get(RHYTHMS)["quiet"][1] > 600


def now():
    return START + timedelta(seconds=trio.current_time())


async def test_what_was_learned_is_kept_from_time_to_time(autojump_clock):
    state, intake = FakeState(), Intake()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_devices, intake, state, FakeReport(), now)
        await trio.sleep(1)
        intake.devices["d1"] = now().timestamp()
        await trio.sleep(899 + TICK)
        assert state.get(RHYTHMS) == {"d1": [START.timestamp() + 1, 0, 0]}
        nursery.cancel_scope.cancel()


async def test_a_spool_that_cannot_write_does_not_end_the_watch(autojump_clock):
    class Full(FakeState):
        async def put(self, key: str, value: object) -> None:
            raise SpoolUnavailable("the disk is full")

    intake = Intake()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_devices, intake, Full(), FakeReport(), now)
        await trio.sleep(1)
        intake.devices["d1"] = now().timestamp()
        await trio.sleep(2000)
        assert intake.devices == {}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("watching", [True, False])
async def test_devices_are_noted_only_while_somebody_watches(watching):
    ingest = Ingest(MemorySpool(MemoryStore()), lambda: START)
    outlet = ingest.outlet("s")
    ingest.intakes["s"].watched = watching
    await outlet.emit(make_event(1))
    assert list(ingest.intakes["s"].devices) == (["d1"] if watching else [])
