"""The whole bridge above a disk that the test holds in its hand: no answer and no ack
leaves before the fsync.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import httpx
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bridge.config import Kinds
from bridge.daemon.config import load
from bridge.daemon.instance import Bridge
from bridge.daemon.run_bridge import run_bridge
from bridge.daemon.systemd import Notifier
from bridge.plugins.discovery import load_plugins
from bridge.spool.audit import audit
from bridge.spool.sqlite import open_sqlite
from bridge_plugins.disruptive.emulator.server import Connector, Delivery
from bridge_plugins.disruptive.emulator.server import open_emulator as open_disruptive
from bridge_plugins.idigi.emulator.server import Emulator as DigiCloud
from bridge_plugins.idigi.emulator.server import open_emulator as open_idigi
from tests.end_to_end.site import free_port
from tests.spool.vfs_shim import FileLayer, file_layer

QUIET = 0.05  # seconds without any task running


@attrs.frozen
class Clouds:
    sensors: Connector
    digi: DigiCloud
    port: int

    async def produce(self, number: int) -> None:
        """Let one event happen in each cloud."""
        self.sensors.publish("co2", f"sensor{number}", {"ppm": number})
        await self.digi.publish(
            "DataPoint/d/level", "DataPoint", {"streamId": "d/level", "data": number}
        )

    def acknowledged(self) -> tuple[int, int]:
        return len(self.sensors.acknowledged), len(self.digi.recorder.acked)


@asynccontextmanager
async def running(folder: Path, layer: FileLayer) -> AsyncIterator[Clouds]:
    registry = load_plugins(())
    sqlite = attrs.evolve(registry.spools["sqlite"], open=partial(open_sqlite, vfs=layer.name))
    port = free_port()
    async with (
        open_idigi() as digi,
        open_disruptive(
            f"http://127.0.0.1:{port}/disruptive", "s" * 32, delivery=Delivery(spacing=0.05)
        ) as sensors,
        trio.open_nursery() as nursery,
    ):
        (folder / "bridge.ini").write_text(f"""
[bridge]
state = {folder}/state
[listener:public]
address = 127.0.0.1:{port}
commit_timeout = 1h
[source:sensors]
plugin = disruptive
listener = public
secret = {"s" * 32}
[source:gateways]
plugin = idigi
url = {digi.rest_url}
insecure = yes
push_port = {digi.push_port}
username = user
password = pass
topics = DataPoint
batch_duration = 0s
retry_base = 20ms
retry_cap = 50ms
[sink:file]
plugin = jsonlines
path = {folder}/events.jsonl
""")
        kinds = Kinds(registry.sources, registry.sinks, {"sqlite": sqlite})
        loaded = load(folder / "bridge.ini", kinds, environ=os.environ)
        assert loaded.config is not None, loaded.errors
        stop, stopped = trio.open_memory_channel[int](1)
        nursery.start_soon(
            run_bridge, Bridge("test", loaded.config, os.environ), Notifier(None), stopped
        )
        await digi.recorder.until(lambda: digi.recorder.logins > 0)
        yield Clouds(sensors, digi, port)
        await stop.send(15)


@pytest.fixture
def layer():
    with file_layer("whole-bridge") as layer:
        yield layer


async def test_no_200_and_no_ack_leaves_before_its_fsync(tmp_path: Path, layer: FileLayer):
    async with running(tmp_path, layer) as clouds:
        await clouds.produce(1)
        await until_acknowledged(clouds, 1)
        layer.hold_syncs()
        await clouds.produce(2)
        await trio.to_thread.run_sync(layer.waiting.wait)
        for number in range(3, 6):
            await clouds.produce(number)
        await wait_all_tasks_blocked(QUIET)
        assert clouds.acknowledged() == (1, 1)
        layer.release_syncs()
        await until_acknowledged(clouds, 5)


async def test_after_a_failed_fsync_the_store_is_verified_first(tmp_path: Path, layer: FileLayer):
    async with running(tmp_path, layer) as clouds:
        await clouds.produce(1)
        await until_acknowledged(clouds, 1)
        layer.fail_sync = True
        await clouds.produce(2)
        await refused(clouds)
        await clouds.produce(3)
        await refused(clouds)
        assert clouds.acknowledged() == (1, 1)
        layer.log.clear()
        layer.fail_sync = False
        await until_acknowledged(clouds, 3)
        assert (
            "sync",
            "spool.sqlite",
        ) in layer.log  # brought from the log into the database, and synced
    result = audit(tmp_path / "state")
    assert result.problems == ()
    assert [account.received for account in result.accounts] == [6]


async def until_acknowledged(clouds: Clouds, number: int) -> None:
    with trio.fail_after(30):
        await clouds.digi.recorder.until(lambda: len(clouds.digi.recorder.acked) >= number)
        await clouds.sensors.drained()
    assert clouds.acknowledged() == (number, number)


async def refused(clouds: Clouds) -> None:
    """Wait until the bridge has answered 503 once more."""
    before = clouds.sensors.outcomes["503"]
    with trio.fail_after(30):
        while clouds.sensors.outcomes["503"] == before:
            async with httpx.AsyncClient() as client:
                answer = await client.post(
                    f"http://127.0.0.1:{clouds.port}/disruptive", content=b"{}"
                )
                assert answer.status_code == 401  # the front end itself is well
