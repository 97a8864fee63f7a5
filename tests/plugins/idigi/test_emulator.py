from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
import trio
import trustme

from bridge.api import Duration, EmulatorContext, Secret, Url
from bridge_plugins.idigi import bridge_emulators, bridge_source_kinds
from bridge_plugins.idigi.emulator import Emulator
from bridge_plugins.idigi.emulator_account import Occurrence, topic_fits
from bridge_plugins.idigi.settings import Settings

FRAMES = {
    frame["name"]: bytes.fromhex(frame["hex"])
    for frame in json.loads((Path(__file__).parents[2] / "data" / "idigi_frames.json").read_text())
}
ELEMENTS = {
    "monTopic": "DataPoint",
    "monTransportType": "tcp",
    "monFormatType": "json",
    "monBatchSize": "2",
    "monBatchDuration": "0",
    "monAckOption": "explicit",
    "monAutoReplayOnConnect": "true",
}


@asynccontextmanager
async def logged_in(emulator: Emulator) -> AsyncIterator[trio.SocketStream]:
    """A client that speaks bytes."""
    stream = await trio.open_tcp_stream("127.0.0.1", emulator.push_port)
    async with stream:
        await stream.send_all(FRAMES["V1"])
        assert await exactly(stream, 10) == FRAMES["V3a"]
        yield stream


