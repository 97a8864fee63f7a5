"""Sessions: logins, blocks and acks, over real sockets on loopback or in memory."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from bridge.api import Duration, Pause, Retry, Secret, Size, SpoolUnavailable
from bridge_plugins.idigi.emulator.content.topics import Occurrence
from bridge_plugins.idigi.emulator.server import Emulator, open_emulator
from bridge_plugins.idigi.push.session import UnknownMonitor, attend, login_verdict
from bridge_plugins.idigi.settings import Settings
from tests.plugins.idigi.conftest import Point, monitor_of, scripted


@pytest.mark.fact("Plain TCP is said loudly")
@pytest.mark.fact("ten-byte acks always")
async def test_readings_arrive_in_order_and_are_acknowledged(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator)):
        ids = [await emulator.publish(*point(number)) for number in range(50)]
        await emulator.recorder.until(lambda: set(ids) <= emulator.recorder.acked)
    assert core.outlet.values == list(range(50))
    assert emulator.recorder.short_acks == emulator.recorder.stray_acks == 0
    assert emulator.recorder.full_acks == emulator.recorder.blocks
    assert core.report.said[0] == (
        f"attached to monitor 178008 at 127.0.0.1:{emulator.push_port}, "
        "INSECURE: password and readings travel in clear text",
        "idigi-unsafe-settings",
    )


@pytest.mark.fact("Answer and blocks in one read")
@pytest.mark.fact("Two frames in one TLS record")
@pytest.mark.parametrize("secured", [False, True])
async def test_answer_and_blocks_that_come_together_are_all_read(
    secured: bool, core: Any, settings_for: Any, point: Point, server_tls: Any, ca_file: Path
) -> None:
    async with open_emulator(tls=server_tls() if secured else None) as emulator:
        settings = settings_for(emulator, ca_file=ca_file, batch_size=3)
        async with core.running(settings):
            pass
        await emulator.recorder.until(lambda: monitor_of(emulator).status == "SUSPENDED")
        ids = [await emulator.publish(*point(number)) for number in range(10)]
        emulator.faults.coalesce = True
        async with core.running(settings):
            await emulator.recorder.until(lambda: set(ids) <= emulator.recorder.acked)
    assert core.outlet.values == list(range(10))
    assert emulator.recorder.logins == 2


@pytest.mark.fact("Any fragmentation, one byte at a time")
@pytest.mark.fact("Unknown types are skipped by Size")
@pytest.mark.parametrize("secured", [False, True])
async def test_everything_may_come_byte_by_byte(
    secured: bool,
    core: Any,
    settings_for: Any,
    point: Point,
    server_tls: Any,
    ca_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_emulator(tls=server_tls() if secured else None) as emulator:
        emulator.faults.fragment = 1
        emulator.faults.unknown_frames = True
        async with core.running(settings_for(emulator, ca_file=ca_file)):
            for number in range(3):
                event = await emulator.publish(*point(number))
                await emulator.recorder.until(lambda event=event: event in emulator.recorder.acked)
    assert core.outlet.values == [0, 1, 2]
    assert emulator.recorder.logins == 1
    assert [record.message for record in caplog.records if "skipping" in record.message] == [
        "gateways: skipping frames of type 2457, which is not known"
    ]


@pytest.mark.fact("Compression none, zlib and gzip")
@pytest.mark.parametrize("compression", ["none", "zlib", "gzip"])
async def test_every_compression_setting_works(
    compression: str, core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator, compression=compression)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    async with core.running(settings_for(emulator, compression=compression)):
        pass
    assert core.outlet.values == [1]
    assert len(emulator.account.monitors) == 1


@pytest.mark.fact("Format xml")
async def test_documents_in_xml_work(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator, format="xml")):
        event = await emulator.publish(*point(1.5, streamType="DOUBLE"))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    async with core.running(settings_for(emulator, format="xml")):
        pass
    assert core.outlet.values == [1.5]
    assert monitor_of(emulator).elements["monFormatType"] == "xml"


@pytest.mark.fact("Gzip container tolerated")
async def test_the_gzip_container_is_tolerated(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.gzip = True
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert core.outlet.values == [1]


@pytest.mark.fact("Durable before the ack")
@pytest.mark.fact("Ack only after durable")
async def test_nothing_is_acknowledged_before_it_is_stored(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator)):
        core.outlet.gate = trio.Event()
        event = await emulator.publish(*point(1))
        await core.outlet.until(lambda: core.outlet.attempts == 1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert emulator.recorder.full_acks == 0
        core.outlet.gate.set()
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)


async def test_what_the_spool_refuses_comes_again(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    core.outlet.failures = [SpoolUnavailable("the disk is full", retry_after=0.001)]
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert "it cannot be stored: the disk is full" in core.report.said[1][0]
    assert emulator.recorder.logins == 2
    assert emulator.recorder.replayed == {event}
    assert core.outlet.values == [1]


@pytest.mark.fact("An ack is sent on the connection that brought the block, or never")
@pytest.mark.fact("Ack bound to its connection")
async def test_a_block_is_acknowledged_where_it_came_or_never(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    core.outlet.gate = trio.Event()
    emulator.faults.drop = "before-ack"
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await core.outlet.until(lambda: core.outlet.attempts == 1)
        await emulator.recorder.until(lambda: monitor_of(emulator).status == "SUSPENDED")
        core.outlet.gate.set()
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert emulator.recorder.stray_acks == 0
    assert emulator.recorder.full_acks == 1
    assert emulator.recorder.replayed == {event}


@pytest.mark.fact("What comes again has the same key, replay is a label")
async def test_what_comes_again_after_a_reconnect_has_the_same_key(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.drop = "before-ack"
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    first, again = core.outlet.events
    assert first.key == again.key
    assert "replay" not in first.labels
    assert again.labels["replay"] == "true"


@pytest.mark.fact(
    "A block sent again on the same connection is acknowledged again, under the same key",
)
async def test_a_duplicate_block_is_acknowledged_again(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.blocks = ["duplicate"]
    async with core.running(settings_for(emulator)):
        await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: emulator.recorder.full_acks == 2)
    assert len({event.key for event in core.outlet.events}) == 1
    assert emulator.recorder.stray_acks == 0


POISON = ["raw-deflate", "corrupt", "truncated", "bomb", "broken-json", "wrong-payload-size"]


@pytest.mark.fact("A block that cannot be read is stored, then acknowledged; the session goes on")
@pytest.mark.fact("Poison is kept, the session goes on")
@pytest.mark.parametrize("fault", POISON)
async def test_a_poisoned_block_is_stored_then_acknowledged(
    fault: Any,
    core: Any,
    emulator: Emulator,
    settings_for: Any,
    point: Point,
    caplog: pytest.LogCaptureFixture,
) -> None:
    emulator.faults.blocks = [fault]
    async with core.running(settings_for(emulator, inflate_limit=Size(1 << 20))):
        poisoned = await emulator.publish(*point("poisoned"))
        await emulator.recorder.until(lambda: poisoned in emulator.recorder.acked)
        (kept,) = core.outlet.events
        event = await emulator.publish(*point("healthy"))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert kept.kind == "undecodable"
    assert b64decode(kept.data["base64"])[:2] == b"\0\3"
    assert core.outlet.values == ["healthy"]
    assert emulator.recorder.logins == 1
    assert "gateways: block 0: the block is kept as it is: " in caplog.text


@pytest.mark.fact("If it cannot be stored it is not acknowledged")
async def test_a_poisoned_block_waits_until_it_can_be_stored(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.blocks = ["corrupt", "corrupt"]
    core.outlet.failures = [SpoolUnavailable("the disk is full", retry_after=0.0)]
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert emulator.recorder.full_acks == 1
    assert emulator.recorder.logins == 2


async def test_a_block_that_cannot_be_events_is_stored_as_it_came(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    core.outlet.failures = [ValueError("event too strange")]
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert [(event.kind, event.labels["reason"]) for event in core.outlet.events] == [
        ("undecodable", "it cannot be stored as events: event too strange")
    ]


async def test_an_item_that_is_not_an_object_is_kept_beside_the_others(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.blocks = ["not-an-object"]
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert [event.kind for event in core.outlet.events] == ["DataPoint", "undecodable"]


@pytest.mark.fact("A keep-alive is acknowledged and gives no event")
async def test_a_keep_alive_is_acknowledged_and_gives_no_event(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.blocks = ["keep-alive"]
    async with core.running(settings_for(emulator)):
        await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: emulator.recorder.full_acks == 2)
    assert core.outlet.attempts == 1


async def test_a_wrong_count_is_logged_and_the_events_arrive(
    core: Any, emulator: Emulator, settings_for: Any, point: Point, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.faults.blocks = ["wrong-count"]
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert core.outlet.values == [1]
    assert "holds 2 events, but it holds 1" in caplog.text


@pytest.mark.fact("A protocol error closes the connection, with backoff and a report")
@pytest.mark.fact("Size 0xFFFFFFFF is refused")
async def test_an_oversized_frame_closes_the_connection(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.blocks = ["oversized"]
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert core.outlet.values == [1]
    assert any(
        problem and "4294967295 bytes was announced" in text for text, problem in core.report.said
    )


@pytest.mark.fact("Order of blocks and events kept")
async def test_large_blocks_stay_in_order_with_small_ones(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator, compression="none", batch_size=1)):
        texts = ["x" * 400_000 if number % 2 else "small" for number in range(6)]
        ids = [await emulator.publish(*point(text)) for text in texts]
        await emulator.recorder.until(lambda: set(ids) <= emulator.recorder.acked)
    assert core.outlet.values == texts


@pytest.mark.fact(
    "200 to 299 attach; 400, 403, other 4xx and everything else mean what the table says",
)
@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, None),
        (204, None),
        (299, None),
        (400, UnknownMonitor),
        (401, Pause),
        (403, Pause),
        (404, Pause),
        (499, Pause),
        (1, Retry),
        (199, Retry),
        (300, Retry),
        (500, Retry),
        (65535, Retry),
    ],
)
def test_the_answer_to_the_login_decides_what_follows(status: int, verdict: type | None) -> None:
    found = login_verdict(status, 5)
    assert (None if found is None else type(found)) is verdict


@pytest.mark.fact("A missing or short answer to the login is given up and retried")
@pytest.mark.parametrize(
    ("login", "words"),
    [("silent", "not answered within 100ms"), ("short", "has 2 bytes, expected 4")],
)
async def test_a_login_without_a_good_answer_is_given_up_and_retried(
    login: Any, words: str, core: Any, emulator: Emulator, settings_for: Any
) -> None:
    emulator.faults.login = login
    async with core.running(settings_for(emulator, answer_timeout=Duration(0.1)), attached=False):
        await core.report.until_problem(words)
        emulator.faults.login = "answered"
        await core.report.until(lambda: "attached" in core.report.said[-1][0])


async def test_a_slow_answer_to_the_login_is_waited_for(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    emulator.faults.login_delay = 0.2
    async with core.running(settings_for(emulator)):
        assert emulator.recorder.logins == 1


@pytest.mark.fact("Another version in the answer is warned about and used")
async def test_a_server_of_another_version_is_warned_about_and_used(
    core: Any, emulator: Emulator, settings_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = b"\x77\x77\0\0\0\1z" + b"\0\2\0\0\0\4\0\xc8\0\2"
    async with scripted(answer) as port, core.running(settings_for(emulator, push_port=port)):
        pass
    assert "gateways: the server speaks version 2, expected 1; going on" in caplog.text


async def test_five_thousand_events_travel_in_full_blocks(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator)):
        ids = await emulator.inject([Occurrence(*point(number)) for number in range(5000)])
        await emulator.recorder.until(lambda: len(emulator.recorder.acked) == len(ids))
    assert core.outlet.values == list(range(5000))
    assert emulator.recorder.blocks == 50


ATTACHED = bytes.fromhex("0002 00000004 00c8 0001")


def block(number: int, document: bytes, *, format_: int = 1) -> bytes:
    body = (
        number.to_bytes(2, "big")
        + bytes((0, 1, 0, format_))
        + len(document).to_bytes(4, "big")
        + document
    )
    return b"\0\3" + len(body).to_bytes(4, "big") + body


def point_document(value: int) -> bytes:
    return (
        b'{"Document":{"Msg":{"topic":"7603/DataPoint/test","DataPoint":{"streamId":"test","data":%d}}}}'
        % value
    )


@pytest.fixture
async def peer(monkeypatch: pytest.MonkeyPatch) -> trio.StapledStream:
    """The server's end of a connection in memory, so that the clock may jump."""
    ours, theirs = trio.testing.memory_stream_pair()

    @asynccontextmanager
    async def open_in_memory(_settings: Settings) -> AsyncIterator[trio.StapledStream]:
        async with ours:
            yield ours

    monkeypatch.setattr("bridge_plugins.idigi.push.session.open_stream", open_in_memory)
    theirs.of_client = ours  # type: ignore[attr-defined]
    return theirs


