"""The frames of the push protocol, byte for byte."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_plugins.idigi.push.protocol import (
    Block,
    ConnectResponse,
    Frame,
    ProtocolError,
    Reader,
    Skipped,
    UndecodableError,
    encode_ack,
    encode_connect_request,
    inflate,
    unpack,
)

LIMIT = 1 << 20
FRAMES = {
    frame["name"]: frame
    for frame in json.loads((Path(__file__).parents[3] / "data" / "idigi_frames.json").read_text())
}
ANSWER = bytes.fromhex(FRAMES["V3a"]["hex"])


def golden(name: str) -> tuple[bytes, dict[str, Any]]:
    return bytes.fromhex(FRAMES[name]["hex"]), FRAMES[name]["decoded"]


def read_all(*pieces: bytes, limit: int = LIMIT) -> tuple[list[Frame], str | None]:
    """Feed pieces; returns the frames, and the error that ended the stream."""
    reader = Reader(limit)
    frames: list[Frame] = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (frame := reader.next_frame()) is not None:
                frames.append(frame)
    except ProtocolError as exc:
        return frames, str(exc)
    return frames, None


def block_frame(
    payload: bytes, *, size: int | None = None, compression: int = 0, format_: int = 1
) -> bytes:
    stated = len(payload) if size is None else size
    return (
        struct.pack(">HIHHBBI", 3, 10 + len(payload), 7, 1, compression, format_, stated) + payload
    )


@pytest.mark.parametrize("name", ["V1", "V2"])
def test_the_login_is_byte_for_byte_the_documented_one(name: str) -> None:
    raw, decoded = golden(name)
    assert (
        encode_connect_request(decoded["user_name"], decoded["password"], decoded["monitor_id"])
        == raw
    )


@pytest.mark.fact("UTF-8 byte lengths")
def test_the_login_counts_the_bytes_of_names_that_are_not_ascii() -> None:
    raw = encode_connect_request("jürgen", "pä:ß€", 1)
    assert (
        raw[6:]
        == b"\x00\x01\x00\x07j\xc3\xbcrgen\x00\x09p\xc3\xa4:\xc3\x9f\xe2\x82\xac\x00\x00\x00\x01"
    )
    assert struct.unpack(">HI", raw[:6]) == (1, len(raw) - 6)


@pytest.mark.parametrize("name", ["V7a", "V7b"])
def test_an_ack_is_byte_for_byte_the_documented_one(name: str) -> None:
    raw, decoded = golden(name)
    assert encode_ack(decoded["data_block_id"]) == raw


@pytest.mark.fact("Unsigned sizes and ids")
@pytest.mark.parametrize("block_id", [0, 0x7FFF, 0x8000, 0xFFFF])
def test_every_block_id_can_be_received_and_acknowledged(block_id: int) -> None:
    frame = bytearray(block_frame(b"{}"))
    frame[6:8] = block_id.to_bytes(2, "big")
    frames, _ = read_all(ANSWER + bytes(frame))
    assert isinstance(frames[1], Block)
    assert encode_ack(frames[1].id) == b"\0\4\0\0\0\4" + block_id.to_bytes(2, "big") + b"\0\xc8"


@pytest.mark.parametrize("name", ["V3a", "V3b"])
def test_the_documented_answers_to_a_login_are_read(name: str) -> None:
    raw, decoded = golden(name)
    assert read_all(raw) == (
        [ConnectResponse(decoded["status"], decoded["protocol_version"])],
        None,
    )


@pytest.mark.parametrize("name", ["V4", "V5"])
def test_the_documented_blocks_are_read(name: str) -> None:
    raw, decoded = golden(name)
    frames, _ = read_all(ANSWER + raw)
    block = frames[1]
    assert isinstance(block, Block)
    assert block.id == decoded["data_block_id"]
    assert block.frame == raw
    assert block.compressed is bool(decoded["compression"])
    content = unpack(block, LIMIT)
    assert (content.count, content.format) == (decoded["count"], decoded["format"])
    assert content.document.decode() == decoded["payload_text"]


STREAMS = st.lists(
    st.one_of(
        st.sampled_from([golden("V4")[0], golden("V5")[0], block_frame(b"")]),
        st.builds(
            lambda kind, body: struct.pack(">HI", kind, len(body)) + body,
            st.integers(0, 0xFFFF),
            st.binary(max_size=40),
        ),
        st.binary(max_size=12),
    ),
    max_size=6,
).map(b"".join)


@pytest.mark.fact("Any cut gives the same frames")
@given(stream=STREAMS, cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_a_stream_cut_anywhere_gives_the_same_frames(stream: bytes, cuts: list[int]) -> None:
    whole = ANSWER + stream
    places = sorted({0, len(whole), *(cut % len(whole) for cut in cuts)})
    pieces = [whole[start:end] for start, end in pairwise(places)]
    assert read_all(*pieces, limit=1000) == read_all(whole, limit=1000)


def test_a_stream_read_byte_by_byte_gives_the_same_frames() -> None:
    whole = ANSWER + golden("V4")[0] + struct.pack(">HI", 0x99, 3) + b"abc" + golden("V5")[0]
    frames, failure = read_all(whole)
    assert [type(frame) for frame in frames] == [ConnectResponse, Block, Skipped, Block]
    assert read_all(*(whole[i : i + 1] for i in range(len(whole)))) == (frames, failure)


def test_an_unknown_frame_before_the_answer_is_skipped() -> None:
    assert read_all(struct.pack(">HI", 9, 2) + b"xx" + ANSWER)[0] == [
        Skipped(9, 2),
        ConnectResponse(200, 1),
    ]


def test_a_long_unknown_frame_is_skipped_without_being_stored() -> None:
    reader = Reader(LIMIT)
    reader.feed(struct.pack(">HI", 9, LIMIT))
    for _ in range(LIMIT // 65536):
        assert reader.next_frame() is None
        reader.feed(bytes(65536))
        assert len(reader._buffer) <= 65536
    assert reader.next_frame() == Skipped(9, LIMIT)
    assert len(reader._buffer) == 0


@pytest.mark.parametrize("kind", [3, 9])
def test_a_frame_above_the_limit_is_refused_by_its_header(kind: int) -> None:
    body = block_frame(bytes(90))[6:]
    assert read_all(ANSWER + struct.pack(">HI", kind, 100) + body, limit=100)[1] is None
    frames, failure = read_all(ANSWER + struct.pack(">HI", kind, 101), limit=100)
    assert frames == [ConnectResponse(200, 1)]
    assert failure == (
        "a frame of 101 bytes was announced, the limit is 100 (frame_limit); raise it if "
        "such blocks are to be read"
    )


@pytest.mark.fact("The largest size is no negative number")
def test_the_largest_size_is_not_a_negative_number() -> None:
    assert "4294967295 bytes" in str(read_all(ANSWER + b"\0\3\xff\xff\xff\xff")[1])


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (golden("V5")[0], "before it answered"),
        (ANSWER + ANSWER, "twice"),
        (b"\0\2\0\0\0\2\0\xc8", "has 2 bytes, expected 4"),
        (ANSWER + b"\0\3\0\0\0\1\0", "no id"),
        (ANSWER + encode_ack(1), "type 4"),
        (encode_connect_request("a", "b", 1), "type 1"),
    ],
)
def test_broken_framing_ends_the_connection(stream: bytes, words: str) -> None:
    assert words in str(read_all(stream)[1])


def test_broken_framing_is_said_again_at_every_later_call() -> None:
    reader = Reader(LIMIT)
    reader.feed(golden("V5")[0])
    for _ in range(2):
        with pytest.raises(ProtocolError):
            reader.next_frame()


def test_a_longer_answer_is_read_by_its_first_four_bytes() -> None:
    assert read_all(b"\0\2\0\0\0\6\0\xc8\0\1zz" + golden("V5")[0])[0][0] == ConnectResponse(200, 1)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"\0\3\0\0\0\2\0\7", "has 2 bytes, expected 10"),
        (block_frame(b"{}", size=3), "says that its payload has 3 bytes, but it has 2"),
        (block_frame(b"{}", size=1), "says that its payload has 1 bytes, but it has 2"),
        (block_frame(b"{}", compression=2), "compression 2"),
        (block_frame(b"{}", format_=2), "format 2"),
        (block_frame(b"{}", compression=1), "cannot be decompressed"),
    ],
)
def test_a_block_without_sense_leaves_later_frames_readable(frame: bytes, words: str) -> None:
    frames, failure = read_all(ANSWER + frame + golden("V5")[0])
    assert failure is None
    broken, after = frames[1], frames[2]
    assert isinstance(broken, Block)
    assert isinstance(after, Block)
    assert broken.frame == frame
    with pytest.raises(UndecodableError, match=words):
        unpack(broken, LIMIT)
    assert unpack(after, LIMIT).count == 1


def test_zlib_is_inflated_and_gzip_is_tolerated() -> None:
    assert inflate(zlib.compress(b"text"), LIMIT) == b"text"
    assert inflate(gzip.compress(b"text"), LIMIT) == b"text"


@pytest.mark.fact("Raw deflate kept as poison")
def test_raw_deflate_is_refused() -> None:
    raw = zlib.compressobj(wbits=-15)
    with pytest.raises(UndecodableError, match="cannot be decompressed"):
        inflate(raw.compress(b"text" * 9) + raw.flush(), LIMIT)


@pytest.mark.parametrize("cut", [1, 4, 8])
def test_a_compressed_payload_that_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(UndecodableError, match="cut off"):
        inflate(zlib.compress(b"some text")[:-cut], LIMIT)


def test_bytes_after_the_compressed_payload_are_refused() -> None:
    with pytest.raises(UndecodableError, match="followed by 2 other bytes"):
        inflate(zlib.compress(b"text") + b"zz", LIMIT)


@pytest.mark.fact("Inflation capped")
def test_inflation_stops_at_the_limit() -> None:
    assert inflate(zlib.compress(bytes(1000)), 1000) == bytes(1000)
    with pytest.raises(UndecodableError, match="longer than 1000 when"):
        inflate(zlib.compress(bytes(1001)), 1000)
    with pytest.raises(UndecodableError, match="longer than 1000 when"):
        inflate(zlib.compress(bytes(50_000_000)), 1000)


@given(payload=st.binary(max_size=60))
def test_any_payload_is_inflated_or_refused(payload: bytes) -> None:
    try:
        inflate(payload, 1000)
    except UndecodableError:
        pass


def test_no_password_shows_when_a_block_is_printed() -> None:
    assert "secret" not in repr(Block(1, b"secret"))
