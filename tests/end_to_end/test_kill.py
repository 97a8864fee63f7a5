"""The main promise, from outside: killed at any moment, the bridge loses nothing that
it acknowledged.
"""

from __future__ import annotations

import json
import random
from datetime import datetime

import pytest
import trio

from bridge.spool.audit import audit
from bridge_plugins.databoom.emulator.server import SCOPES, Rules
from bridge_plugins.databoom.emulator.server import open_emulator as open_databoom
from bridge_plugins.disruptive.emulator.server import Connector, Delivery
from bridge_plugins.disruptive.emulator.server import open_emulator as open_disruptive
from bridge_plugins.idigi.emulator.content.topics import Occurrence
from bridge_plugins.idigi.emulator.server import Emulator as DigiCloud
from bridge_plugins.idigi.emulator.server import open_emulator as open_idigi
from bridge_plugins.wattsense.emulator.options import WebhookOptions
from bridge_plugins.wattsense.emulator.server import Emulator as Towers
from bridge_plugins.wattsense.emulator.server import open_emulator as open_wattsense
from tests.end_to_end.oracle import Oracle
from tests.end_to_end.site import Site

SINKS = ("databoom", "file")
PACE = 0.05  # seconds between two rounds of the publishers
SETTLE = 60.0  # seconds in which everything must have arrived at last


async def publish_sensors(cloud: Connector, oracle: Oracle) -> None:
    while True:
        for number in range(8):
            device = f"sensor{number:014d}"
            value, time = oracle.publish(f"sensors_{device}")
            cloud.publish("co2", device, {"ppm": value}, time=time)
        await trio.sleep(PACE)


async def publish_towers(cloud: Towers, oracle: Oracle) -> None:
    while True:
        for number in range(4):
            value, time = oracle.publish(f"towers_tower-{number}")
            with trio.CancelScope(shield=True):  # what the oracle counts is sent
                await cloud.publish(
                    f"tower-{number}", "p", value, timestamp=round(time.timestamp() * 1000)
                )
        await trio.sleep(PACE)


async def publish_gateways(cloud: DigiCloud, oracle: Oracle) -> None:
    while True:
        await cloud.inject(
            [occurrence(oracle, f"00000000-00000000-00409DFF-FF00000{n}") for n in range(8)]
        )
        await trio.sleep(PACE)


def occurrence(oracle: Oracle, device: str) -> Occurrence:
    value, time = oracle.publish(f"gateways_{device}")
    milliseconds = round(time.timestamp() * 1000)
    stream = f"{device}/level"
    entity = {"streamId": stream, "streamType": "LONG", "data": value, "timestamp": milliseconds}
    return Occurrence(f"DataPoint/{stream}", "DataPoint", entity, "INSERTION")


@pytest.mark.fact("Mistake 1: removing from the queue before the 2xx", vendor="databoom")
@pytest.mark.slow
async def test_killed_again_and_again_it_loses_nothing_acknowledged(
    site: Site, request: pytest.FixtureRequest
):
    kills: int = request.config.getoption("--kills")
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    oracle = Oracle()

    def arrived(device: str, signal: str, value: float, time: datetime) -> None:
        oracle.arrived(device, value, time)

    async with (
        open_databoom(
            {"t": SCOPES},
            rules=Rules(keep_points=False),
            arrived=arrived,
            keep_log=False,
            tls=site.server_tls(),
        ) as databoom,
        open_idigi(tls=site.server_tls()) as digi,
        open_disruptive(
            f"{site.url}/disruptive",
            "s3cret",
            verify=site.client_tls(),
            delivery=Delivery(spacing=0.05),
        ) as sensors,
        open_wattsense(
            f"{site.url}/wattsense",
            preset="bare-hex",
            secret="k3y",
            options=WebhookOptions(framing="array"),
            ca_file=site.ca_file,
        ) as towers,
    ):
        site.sections |= {
            "source:sensors": {
                "plugin": "disruptive",
                "listener": "public",
                "path": "/disruptive",
                "secret": "s3cret",
            },
            "source:towers": {
                "plugin": "wattsense",
                "listener": "public",
                "secret": "k3y",
                "signature": "bare-hex",
                "signature_header": "X-Signature-SHA256",
            },
            "source:gateways": {
                "plugin": "idigi",
                "url": digi.rest_url,
                "username": "user",
                "password": "pass",
                "push_port": str(digi.push_port),
                "ca_file": str(site.ca_file),
                "topics": "DataPoint",
                "batch_duration": "0s",
                "retry_base": "50ms",
                "retry_cap": "200ms",
            },
            "sink:databoom": {
                "plugin": "databoom",
                "url": databoom.url,
                "token": "t",
                "ca_file": str(site.ca_file),
                "device": "{source}_{device}",
            },
            "sink:file": {
                "plugin": "jsonlines",
                "path": str(site.folder / "events.jsonl"),
                "max_size": "1GiB",
            },
        }
        site.start()
        await site.ready()
        await digi.recorder.until(
            lambda: digi.recorder.logins > 0
        )  # from here on the monitor records what it cannot send
        async with trio.open_nursery() as publishers:
            publishers.start_soon(publish_sensors, sensors, oracle)
            publishers.start_soon(publish_towers, towers, oracle)
            publishers.start_soon(publish_gateways, digi, oracle)
            for number in range(kills):
                if number % 10:
                    await site.ready()
                await trio.sleep(chance.uniform(0, 0.6))  # the random moment
                site.kill()
                site.start()
            publishers.cancel_scope.cancel()
        with trio.move_on_after(SETTLE):
            await sensors.drained()
            await towers.drained()
            await oracle.settled()
            while any(account.pending for account in audit(site.state, SINKS).accounts):
                await trio.sleep(PACE)  # the file, another sink with a pace of its own
        assert oracle.missing() == {}
        assert await site.stop() == 0
    assert oracle.faults == []
    assert oracle.repeated > 0, "no delivery was repeated: the way of a replay was not tried"
    assert min(oracle.published.values()) > kills
    assert digi.recorder.lost == set()
    _check_file(site, oracle)
    result = audit(site.state, SINKS)
    assert result.problems == ()
    for account in result.accounts:
        assert account.balanced
        assert (account.received, account.pending, account.dead) == (oracle.published.total(), 0, 0)


def _check_file(site: Site, oracle: Oracle) -> None:
    """The other sink took the same, in order."""
    taken = Oracle(published=oracle.published)
    for line in (site.folder / "events.jsonl").read_text().splitlines():
        stored = json.loads(line)
        (reading,) = stored["event"]["readings"]
        device = f"{stored['source']}_{stored['event']['device']}"
        taken.arrived(device, reading["value"], datetime.fromisoformat(reading["time"]))
    assert taken.faults == []
    assert taken.highest == oracle.published
