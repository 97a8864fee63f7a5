"""Opening the sink: what is read then, and what is remembered across restarts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from bridge.api import (
    Batch,
    Pause,
    Secret,
    SettingError,
    Url,
)
from bridge.testing.fakes import FakeState, fake_sink_context
from bridge_plugins.databoom.emulator.server import Fault
from bridge_plugins.databoom.open_databoom import (
    destination_edition,
    maps_edition,
    open_databoom,
)
from bridge_plugins.databoom.tokens import Target

START = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
TOKEN = "t0ken-of-the-tests"
KEY = "key-of-the-tests"
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_ca_file_that_cannot_be_used_is_named(open_sink, tmp_path, content):
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    with pytest.raises(Pause, match=f"ca_file: {ca_file} cannot be used"):
        async with open_sink("https://127.0.0.1:1/", ca_file=ca_file):
            pass


async def test_a_devices_file_maps_devices_and_single_signals(bench, tmp_path):
    path = tmp_path / "devices.csv"
    path.write_text("device,token,signal,signal_token\nd1,hall,,\nd1,outside,t,outdoor\n")
    async with bench(devices_file=path) as b:
        await b.sink.deliver(Batch((b.make.event(("t", 1), ("u", 2)),)))
        assert b.emulator.cloud.points("outside", "outdoor") == [(START, 1)]
        assert b.emulator.cloud.points("hall", "u") == [(START, 2)]


async def test_a_devices_file_spoilt_since_the_check_stops_the_opening(tmp_path, settings):
    path = tmp_path / "devices.csv"
    path.write_text("device,token\nd1,hall\n")
    checked = evolve(settings, devices_file=path)
    path.write_text("device,token\nd1,\n")
    with pytest.raises(SettingError, match=r"devices\.csv:2"):
        async with open_databoom(checked, fake_sink_context()):
            raise AssertionError("opened")


@pytest.mark.fact("What was introduced is remembered across restarts, for one account")
async def test_what_was_introduced_is_remembered_for_one_account_only(open_sink, bench):
    state = FakeState()
    async with bench() as b:
        described = []
        for token in (TOKEN, TOKEN, "another"):
            async with open_sink(b.emulator.url, state=state, token=Secret(token)) as sink:
                b.emulator.faults.always = Fault(body=b"")
                try:
                    await sink.deliver(b.make.batch(("t", 1)))
                except Pause:
                    pass
            described.append("meta" in b.bodies()[-1]["signals"][0])
    assert described == [True, False, True]


@pytest.mark.fact("Collisions are remembered across restarts")
async def test_a_collision_is_known_after_a_restart_too(open_sink, bench):
    state = FakeState()
    async with bench() as b:
        async with open_sink(b.emulator.url, state=state) as sink:
            assert await sink.deliver(b.make.batch(("t", 1), device="a:b")) is None
        async with open_sink(b.emulator.url, state=state) as sink:
            outcome = await sink.deliver(b.make.batch(("t", 2), device="a b"))
            assert "stands for 'a:b' already" in outcome.dead[0]
        async with open_sink(b.emulator.url, state=state, devices={"a:b": "moved"}) as sink:
            assert await sink.deliver(b.make.batch(("t", 3), device="a b")) is None


def test_a_devices_file_has_the_edition_that_it_always_had(settings):
    """Another one would make every sink forget what its tokens stand for."""
    changed = evolve(settings, devices={"b": "x"}, signals={"t": "u"})
    targets = {("d", ""): Target("hall", ""), ("d", "t"): Target("hall", "outdoor")}
    assert maps_edition(changed, targets) == "e857957e887708aa"
    assert destination_edition(changed) == "925f9861eaa24f1c"


async def test_requests_go_through_the_proxy_of_the_settings(bench, open_sink, make):
    async with bench() as b:
        proxy = Url(b.emulator.url.removesuffix("/v1/signals/push"))
        async with open_sink(
            "http://databoom.example/v1/signals/push", proxy=proxy, plaintext=True
        ) as sink:
            with pytest.raises(Pause, match="404"):  # the emulator is asked with a whole URL
                await sink.deliver(make.batch(("t", 1)))
        (request,) = b.emulator.requests
        assert request.path == "http://databoom.example/v1/signals/push"
