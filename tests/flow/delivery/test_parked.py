"""Devices that have to wait alone: parked, tried again, and nobody held up."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import trio
from attrs import evolve

from bridge.api import Arrival, Batch, Outcome, Pause, Reject, Retry, encode
from bridge.api.spool import LetterFilter
from bridge.flow.instances.grace_period import GracePeriod
from bridge.testing.fakes import FakeReport
from bridge.testing.memory import MemorySpool, open_memory_spool
from tests.flow.conftest import START, make_event
from tests.flow.delivery.delivering import (
    POLICY,
    FakeSink,
    account,
    delivering,
    drained,
    fill,
    of_device,
)

ONE_DEVICE = evolve(POLICY, one_device=True)
HOUR = 3600.0


def unknown_until(end: float, *devices: str) -> Callable[[Batch], None]:
    def behave(batch: Batch) -> None:
        if batch.events[0].event.device in devices and trio.current_time() < end:
            raise Pause("404: no such device", scope="device")

    return behave


async def bring(spool: MemorySpool, number: int, device: str) -> None:
    event = make_event(number, device)
    await spool.append([Arrival("s", event.key, device, encode(event), START)])


def numbered(first: int, last: int) -> list[str]:
    return [f"d{number}" for number in range(first, last)]


@pytest.mark.parametrize("one_device", [True, False])
async def test_one_unmapped_device_of_50_delays_none_of_its_lane(autojump_clock, one_device):
    async with open_memory_spool(lanes=1) as spool:
        sink = FakeSink()

        def refuse(batch: Batch) -> None:
            devices = {stored.event.device for stored in batch.events}
            if "d7" in devices and trio.current_time() < 1000:
                raise Pause("404: no such device", scope="device")

        sink.behave = refuse
        await fill(spool, 1000, devices=50)
        async with delivering(spool, sink, evolve(POLICY, one_device=one_device)):
            await trio.sleep(1)
            assert len(sink.taken) == 980
            for number in range(1000, 1500):
                await bring(spool, number, f"d{number % 50}")
            await trio.sleep(1)
            assert len(sink.taken) == 980 + 490
            assert (await account(spool)).parked == 30
            await drained(spool)
        assert of_device(sink.taken, "d7") == list(range(7, 1500, 50))
        assert (await account(spool)).delivered == 1500


async def test_a_device_that_waits_is_told_and_taken_back(autojump_clock):
    async with open_memory_spool() as spool:
        report = FakeReport()
        await fill(spool, 100, devices=10)
        sink = FakeSink(unknown_until(1000, "d0", "d3"))
        async with delivering(spool, sink, ONE_DEVICE, report=report):
            await trio.sleep(5)
            told = "2 devices wait apart, the others go on; 'd0': 404: no such device"
            assert report.topics == {"parked": told}
            assert report.problems == [told]
            await drained(spool)
            await trio.sleep(5)
            assert report.topics == {}


async def test_what_a_run_leaves_behind_the_next_one_tells(autojump_clock):
    async with open_memory_spool() as spool:

        def refuse(batch: Batch) -> None:
            if batch.events[0].event.device == "d1":
                raise Reject("no")
            unknown_until(HOUR, "d0")(batch)

        await fill(spool, 30, devices=3)
        async with delivering(spool, FakeSink(refuse), ONE_DEVICE):
            await trio.sleep(5)
        report = FakeReport()
        async with delivering(spool, FakeSink(refuse), ONE_DEVICE, report=report):
            await trio.sleep(1)
            assert report.topics == {
                "parked": "1 device waits apart, the others go on; 'd0': 404: no such device",
                "dead": "10 dead letters from before the start",
            }
            await spool.drop([kept.id for kept in await spool.letters(LetterFilter("sink"))])
            await trio.sleep(60)
            assert set(report.topics) == {"parked"}


async def test_the_number_that_waits_is_told_once_a_minute(autojump_clock):
    async with open_memory_spool() as spool:
        report = FakeReport()
        sink = FakeSink(unknown_until(HOUR, *numbered(0, 100)))
        policy = evolve(ONE_DEVICE, reject_limit=0)
        async with delivering(spool, sink, policy, report=report):
            for number in range(100):
                await bring(spool, number, f"d{number}")
                await trio.sleep(1.2)
            await trio.sleep(60)
        assert 2 <= len(report.problems) <= 4
        assert report.topics["parked"].startswith("100 devices wait")


async def test_what_is_told_of_a_device_holds_no_secret(autojump_clock):
    async with open_memory_spool() as spool:
        await fill(spool, 1)
        sink = FakeSink(unknown_until(HOUR, "d0"))
        redact = lambda text: text.replace("404", "[redacted]")  # noqa: E731
        async with delivering(spool, sink, ONE_DEVICE, redact=redact):
            await trio.sleep(5)
        (device,) = await spool.parked("sink")
        assert device.why == "[redacted]: no such device"


async def test_attempts_of_a_parked_device_grow_rare(autojump_clock):
    async with open_memory_spool() as spool:
        attempts: list[tuple[float, int]] = []

        def busy(batch: Batch) -> None:
            attempts.append((trio.current_time(), batch.attempt))
            raise Retry("busy", scope="device")

        await fill(spool, 1)
        async with delivering(spool, FakeSink(busy), ONE_DEVICE):
            await trio.sleep(10 * HOUR)
        times = [time for time, _ in attempts]
        waits = [after - before for before, after in pairwise(times)]
        assert waits[1:13] == pytest.approx([*(2.0**n for n in range(1, 12)), HOUR], rel=1e-3)
        assert [attempt for _, attempt in attempts] == list(range(1, len(attempts) + 1))


class CountingSink(FakeSink):
    """Takes a while, and counts how many attempts of these devices are under way."""

    devices = frozenset(numbered(0, 30))
    under_way = most = 0

    async def deliver(self, batch: Batch) -> Outcome | None:
        known = batch.events[0].event.device in self.devices
        self.under_way += known
        self.most = max(self.most, self.under_way)
        try:
            return await super().deliver(batch)
        finally:
            self.under_way -= known


async def test_all_parked_devices_share_one_attempt_at_a_time(autojump_clock):
    async with open_memory_spool() as spool:
        sink = CountingSink(unknown_until(200, *numbered(0, 30)), seconds=10)
        await fill(spool, 600, devices=60)
        async with delivering(spool, sink, evolve(ONE_DEVICE, reject_limit=0)):
            await trio.sleep(290)
            assert (await account(spool)).parked_devices == 30
            sink.most = 0
            await drained(spool)
        assert sink.most == 1
        assert trio.current_time() >= 300 + 30 * 10


async def test_with_one_slot_parked_devices_have_every_tenth_turn(autojump_clock):
    async with open_memory_spool() as spool:
        turns: list[bool] = []

        def behave(batch: Batch) -> None:
            parked = batch.events[0].event.device == "d0"
            turns.append(parked)
            if parked and trio.current_time() < 100:
                raise Retry("busy", scope="device", after=100)

        await fill(spool, 200)
        policy = evolve(POLICY, in_flight=1, batch=5)
        async with delivering(spool, FakeSink(behave, seconds=1), policy):
            await trio.sleep(99)
            await fill(spool, 4000, devices=40, source="t")
            await trio.sleep(10)
            turns.clear()
            await trio.sleep(300)
        assert 25 <= turns.count(True) <= 30


async def test_a_destination_that_is_away_is_not_asked_for_parked_devices(autojump_clock):
    async with open_memory_spool() as spool:
        asked: list[str] = []

        def behave(batch: Batch) -> None:
            asked.append(batch.events[0].event.device)
            if 100 <= trio.current_time() < HOUR:
                raise Retry("503")
            unknown_until(2 * HOUR, *numbered(0, 5))(batch)

        report = FakeReport()
        await fill(spool, 100, devices=10)
        sink = FakeSink(behave)
        async with delivering(spool, sink, ONE_DEVICE, report=report):
            await trio.sleep(200)
            await bring(spool, 1000, "d9")  # a lane has something, and finds that it is away
            await trio.sleep(50)
            asked.clear()
            await trio.sleep(HOUR - 300)
            assert set(asked) == {"d9"}
            await drained(spool)
            await trio.sleep(5)
        assert report.topics == {}
        for device in range(10):
            taken = [number for number in of_device(sink.taken, f"d{device}") if number < 1000]
            assert taken == list(range(device, 100, 10))


async def test_a_parked_device_leaves_the_probes_to_the_lanes(autojump_clock):
    async with open_memory_spool() as spool:
        asked: list[str] = []

        def behave(batch: Batch) -> None:
            asked.append(batch.events[0].event.device)
            unknown_until(1, "d0")(batch)
            raise Retry("503")

        await fill(spool, 1)
        async with delivering(spool, FakeSink(behave), ONE_DEVICE):
            await trio.sleep(1000)
            assert len(asked) > 4  # it finds out, for there is nobody else
            await bring(spool, 1000, "d9")
            await trio.sleep(1000)
            asked.clear()
            await trio.sleep(HOUR)
        assert set(asked) == {"d9"}


@pytest.mark.parametrize("verdict", [Retry("503"), Pause("401")], ids=["retry", "pause"])
async def test_a_parked_device_alone_finds_out_when_the_sink_is_back(autojump_clock, verdict):
    async with open_memory_spool() as spool:
        attempts = 0

        def behave(batch: Batch) -> None:
            nonlocal attempts
            attempts += 1
            unknown_until(1, "d0")(batch)
            if trio.current_time() < 2 * HOUR:
                raise verdict

        report = FakeReport()
        await fill(spool, 5)
        async with delivering(spool, FakeSink(behave), ONE_DEVICE, report=report):
            await drained(spool)
            assert trio.current_time() < 2.2 * HOUR
        assert attempts < 50
        assert "delivers again" in report.texts


async def test_devices_known_to_wait_pause_nothing_in_a_quiet_night(autojump_clock):
    async with open_memory_spool() as spool:
        sink = FakeSink(unknown_until(12 * HOUR, *numbered(0, 30)))
        report = FakeReport()
        await fill(spool, 600, devices=60)
        async with delivering(spool, sink, ONE_DEVICE, report=report):
            await trio.sleep(8 * HOUR)
            assert not any("paused" in text for text in report.texts)
            await bring(spool, 1000, "d59")
            await trio.sleep(1)
            assert sink.taken[-1] == "d59-1000"


async def test_many_devices_refused_in_a_row_pause_and_park_nobody(autojump_clock):
    async with open_memory_spool() as spool:
        report = FakeReport()
        await fill(spool, 100, devices=100)
        sink = FakeSink(unknown_until(HOUR, *numbered(0, 100)))
        async with delivering(spool, sink, ONE_DEVICE, report=report):
            await trio.sleep(100)
            assert "paused: refused 20 devices in a row" in report.problems[0]
            found = await account(spool)
            # What other lanes had settled before the last of these devices was refused.
            assert found.parked_devices < 20
            await trio.sleep(HOUR / 2)
            assert (await account(spool)).parked_devices == found.parked_devices
            await drained(spool)
        assert sorted(sink.taken) == sorted(f"d{n}-{n}" for n in range(100))


async def test_a_device_that_is_well_ends_such_a_pause(autojump_clock):
    async with open_memory_spool() as spool:
        report = FakeReport()
        await fill(spool, 60, devices=60)
        sink = FakeSink(unknown_until(24 * HOUR, *numbered(0, 60)))
        async with delivering(spool, sink, ONE_DEVICE, report=report):
            await trio.sleep(HOUR)
            assert "paused" in report.problems[0]
            for number in range(60, 100):
                await bring(spool, number, f"d{number}")
            await trio.sleep(4 * HOUR)
            assert sorted(sink.taken) == sorted(f"d{n}-{n}" for n in range(60, 100))
            assert "delivers again" in report.texts
            assert (await account(spool)).pending == 60


async def refused(spool: MemorySpool, count: int) -> list[int]:
    """Make dead letters of so many devices; returns their numbers."""

    def refuse(batch: Batch) -> None:
        raise Reject("no")

    await fill(spool, count, devices=count)
    async with delivering(spool, FakeSink(refuse), evolve(ONE_DEVICE, reject_limit=0)):
        await drained(spool)
    return [kept.id for kept in await spool.letters(LetterFilter("sink"), limit=count)]


async def test_a_replay_that_is_refused_again_stops_and_says_so(autojump_clock):
    async with open_memory_spool() as spool:
        mended = False

        def behave(batch: Batch) -> None:
            if batch.replay and not mended:
                raise Reject("422: still not")

        report = FakeReport()
        letters = await refused(spool, 50)
        sink = FakeSink(behave)
        async with delivering(spool, sink, ONE_DEVICE, report=report):
            assert await spool.replay(letters) == 50
            await drained(spool)
            await trio.sleep(5)
            assert report.topics["replay"] == (
                "the replay stopped: 20 events in a row were refused again: 422: still not; the "
                "30 events left are dead letters again, as they were"
            )
            assert not any("paused" in text for text in report.texts)
            letters = [kept.id for kept in await spool.letters(LetterFilter("sink"))]
            reasons = [kept.reason for kept in await spool.letters(LetterFilter("sink"))]
            assert sorted(reasons) == ["422: still not"] * 20 + ["no"] * 30
            await bring(spool, 1000, "d0")
            await trio.sleep(1)
            assert sink.taken == ["d0-1000"]
            mended = True
            await spool.replay(letters)
            await drained(spool)
            await trio.sleep(60)
            assert report.topics == {}
        assert (await account(spool)).delivered == 51


async def test_a_replay_that_stopped_is_forgotten_with_its_letters(autojump_clock):
    async with open_memory_spool() as spool:

        def behave(batch: Batch) -> None:
            raise Reject("no")

        report = FakeReport()
        await spool.replay(await refused(spool, 40))
        async with delivering(spool, FakeSink(behave), ONE_DEVICE, report=report):
            await drained(spool)
            await trio.sleep(5)
            assert set(report.topics) == {"replay", "dead"}
            await spool.drop([kept.id for kept in await spool.letters(LetterFilter("sink"))])
            await trio.sleep(60)
            assert report.topics == {}
            await bring(spool, 1000, "d0")
            await trio.sleep(60)
            assert set(report.topics) == {"dead"}


async def test_a_replay_goes_before_what_came_later_and_says_so(autojump_clock):
    async with open_memory_spool() as spool:
        seen: list[tuple[str, bool]] = []

        def behave(batch: Batch) -> None:
            seen.extend((stored.event.key, batch.replay) for stored in batch.events)

        letters = await refused(spool, 1)
        async with delivering(spool, FakeSink(behave)) as scope:
            scope.cancel()
        await spool.replay(letters)
        await bring(spool, 1, "d0")
        async with delivering(spool, FakeSink(behave)):
            await drained(spool)
        assert seen == [("d0-0", True), ("d0-1", False)]


async def test_a_stop_of_a_replay_waits_for_the_store(autojump_clock):
    async with open_memory_spool() as spool:

        def behave(batch: Batch) -> None:
            if batch.replay:
                raise Reject("no")

        letters = await refused(spool, 40)
        await spool.replay(letters)
        spool.refuse_writes = "the disk is full"
        async with delivering(spool, FakeSink(behave), ONE_DEVICE):
            await trio.sleep(30)
            spool.refuse_writes = None
            await drained(spool)
        assert (await account(spool)).dead == 40


async def test_a_device_is_parked_when_the_store_can_write(autojump_clock):
    async with open_memory_spool() as spool:
        asked = 0

        def behave(batch: Batch) -> None:
            nonlocal asked
            asked += 1
            unknown_until(HOUR, "d0")(batch)

        await fill(spool, 5)
        spool.refuse_writes = "the disk is full"
        async with delivering(spool, FakeSink(behave), ONE_DEVICE):
            await trio.sleep(30)
            spool.refuse_writes = None
            await trio.sleep(30)
            found = await account(spool)
        assert (asked, found.parked) == (1, 5)


async def test_on_stop_an_attempt_of_a_parked_device_may_finish(autojump_clock):
    async with open_memory_spool() as spool:
        grace_period = GracePeriod()
        sink = FakeSink(unknown_until(10, "d0"), seconds=5)
        await fill(spool, 10)
        async with delivering(spool, sink, ONE_DEVICE, grace_period=grace_period):
            await trio.sleep(307)  # it is tried again after five minutes
            assert sink.busy == 1
            grace_period.close(20)
        assert (await account(spool)).delivered == 10


async def test_on_stop_a_device_is_parked_or_comes_again(autojump_clock):
    async with open_memory_spool() as spool:
        grace_period = GracePeriod()
        await fill(spool, 10)
        sink = FakeSink(unknown_until(HOUR, "d0"), seconds=5)
        async with delivering(spool, sink, ONE_DEVICE, grace_period=grace_period):
            await trio.sleep(1)
            grace_period.close(3)
        found = await account(spool)
        assert (found.pending, found.parked) == (10, 0)


async def test_a_purge_of_a_parked_device_in_hand_harms_nobody(autojump_clock):
    async with open_memory_spool() as spool:
        sink = FakeSink(unknown_until(10, "d0"), seconds=5)
        await fill(spool, 10)
        async with delivering(spool, sink, ONE_DEVICE):
            await trio.sleep(307)
            await spool.purge("sink")
            await trio.sleep(10)
            await bring(spool, 1000, "d0")
            await drained(spool)
        assert sink.taken[-1] == "d0-1000"


async def test_a_mistake_of_the_plugin_costs_a_parked_device_its_event(autojump_clock, caplog):
    async with open_memory_spool() as spool:

        def behave(batch: Batch) -> Outcome | None:
            unknown_until(10, "d0")(batch)
            if any(stored.event.key == "d0-1" for stored in batch.events):
                raise ZeroDivisionError
            return None

        await fill(spool, 4)
        async with delivering(spool, FakeSink(behave), ONE_DEVICE):
            await drained(spool)
        found = await account(spool)
        assert (found.delivered, found.dead) == (3, 1)