async def attending(core: Any, **changes: Any) -> Retry | Pause:
    """Holds one session and gives what ended it."""

    async def still_attached() -> bool:
        return True

    settings = Settings(username="user", password=Secret("pass"), **changes)
    with pytest.raises((Retry, Pause)) as caught:
        await attend(
            settings,
            core.context,
            5,
            attached=lambda: core.report("attached"),
            still_attached=still_attached,
        )
    return caught.value


@pytest.mark.fact("An answer to the login may take most of 60 s")
@pytest.mark.fact("60 s for the answer to the login, configurable")
@pytest.mark.parametrize(
    ("wait", "words"), [(59, "closed the connection"), (61, "not answered within 1m")]
)
async def test_a_login_may_take_most_of_a_minute(
    wait: float, words: str, core: Any, peer: Any, nursery: trio.Nursery, autojump_clock: Any
) -> None:
    async def answer() -> None:
        await trio.sleep(wait)
        await peer.send_all(ATTACHED)
        await peer.aclose()

    nursery.start_soon(answer)
    assert words in (await attending(core)).why


@pytest.mark.fact("What is held in memory is bounded by not reading the socket")
@pytest.mark.fact("Reading stops, and a long wait is a visible problem")
async def test_a_block_that_waits_long_is_a_problem_that_passes(
    core: Any, peer: Any, nursery: trio.Nursery, autojump_clock: Any
) -> None:
    core.outlet.gate = trio.Event()

    async def speak() -> None:
        await peer.send_all(ATTACHED + block(0, point_document(0)) + block(1, point_document(1)))
        await trio.sleep(29)
        assert core.report.said == [("attached", "")]
        await trio.sleep(2)
        text, problem = core.report.said[-1]
        assert text.endswith(
            "bytes has waited 30 s to be stored; nothing more is read until it is; look at "
            "the spool"
        )
        assert problem == "idigi-block-waits"
        assert core.outlet.attempts == 1
        core.outlet.gate.set()
        await core.outlet.until(lambda: core.outlet.values == [0, 1])
        await peer.send_eof()

    nursery.start_soon(speak)
    await attending(core)
    assert [text for text, _ in core.report.said[2:]] == ["attached"]
    sent = bytes(await peer.receive_some(1000))
    assert sent[-20:] == bytes.fromhex("0004 00000004 0000 00c8  0004 00000004 0001 00c8")


