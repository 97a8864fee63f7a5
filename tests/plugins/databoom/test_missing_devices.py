"""Devices that Databoom does not know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bridge.api import (
    Duration,
    Pause,
    Reject,
)
from bridge_plugins.databoom.emulator.server import Fault

START = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
TOKEN = "t0ken-of-the-tests"
KEY = "key-of-the-tests"
MINUTE = timedelta(minutes=1)


@pytest.mark.fact("And 405 pause the sink where nothing ever worked")
@pytest.mark.parametrize("status", [404, 405])
async def test_an_address_that_never_worked_pauses_the_whole_sink(bench, status):
    async with bench() as b:
        b.emulator.faults.always = Fault(status=status)
        with pytest.raises(Pause, match="check url") as caught:
            await b.sink.deliver(b.make.batch(("t", 1)))
        assert not caught.value.device_only


@pytest.mark.fact("Of one device while others succeed pauses that device only")
async def test_an_unknown_device_pauses_alone_if_another_one_works(bench):
    async with bench(rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        with pytest.raises(Pause, match="no device 'd2'") as caught:
            await b.sink.deliver(b.make.batch(("t", 1), device="d2"))
        assert caught.value.device_only


async def test_the_only_device_being_gone_pauses_the_sink(bench):
    async with bench(rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        del b.emulator.cloud.devices["d1"]
        with pytest.raises(Pause) as caught:
            await b.sink.deliver(b.make.batch(("t", 2)))
        assert not caught.value.device_only


async def probe(b, batch, times, seconds):
    """Deliver often to a device that is not found, while another one goes on."""
    for _ in range(times):
        with pytest.raises(Pause):
            await b.sink.deliver(batch)
        b.clock.move(timedelta(seconds=seconds))
        await b.sink.deliver(b.make.batch(("t", 1)))


@pytest.mark.fact("More than 10 times over at least an hour: dead letters of that device")
async def test_a_device_unknown_for_an_hour_gets_dead_letters(bench):
    async with bench(rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        lost = b.make.batch(("t", 1), ("t", 2, 1), device="d2")
        await probe(b, lost, times=10, seconds=360)
        with pytest.raises(Reject, match="no device 'd2'") as caught:
            await b.sink.deliver(lost)
        assert (caught.value.indexes, caught.value.status) == ({0, 1}, 404)


@pytest.mark.fact("Less than an hour is waited for")
async def test_a_device_unknown_for_less_than_an_hour_is_waited_for(bench):
    async with bench(rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        await probe(b, b.make.batch(("t", 1), device="d2"), times=30, seconds=100)


async def test_a_device_asked_for_rarely_is_waited_for_longer(bench):
    async with bench(rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        await probe(b, b.make.batch(("t", 1), device="d2"), times=10, seconds=3600)


@pytest.mark.fact("401, 403 and 404 never drop data while all devices are unknown")
async def test_no_device_gets_dead_letters_while_all_are_unknown(bench):
    async with bench(rules={"unknown_device": 404}, unknown_device_time=Duration(0)) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        b.emulator.faults.always = Fault(status=404)
        for _ in range(20):
            b.clock.move(timedelta(seconds=3600))
            with pytest.raises(Pause):
                await b.sink.deliver(b.make.batch(("t", 1), device="d2"))


async def test_a_device_that_is_created_at_last_gets_its_events(bench):
    async with bench(rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_device("d1")
        await b.sink.deliver(b.make.batch(("t", 1)))
        waiting = b.make.batch(("t", 1), device="d2")
        await probe(b, waiting, times=3, seconds=360)
        b.emulator.cloud.add_device("d2")
        await b.sink.deliver(waiting)
        assert b.emulator.cloud.points("d2", "t") == [(START, 1)]


async def test_a_template_that_does_not_exist_pauses_the_sink(bench):
    async with bench(form="template", template="tpl") as b:
        with pytest.raises(Pause, match="Template not found"):
            await b.sink.deliver(b.make.batch(("t", 1)))
