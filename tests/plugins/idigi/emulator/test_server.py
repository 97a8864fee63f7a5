"""The emulator as the demo uses it, and its distance to the client."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
import trustme

from bridge.api import Duration, Secret, Url
from bridge.testing.emulation import EmulatorContext
from bridge_plugins.idigi import bridge_source_kinds
from bridge_plugins.idigi.emulator import bridge_emulators
from bridge_plugins.idigi.emulator.content.demo import Life, signals
from bridge_plugins.idigi.emulator.server import open_emulator
from bridge_plugins.idigi.settings import Settings

NOON = datetime(2024, 5, 2, 12, tzinfo=UTC)


@pytest.mark.fact("The demo shows readings, connections and alarms")
async def test_the_demo_brings_readings_of_a_few_devices(
    core: Any, authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(chain), append=True)
    certificate.private_key_pem.write_to_path(str(key))
    context = EmulatorContext(
        bridge_url="https://127.0.0.1:1",
        listener="public",
        ca_file=ca_file,
        certificate=chain,
        key=key,
        random=Random(7),
        arrived=lambda *_reading: None,
    )
    (kind,) = bridge_emulators()
    async with kind.open(context) as emulation, trio.open_nursery() as nursery:
        plain = dict(emulation.settings)
        assert (emulation.section, plain.pop("plugin")) == ("source:gateways", "idigi")
        settings = Settings(
            url=Url.parse(plain.pop("url")),
            username=plain.pop("username"),
            password=Secret(plain.pop("password")),
            push_port=int(plain.pop("push_port")),
            ca_file=Path(plain.pop("ca_file")),
            topics=tuple(plain.pop("topics").split(", ")),
            batch_duration=Duration.parse(plain.pop("batch_duration")),
        )
        assert plain == {}
        async with core.running(settings):
            nursery.start_soon(emulation.run, 1000.0)
            await core.outlet.until(lambda: len(core.outlet.events) >= 200)
        nursery.cancel_scope.cancel()
    events = core.outlet.events
    readings = [
        reading for event in events for reading in event.readings if event.kind == "DataPoint"
    ]
    assert {reading.signal for reading in readings} == {
        "metrics/room/temperature",
        "metrics/room/humidity",
        "metrics/tank/level",
    }
    assert {event.kind for event in events} == {"DataPoint", "DeviceCore", "AlarmStatus"}
    assert len({event.device for event in events}) == 4
    assert len({event.key for event in events}) == len(events)


def test_in_the_demo_gateways_connect_go_away_and_come_back() -> None:
    life = Life(lambda: NOON, Random(7), signals())
    states = {event.entity["devConnectwareId"]: 1 for event in life.begin()}
    assert len(states) == 4
    changes = [
        event for _ in range(160) for event in life.measure() if event.entity_key != "DataPoint"
    ]
    for event in changes:
        if event.entity_key == "DeviceCore":
            name, status = event.entity["devConnectwareId"], event.entity["dpConnectionStatus"]
            assert states[name] != status
            states[name] = status
    alarms = [event.entity["almsStatus"] for event in changes if event.entity_key == "AlarmStatus"]
    assert alarms == [1, 0, 1]
    assert len(changes) - len(alarms) == 8


@pytest.mark.fact("Clock injectable, ids always the same")
async def test_one_clock_gives_the_same_ids_and_stamps() -> None:
    async def ids() -> list[str]:
        async with open_emulator(now=lambda: NOON) as emulator:
            return [emulator.account.uuid(), emulator.account.stamp()]

    assert await ids() == await ids()


def test_a_bridge_that_runs_does_not_import_the_emulator() -> None:
    (kind,) = bridge_source_kinds()
    assert (kind.name, kind.settings) == ("idigi", Settings)
    program = (
        "import sys, bridge_plugins.idigi as plugin; plugin.bridge_source_kinds(); "
        "sys.exit(any('emulator' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
