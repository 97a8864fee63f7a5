"""The push port of the emulator, byte by byte: the ways in which it can misbehave."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from bridge_plugins.idigi.emulator.faults import Faults
from bridge_plugins.idigi.emulator.server import Emulator
from tests.plugins.idigi.push_client import (
    ELEMENTS,
    FRAMES,
    SHORT,
    connected,
    logged_in,
    points,
    publish,
    published,
    suspended,
)


@pytest.mark.fact("Faults: broken JSON, broken XML, DOCTYPE, digits, nesting, wrong shapes")
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("broken-json", '"data":1}}}'),
        ("broken-xml", '"data":1}}}'),
        ("doctype", "<!DOCTYPE Document [<!ENTITY"),
        ("long-number", "9" * 5000),
        ("no-document", "Dokument"),
        ("deep", "[[[["),
        ("not-an-object", "},17]"),
        ("bare-msg", '{"Msg":{"timestamp"'),
        ("bare-event", '{"timestamp"'),
    ],
)
async def test_a_document_can_be_wrong(emulator: Emulator, fault: Any, words: str) -> None:
    emulator.faults.blocks = [fault]
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        block = await published(emulator, client)
        assert words in block.text
        assert block.format == (fault not in ("broken-xml", "doctype"))
        assert (await published(emulator, client)).data == [1]


@pytest.mark.fact("Fault: XML with DOCTYPE before the events")
async def test_a_document_type_stands_before_a_document_in_xml(emulator: Emulator) -> None:
    emulator.faults.blocks = ["doctype"]
    emulator.account.create(ELEMENTS | {"monFormatType": "xml"})
    async with logged_in(emulator) as client:
        text = (await published(emulator, client)).text
    assert text.startswith("<!DOCTYPE")
    assert "<Msg topic=" in text


@pytest.mark.fact("Fault: text that is not UTF-8")
async def test_a_document_can_be_something_else_than_utf_8(emulator: Emulator) -> None:
    emulator.faults.blocks = ["not-utf8"]
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        with pytest.raises(UnicodeDecodeError):
            assert (await published(emulator, client)).text


def inflated(payload: bytes, wbits: int) -> tuple[bytes, bool, bytes]:
    stream = zlib.decompressobj(wbits)
    return stream.decompress(payload), stream.eof, stream.unused_data


@pytest.mark.fact("Faults: gzip container, raw deflate, trailing bytes, bomb, truncated, corrupt")
@pytest.mark.parametrize("compression", ["none", "zlib"])
async def test_a_payload_can_be_packed_wrongly(emulator: Emulator, compression: str) -> None:
    emulator.faults.bomb = 1 << 20
    emulator.faults.blocks = ["gzip", "raw-deflate", "trailing", "bomb", "truncated", "corrupt"]
    emulator.account.create(ELEMENTS | {"monCompression": compression})
    async with logged_in(emulator) as client:
        blocks = [await published(emulator, client) for _ in range(6)]
        assert (await published(emulator, client)).data == [1]
    gzip, raw, trailing, bomb, truncated, corrupt = [block.payload for block in blocks]
    assert {block.compression for block in blocks} == {1}
    assert gzip.startswith(b"\x1f\x8b")
    assert inflated(gzip, 31)[1]
    assert inflated(raw, -15)[1]
    assert inflated(trailing, 15)[2] == b"more"
    assert (len(inflated(bomb, 15)[0]), len(bomb) < 2000) == (1 << 20, True)
    assert not inflated(truncated, 15)[1]
    with pytest.raises(zlib.error):
        inflated(corrupt, 15)


@pytest.mark.fact("Faults: wrong Count, unknown compression, unknown format, odd id")
@pytest.mark.parametrize(
    ("fault", "frame"),
    [
        ("wrong-count", b"\0\0\0\2\0\1"),
        ("unknown-compression", b"\0\0\0\1\7\1"),
        ("unknown-format", b"\0\0\0\1\0\x09"),
        ("odd-id", b"\x80\0\0\1\0\1"),
    ],
)
async def test_a_number_of_a_block_can_be_wrong(
    emulator: Emulator, fault: Any, frame: bytes
) -> None:
    emulator.faults.blocks = [fault]
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await publish(emulator)
        assert (await client.frame())[6:12] == frame


@pytest.mark.fact("Faults: wrong PayloadSize, Size below 10, no block id, Size 0xFFFFFFFF")
async def test_the_sizes_of_a_block_can_be_wrong(emulator: Emulator) -> None:
    emulator.faults.blocks = ["wrong-payload-size", "short-size", "no-block-id", "oversized"]
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await publish(emulator)
        frame = await client.frame()
        assert int.from_bytes(frame[12:16]) == len(frame) - 16 + 1
        await publish(emulator)
        assert await client.frame() == b"\0\3\0\0\0\4\0\1\0\1"
        await publish(emulator)
        assert await client.frame() == b"\0\3\0\0\0\1\0"
        await publish(emulator)
        assert await client.exactly(6) == b"\0\3\xff\xff\xff\xff"


async def test_one_ack_is_enough_for_a_block_that_came_twice(emulator: Emulator) -> None:
    emulator.faults.blocks = ["repeated"]
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await client.acknowledge(await published(emulator, client))
        await emulator.recorder.until(lambda: emulator.recorder.acked == {0})
    await suspended(emulator)
    async with logged_in(emulator) as client:
        assert await client.nothing_comes()


@pytest.mark.fact("Fault: one id for two blocks")
async def test_an_id_can_be_used_twice(
    emulator: Emulator,
) -> None:
    emulator.faults.blocks = ["wrong-count", "same-id"]
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        first, second = await published(emulator, client), await published(emulator, client)
        assert first.id == second.id
        await client.acknowledge(first)
        await emulator.recorder.until(lambda: emulator.recorder.acked == {0})
        await client.acknowledge(second)
        await emulator.recorder.until(lambda: emulator.recorder.acked == {0, 1})


@pytest.mark.fact("Fault: a duplicate block, with the same id or another")
@pytest.mark.parametrize(("fault", "ids"), [("repeated", [0, 0]), ("duplicate", [0, 1])])
async def test_a_block_can_come_twice_with_the_same_id_or_another(
    emulator: Emulator, fault: Any, ids: list[int]
) -> None:
    emulator.faults.blocks = [fault]
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await publish(emulator)
        blocks = [await client.block(), await client.block()]
        assert ([block.id for block in blocks], blocks[0].text) == (ids, blocks[1].text)
        for block in blocks:
            await client.acknowledge(block)
        await emulator.recorder.until(lambda: emulator.recorder.full_acks == 2)
    assert (emulator.recorder.stray_acks, emulator.recorder.times_sent[0]) == (0, 2)


@pytest.mark.fact("Fault: null and other empty documents")
@pytest.mark.parametrize(
    ("fault", "document"),
    [
        ("keep-alive", '{"Document":null}'),
        ("keep-alive-text", '{"Document":""}'),
        ("keep-alive-object", '{"Document":{}}'),
        ("keep-alive-list", '{"Document":{"Msg":[]}}'),
    ],
)
async def test_a_document_without_events_can_come_before_a_block(
    emulator: Emulator, fault: Any, document: str
) -> None:
    emulator.faults.blocks = [fault]
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        empty = await published(emulator, client)
        assert (empty.text, empty.count) == (document, 0)
        assert (await client.block()).data == [1]


@pytest.mark.fact("Fault: unknown frame types, a second ConnectResponse")
@pytest.mark.parametrize(
    ("fault", "frame"),
    [
        ("unknown-frame", b"\x09\x99\0\0\0\x11nobody knows this"),
        ("second-answer", FRAMES["V3a"]),
        ("oversized-unknown", b"\x09\x99\xff\xff\xff\xff"),
    ],
)
async def test_a_frame_out_of_place_can_come_before_a_block(
    emulator: Emulator, fault: Any, frame: bytes
) -> None:
    emulator.faults.blocks = [fault]
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await publish(emulator)
        assert await client.exactly(len(frame)) == frame
        assert (await client.block()).data == [1]


@pytest.mark.fact("Fault: short, long, double ConnectResponse, another version, a block before it")
@pytest.mark.parametrize(
    ("login", "answer"),
    [
        ("short", b"\0\2\0\0\0\2\0\xc8"),
        ("long", b"\0\2\0\0\0\x0c\0\xc8\0\1and more"),
        ("twice", FRAMES["V3a"] * 2),
        ("other-version", b"\0\2\0\0\0\4\0\xc8\0\2"),
        ("block-first", b'\0\3\0\0\0\x1b\0\0\0\0\0\1\0\0\0\x11{"Document":null}' + FRAMES["V3a"]),
        ("unknown-first", b"\x09\x99\0\0\0\x11nobody knows this" + FRAMES["V3a"]),
    ],
)
async def test_the_answer_to_a_login_can_be_wrong(
    emulator: Emulator, login: Any, answer: bytes
) -> None:
    emulator.faults.login = login
    emulator.account.create(ELEMENTS)
    async with connected(emulator.push_port) as client:
        assert await client.exactly(len(answer)) == answer


@pytest.mark.fact("Fault: no or slow ConnectResponse")
async def test_the_answer_to_a_login_can_be_missing_or_slow(emulator: Emulator) -> None:
    emulator.faults.sessions = [
        Faults(login="silent"),
        Faults(login="closed"),
        Faults(login_delay=SHORT),
    ]
    emulator.account.create(ELEMENTS)
    async with connected(emulator.push_port) as client:
        assert await client.nothing_comes()
    async with connected(emulator.push_port) as client:
        assert await client.ended() == "closed"
    async with logged_in(emulator):
        pass


@pytest.mark.fact("Fault: any status, and the socket kept open after a refusal")
@pytest.mark.parametrize("status", [1, 400, 403, 500])
async def test_any_status_can_be_answered_and_the_connection_kept_open(
    emulator: Emulator, status: int
) -> None:
    emulator.faults.sessions = [Faults(refuse=status, keep_refused=True)]
    emulator.account.create(ELEMENTS)
    async with connected(emulator.push_port) as client:
        assert (await client.frame())[6:8] == status.to_bytes(2)
        assert await client.nothing_comes()
    async with logged_in(emulator):  # the fault was for one login
        pass


@pytest.mark.fact("Faults of one session, and of the next N logins")
async def test_faults_of_one_session_leave_the_others_alone(emulator: Emulator) -> None:
    monitor = emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await emulator.recorder.until(lambda: bool(monitor.attachments))
        monitor.attachments[0].faults = Faults(blocks=["wrong-count"])
        assert (await published(emulator, client)).count == 2
    await suspended(emulator)
    async with logged_in(emulator) as client:
        assert (await client.block()).count == 1


@pytest.mark.fact("Fault: drop before or after an ack or within a frame, by FIN or RST")
@pytest.mark.parametrize(
    ("drop", "acked"), [("before-ack", set()), ("after-ack", {0}), ("mid-frame", set())]
)
@pytest.mark.parametrize(("how", "heard"), [("close", "closed"), ("reset", "reset")])
async def test_a_session_can_break_at_any_point_once(
    emulator: Emulator, drop: Any, acked: set[int], how: Any, heard: str
) -> None:
    emulator.faults.drop, emulator.faults.drop_how = drop, how
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await publish(emulator)
        if drop == "after-ack":
            await client.acknowledge(await client.block())
        assert await client.ended() == heard
    await suspended(emulator)
    assert emulator.recorder.acked == acked
    await publish(emulator, 2)
    async with logged_in(emulator) as client:
        assert (await client.block()).data == ([2] if acked else [1, 2])


@pytest.mark.fact("Fault: half-open before or after an ack")
@pytest.mark.parametrize("drop", ["before-ack", "after-ack"])
async def test_a_session_can_fall_silent_at_any_point(emulator: Emulator, drop: Any) -> None:
    emulator.faults.drop, emulator.faults.drop_how = drop, "mute"
    monitor = emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await client.acknowledge(await published(emulator, client))
        await publish(emulator, 2)
        assert await client.nothing_comes()
        assert monitor.status == "ACTIVE"
    await emulator.recorder.until(lambda: monitor.status == "SUSPENDED")


@pytest.mark.fact("Fault: strictness about acks")
@pytest.mark.parametrize("sent", [FRAMES["V8"], FRAMES["V7b"]])
async def test_strictness_closes_at_a_short_or_stray_ack(emulator: Emulator, sent: bytes) -> None:
    emulator.faults.strict_acks = True
    emulator.options.first_block_id = 1
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await published(emulator, client)
        await client.stream.send_all(sent)
        await client.ended()
    await emulator.recorder.until(lambda: emulator.recorder.protocol_errors == 1)


@pytest.mark.fact("Fault: response and blocks in one write")
async def test_everything_ready_can_come_in_one_write(
    emulator: Emulator,
) -> None:
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator):
        pass
    await suspended(emulator)
    await emulator.inject(points(range(6)))
    emulator.faults.coalesce = True
    async with connected(emulator.push_port) as client:
        together = await client.stream.receive_some(65536)
    assert together.startswith(FRAMES["V3a"] + b"\0\3")
    assert together.count(b'{"Document":') == 3


@pytest.mark.fact("Fault: byte by byte, with unknown frames between")
async def test_frames_can_come_byte_by_byte_with_unknown_ones_between(emulator: Emulator) -> None:
    emulator.faults.fragment, emulator.faults.unknown_frames = 1, True
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await publish(emulator)
        assert await client.frame() == b"\x09\x99\0\0\0\x11nobody knows this"
        assert (await client.block()).data == [1]


@pytest.mark.fact("Fault: the gzip container for a whole session")
async def test_the_gzip_container_can_replace_zlib(emulator: Emulator) -> None:
    emulator.faults.gzip = True
    emulator.account.create(ELEMENTS | {"monCompression": "zlib"})
    async with logged_in(emulator) as client:
        assert (await published(emulator, client)).payload.startswith(b"\x1f\x8b")
