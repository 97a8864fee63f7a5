"""Heartbeats of silent devices."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
import trio

from bridge.api import Duration, Reject, Retry
from bridge_plugins.databoom.answers import DeviceNotFound, PushAccepted
from bridge_plugins.databoom.heartbeat import SilentDevices, send_heartbeats

HOUR = 3600.0


def test_a_device_is_due_after_an_interval_without_a_push():
    devices = SilentDevices(900, 24 * HOUR)
    devices.reading_pushed("d", 100)
    assert devices.due(999) == []
    assert devices.due(1000) == ["d"]
    devices.heartbeat_pushed("d", 1000)
    assert devices.due(1899) == []
    devices.reading_pushed("d", 1500)
    assert devices.due(1900) == []


@pytest.mark.fact("A device that brought no reading for long gets no heartbeat any more")
def test_a_device_without_readings_for_long_gets_no_heartbeat():
    devices = SilentDevices(900, 24 * HOUR)
    devices.reading_pushed("d", 0)
    devices.heartbeat_pushed("d", 24 * HOUR - 1000)
    assert devices.due(24 * HOUR - 1) == ["d"]
    assert devices.due(24 * HOUR) == []
    devices.heartbeat_pushed("d", 25 * HOUR)
    assert devices.due(99 * HOUR) == []
    devices.reading_pushed("d", 100 * HOUR)
    assert devices.due(100 * HOUR + 900) == ["d"]


async def test_a_silent_device_gets_a_heartbeat_in_each_interval(autojump_clock, nursery):
    beaten = []

    async def push(device):
        beaten.append((device, trio.current_time()))
        return PushAccepted()

    devices = SilentDevices(900, 4 * HOUR)
    start = trio.current_time()
    devices.reading_pushed("d", start)
    nursery.start_soon(send_heartbeats, devices, push)
    await trio.sleep(10 * HOUR)
    assert 12 <= len(beaten) <= 16
    assert max(time for _, time in beaten) <= start + 4 * HOUR
    gaps = [later - earlier for (_, earlier), (_, later) in pairwise(beaten)]
    assert max(gaps) <= 900 * 1.25


@pytest.mark.parametrize("failure", [Retry("down"), Reject("no")])
async def test_a_round_ends_at_the_first_failure_and_is_tried_again(
    autojump_clock, nursery, failure
):
    asked = []

    async def push(device):
        asked.append(device)
        if isinstance(failure, Retry):
            raise failure
        return failure

    devices = SilentDevices(100, HOUR)
    for device in ("d", "e"):
        devices.reading_pushed(device, trio.current_time())
    nursery.start_soon(send_heartbeats, devices, push)
    await trio.sleep(151)
    assert set(asked) == {"d"}
    assert len(asked) >= 2


async def test_an_unknown_device_keeps_no_others_from_their_heartbeat(autojump_clock, nursery):
    asked = []

    async def push(device):
        asked.append(device)
        return DeviceNotFound("no", 404) if device == "d" else PushAccepted()

    devices = SilentDevices(100, HOUR)
    for device in ("d", "e"):
        devices.reading_pushed(device, trio.current_time())
    nursery.start_soon(send_heartbeats, devices, push)
    await trio.sleep(110)
    assert "e" in asked


async def until(condition):
    with trio.fail_after(100):
        while not condition():
            await trio.sleep(0.1)


@pytest.mark.fact("An optional heartbeat keeps a device from being flagged")
@pytest.mark.parametrize("form", ["auto", "history", "template"])
async def test_a_heartbeat_keeps_a_device_from_being_flagged(bench, mock_clock, form):
    mock_clock.rate = 20  # real sockets: time may run faster, but not jump
    changes = {"form": form} | ({"template": "tpl"} if form == "template" else {})
    rules = {"validation_trap": False}
    async with bench(
        heartbeat="alive", heartbeat_interval=Duration(1), rules=rules, **changes
    ) as b:
        b.emulator.cloud.add_template("tpl", "t")
        device = "tpl-d1" if form == "template" else "d1"
        await b.sink.deliver(b.make.batch(("t", 5)))
        b.clock.move(timedelta(seconds=3601))
        described = b.emulator.cloud.described_device(device, b.clock())
        assert described["com_status"] == "Communication error"
        await until(lambda: b.emulator.cloud.points(device, "alive"))
        assert b.emulator.cloud.points(device, "alive") == [(b.clock(), 1)]
        assert b.emulator.cloud.described_device(device, b.clock())["com_status"] == "Active"
        assert b.emulator.cloud.points(device, "t")[0][1] == 5


async def test_the_heartbeat_is_recorded_from_its_first_value(bench, mock_clock):
    mock_clock.rate = 20
    async with bench(heartbeat="alive", heartbeat_interval=Duration(1)) as b:
        await b.sink.deliver(b.make.batch(("t", 5)))
        await until(lambda: b.emulator.cloud.points("d1", "alive"))
        assert b.emulator.cloud.signals["d1", "alive"].status == "ACTIVE"


async def test_without_the_setting_there_is_no_heartbeat(bench, mock_clock):
    mock_clock.rate = 20
    async with bench(heartbeat_interval=Duration(1)) as b:
        await b.sink.deliver(b.make.batch(("t", 5)))
        await trio.sleep(3)
        assert len(b.emulator.requests) == 1