async def exactly(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await stream.receive_some(size - len(data))
        assert piece, "the stand-in closed the connection"
        data += piece
    return data


async def block(stream: trio.SocketStream) -> tuple[int, Any]:
    head = await exactly(stream, 6)
    body = await exactly(stream, int.from_bytes(head[2:], "big"))
    return int.from_bytes(body[:2], "big"), json.loads(body[10:])["Document"]["Msg"]


async def test_the_documented_login_is_answered_and_events_are_batched(emulator: Emulator) -> None:
    monitor = emulator.account.create(ELEMENTS)
    assert monitor.status == "INACTIVE"
    async with logged_in(emulator) as stream:
        await emulator.books.until(lambda: monitor.status == "ACTIVE")
        await emulator.inject([Occurrence("DataPoint/x", "DataPoint", {"data": n}) for n in range(3)])
        first, messages = await block(stream)
        assert (first, [message["DataPoint"]["data"] for message in messages]) == (0, [0, 1])
        second, message = await block(stream)
        assert (second, message["DataPoint"]["data"], message["topic"]) == (1, 2, "7603/DataPoint/x")
    await emulator.books.until(lambda: monitor.status == "SUSPENDED")


async def test_acks_of_ten_bytes_and_of_six_are_both_understood(emulator: Emulator) -> None:
    emulator.account.create(ELEMENTS | {"monBatchSize": "1"})
    async with logged_in(emulator) as stream:
        for number in range(3):
            await emulator.publish("DataPoint/x", "DataPoint", {"data": number})
            await block(stream)
        await stream.send_all(FRAMES["V8"] + FRAMES["V7b"])
        await emulator.books.until(lambda: emulator.books.acked == {1, 2})
    assert (emulator.books.short_acks, emulator.books.full_acks) == (1, 1)


async def test_what_was_not_acknowledged_is_replayed_before_what_happened_meanwhile(emulator: Emulator) -> None:
    monitor = emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as stream:
        await emulator.inject([Occurrence("DataPoint/x", "DataPoint", {"data": n}) for n in range(2)])
        await block(stream)
    await emulator.books.until(lambda: monitor.status == "SUSPENDED")
    await emulator.publish("DataPoint/x", "DataPoint", {"data": 2})
    async with logged_in(emulator) as stream:
        _, messages = await block(stream)
        assert [(message["DataPoint"]["data"], message["replay"]) for message in messages] == [(0, True), (1, True)]
        _, message = await block(stream)
        assert (message["DataPoint"]["data"], message["replay"]) == (2, True)
        await emulator.publish("DataPoint/x", "DataPoint", {"data": 3})
        assert "replay" not in (await block(stream))[1]
    assert emulator.books.replayed == {0, 1, 2}
    assert emulator.books.acked == set()


async def test_without_explicit_acks_and_replay_events_are_lost(emulator: Emulator) -> None:
    monitor = emulator.account.create(ELEMENTS | {"monAckOption": "off", "monAutoReplayOnConnect": "false"})
    lost = await emulator.publish("DataPoint/x", "DataPoint", {"data": 0})
    async with logged_in(emulator) as stream:
        await emulator.publish("DataPoint/x", "DataPoint", {"data": 1})
        await block(stream)
    await emulator.books.until(lambda: monitor.status == "INACTIVE")
    late = await emulator.publish("DataPoint/x", "DataPoint", {"data": 2})
    assert emulator.books.lost == {lost, late}


async def test_a_full_record_drops_the_oldest(emulator: Emulator) -> None:
    emulator.account.record_limit = 2
    monitor = emulator.account.create(ELEMENTS)
    async with logged_in(emulator):
        pass
    await emulator.books.until(lambda: monitor.status == "SUSPENDED")
    await emulator.inject([Occurrence("DataPoint/x", "DataPoint", {"data": n}) for n in range(3)])
    assert emulator.books.lost == {0}


async def test_a_part_filled_block_waits_for_the_batch_duration(
    emulator: Emulator, mock_clock: trio.testing.MockClock
) -> None:
    emulator.account.create(ELEMENTS | {"monBatchDuration": "10"})
    async with logged_in(emulator) as stream:
        await emulator.publish("DataPoint/x", "DataPoint", {"data": 1})
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert emulator.books.blocks == 0
        mock_clock.jump(10)
        assert (await block(stream))[1]["DataPoint"]["data"] == 1


async def test_a_new_session_replaces_the_old_one(emulator: Emulator) -> None:
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as old, logged_in(emulator) as new:
        assert await old.receive_some(1) == b""
        await emulator.publish("DataPoint/x", "DataPoint", {"data": 1})
        assert (await block(new))[1]["DataPoint"]["data"] == 1


@pytest.mark.parametrize(
    "sent",
    [
        FRAMES["V7a"],
        FRAMES["V1"][:6] + b"\0\2" + FRAMES["V1"][8:],
        FRAMES["V1"][:5] + b"\x13" + FRAMES["V1"][6:],
    ],
)
async def test_a_broken_login_closes_the_connection(emulator: Emulator, sent: bytes) -> None:
    emulator.account.create(ELEMENTS)
    async with await trio.open_tcp_stream("127.0.0.1", emulator.push_port) as stream:
        await stream.send_all(sent)
        assert await closed(stream)
    await emulator.books.until(lambda: emulator.books.protocol_errors == 1)


async def closed(stream: trio.SocketStream) -> bool:
    try:
        return await stream.receive_some(1) == b""
    except trio.BrokenResourceError:
        return True


@pytest.mark.parametrize("sent", [b"\0\3\0\0\0\0", b"\0\4\0\0\0\4\0\0\1\x90"])
async def test_a_broken_ack_closes_the_connection(emulator: Emulator, sent: bytes) -> None:
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as stream:
        await stream.send_all(sent)
        assert await closed(stream)
    await emulator.books.until(lambda: emulator.books.protocol_errors == 1)


@pytest.mark.parametrize(("password", "status"), [(b"pass", 400), (b"sass", 403)])
async def test_a_login_that_does_not_fit_is_refused(emulator: Emulator, password: bytes, status: int) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", emulator.push_port) as stream:
        await stream.send_all(FRAMES["V1"].replace(b"pass", password))
        answer = await exactly(stream, 10)
        assert await closed(stream)
    assert int.from_bytes(answer[6:8], "big") == status


@pytest.mark.parametrize(
    ("topic", "happens"),
    [
        ("DataPoint", True),
        ("DataPoint/dev", True),
        ("DataPoint/dev/metrics/level", True),
        ("DataPoint/*/metrics/level", True),
        ("DataPoint/other", False),
        ("DataPoin", False),
        ("DeviceCore", False),
        ("[group=Staging]DataPoint", True),
        ("[group=a,Staging]DataPoint", True),
        ("[group=a,b]DataPoint", False),
        ("[operation=C]DataPoint", True),
        ("DataPoint[C]", True),
        ("DataPoint[U]", False),
    ],
)
def test_a_topic_asks_for_what_it_names(topic: str, happens: bool) -> None:
    occurrence = Occurrence("DataPoint/dev/metrics/level", "DataPoint", {}, "INSERTION", "Staging")
    assert topic_fits(topic, occurrence) is happens


async def test_the_rest_api_creates_lists_reads_and_deletes(emulator: Emulator) -> None:
    body = "".join(f"<{name}>{value}</{name}>" for name, value in (ELEMENTS | {"monCompression": "gzip"}).items())
    async with httpx.AsyncClient(base_url=emulator.rest_url, auth=("user", "pass"), trust_env=False) as client:
        created = await client.post("/ws/Monitor", content=f"<Monitor>{body}</Monitor>")
        assert (created.status_code, created.headers["location"]) == (201, "Monitor/178008")
        listed = (
            await client.get("/ws/Monitor", params={"condition": "monTopic='DataPoint' and monBatchSize='2'"})
        ).json()
        assert (listed["resultSize"], listed["items"][0]["monCompression"]) == ("1", "zlib")
        assert (await client.get("/ws/Monitor", params={"condition": "monTopic='Job'"})).json()["items"] == []
        assert (await client.get("/ws/Monitor", params={"condition": "monTopic like 'J%'"})).status_code == 400
        assert (await client.get("/ws/Monitor/178008")).json()["items"][0]["monStatus"] == "INACTIVE"
        async with logged_in(emulator) as stream:
            deleted = await client.delete("/ws/Monitor/178008")
            assert "1 items deleted" in deleted.text
            assert await closed(stream)
        assert (await client.get("/ws/Monitor/178008")).status_code == 400
        assert "Error reading" in (await client.delete("/ws/Monitor/178008")).text
        assert 'For input string: "abc"' in (await client.delete("/ws/Monitor/abc")).text
        assert (await client.put("/ws/Monitor/178008")).status_code == 405
        assert (await client.post("/ws/Monitor", content="<Monitor")).status_code == 400
        assert (await client.get("/ws/Monitor", headers={"Authorization": "Basic !"})).status_code in (200, 401)
    async with httpx.AsyncClient(base_url=emulator.rest_url, trust_env=False) as stranger:
        assert (await stranger.get("/ws/Monitor")).status_code == 401
        assert (await stranger.get("/ws/Monitor", headers={"Authorization": "Basic !"})).status_code == 401


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
    readings = [reading for event in core.outlet.events for reading in event.readings]
    assert {reading.signal for reading in readings} == {
        "metrics/room/temperature",
        "metrics/room/humidity",
        "metrics/tank/level",
    }
    assert len({event.device for event in core.outlet.events}) == 4
    assert len({event.key for event in core.outlet.events}) == len(core.outlet.events)


def test_a_bridge_that_runs_does_not_import_the_stand_in() -> None:
    (kind,) = bridge_source_kinds()
    assert (kind.name, kind.settings) == ("idigi", Settings)
    program = (
        "import sys, bridge_plugins.idigi as plugin; plugin.bridge_source_kinds(); plugin.bridge_emulators(); "
        "sys.exit(any('emulator' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_stand_in_knows_nothing_of_the_client() -> None:
    folder = Path(sys.modules["bridge_plugins.idigi"].__file__ or "").parent
    own = [
        line
        for path in folder.glob("emulator*.py")
        for line in path.read_text().splitlines()
        if line.startswith(("from bridge_plugins", "import bridge_plugins"))
    ]
    assert own
    assert all(line.startswith("from bridge_plugins.idigi.emulator_") for line in own)