@pytest.mark.fact("After a cancelled or failed send the connection is dead")
async def test_an_ack_that_is_not_taken_ends_the_connection(
    core: Any, peer: Any, nursery: trio.Nursery, autojump_clock: Any
) -> None:
    await peer.send_all(ATTACHED + block(7, point_document(1)) + block(8, point_document(2)))
    sends = []

    async def stuck() -> None:
        sends.append("ack")
        if len(sends) > 1:  # the first is the login
            await trio.sleep_forever()

    peer.of_client.send_stream.send_all_hook = stuck
    verdict = await attending(core)
    assert verdict.why == "the server did not take an ack within 30s (timeout)"
    assert len(sends) == 2  # nothing follows an ack of which a part may have gone
    assert core.outlet.values == [1]


@pytest.mark.fact("Every ack has ten bytes, for ids 0 and 0xFFFF too, in both ack modes")
@pytest.mark.parametrize("number", [0, 0xFFFF])
async def test_every_block_id_is_acknowledged_with_ten_bytes(
    number: int, core: Any, peer: Any, nursery: trio.Nursery
) -> None:
    await peer.send_all(ATTACHED + block(number, point_document(1)))
    await peer.send_eof()
    await attending(core)
    assert (
        bytes(await peer.receive_some(1000))[-10:]
        == b"\0\4\0\0\0\4" + number.to_bytes(2, "big") + b"\0\xc8"
    )


@pytest.mark.fact("The document of a templated monitor is kept as it is")
async def test_the_document_of_a_template_is_kept_as_it_is(core: Any, peer: Any) -> None:
    await peer.send_all(ATTACHED + block(0, b'[{"id":"a"},]') + block(1, b'[{"end":1}]'))
    await peer.send_eof()
    await attending(core, template="{{#each events}}...{{/each}}")
    assert [event.kind for event in core.outlet.events] == ["templated", "templated"]
    assert b64decode(core.outlet.events[0].data["base64"]) == b'[{"id":"a"},]'
    assert core.outlet.events[1].data == [{"end": 1}]


@pytest.mark.fact("What the server sends again for want of an ack is acknowledged")
async def test_what_is_sent_again_for_want_of_an_ack_is_acknowledged(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.options.unacked, emulator.options.unacked_after = "resend", 0.02
    core.outlet.gate = trio.Event()
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: emulator.recorder.blocks >= 2)
        core.outlet.gate.set()
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert len({event.key for event in core.outlet.events}) == 1
    assert emulator.recorder.logins == 1
