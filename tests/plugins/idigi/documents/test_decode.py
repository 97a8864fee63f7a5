"""JSON documents: from the payload of a block to events and readings."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Event, Pause, Secret, Size, Url, encode
from bridge.api import decode as decode_stored
from bridge_plugins.idigi.documents.decode import Decoded, decode, event_of
from bridge_plugins.idigi.documents.json import parse_exactly
from bridge_plugins.idigi.push.protocol import (
    PROTOCOL_VERSION,
    Block,
    ConnectResponse,
    Reader,
    encode_ack,
    encode_connect_request,
    unpack,
)
from bridge_plugins.idigi.push.session import attend
from bridge_plugins.idigi.settings import Settings
from tests.plugins.known_again import assert_known_again

NOW = datetime(2024, 5, 2, 12, tzinfo=UTC)
DEVICE = "00000000-00000000-00409DFF-FF000001"
OTHER = "00000000-00000000-00409DFF-FF000002"
GOLDEN = {
    frame["name"]: frame
    for frame in json.loads((Path(__file__).parents[3] / "data" / "idigi_frames.json").read_text())
}


def read(document: Any, *, count: int = 1, block_id: int = 7, format_: int = 1) -> Decoded:
    text = document if isinstance(document, bytes) else orjson.dumps(document)
    body = struct.pack(">HHBBI", block_id, count, 0, format_, len(text)) + text
    read_at = partial(decode, Block(block_id, body), inflate_limit=1 << 20)
    assert_known_again(lambda received: read_at(received).events, NOW)
    return read_at(NOW)


def one(message: dict[str, Any]) -> Event:
    (event,) = read({"Document": {"Msg": message}}).events
    assert decode_stored(encode(event)) == event
    return event


def point(topic: str = f"7603/DataPoint/{DEVICE}/metrics/level", **fields: Any) -> dict[str, Any]:
    return {
        "timestamp": "2024-05-02T10:11:12.345Z",
        "topic": topic,
        "operation": "INSERTION",
        "group": "*",
        "DataPoint": {
            "streamId": f"{DEVICE}/metrics/level",
            "data": 1.5,
            "timestamp": 1434307047694,
            **fields,
        },
    }


@pytest.mark.fact("Golden blocks decode to exactly what is written about them")
@pytest.mark.parametrize("name", ["V4", "V5"])
def test_a_golden_block_is_what_is_written_about_it(name: str) -> None:
    frame, told = bytes.fromhex(GOLDEN[name]["hex"]), GOLDEN[name]["decoded"]
    kind, size, block_id = struct.unpack_from(">HIH", frame)
    block = Block(block_id, frame[6:])
    content = unpack(block, 1 << 20)
    assert parse_exactly(content.document) == told["payload"]
    assert {
        "type": kind,
        "size": size,
        "data_block_id": block.id,
        "count": content.count,
        "compression": int(block.compressed),
        "format": content.format,
        "payload_size": len(frame) - 16,
        "payload_length_inflated": len(content.document),
        "payload_text": content.document.decode(),
        "payload": told["payload"],
    } == told
    assert block.frame == frame
    messages = told["payload"]["Document"]["Msg"]
    decoded = decode(block, NOW, inflate_limit=1 << 20)
    assert [event.data for event in decoded.events] == (
        messages if isinstance(messages, list) else [messages]
    )
    assert (decoded.remarks, decoded.poison) == ((), None)


@pytest.mark.fact("Every other golden frame is what is written about it; V8 is never sent")
@pytest.mark.parametrize("name", [name for name in GOLDEN if name not in ("V4", "V5")])
def test_every_other_golden_frame_is_what_is_written_about_it(name: str) -> None:
    frame, told = bytes.fromhex(GOLDEN[name]["hex"]), GOLDEN[name]["decoded"]
    if told["type"] == 1:
        assert (
            encode_connect_request(told["user_name"], told["password"], told["monitor_id"]) == frame
        )
        assert told == {
            "type": 1,
            "size": len(frame) - 6,
            "protocol_version": PROTOCOL_VERSION,
            "user_name_len": len(told["user_name"]),
            "user_name": told["user_name"],
            "password_len": len(told["password"]),
            "password": told["password"],
            "monitor_id": told["monitor_id"],
        }
    elif told["type"] == 2:
        reader = Reader(1024)
        reader.feed(frame)
        assert reader.next_frame() == ConnectResponse(told["status"], told["protocol_version"])
        assert told["size"] == len(frame) - 6
    else:
        assert (told["type"], told["status"]) == (4, 200)
        written = encode_ack(told["data_block_id"])
        assert (written == frame) == told.get("well_formed", True)
        assert len(written) == 10


def test_the_golden_frames_are_all_there() -> None:
    assert list(GOLDEN) == ["V1", "V2", "V3a", "V3b", "V4", "V5", "V7a", "V7b", "V8"]


@pytest.mark.fact("The events of the golden blocks")
def test_the_documented_blocks_give_their_data_points() -> None:
    events = [
        event
        for name in ("V4", "V5")
        for event in decode(
            Block(1, bytes.fromhex(GOLDEN[name]["hex"])[6:]), NOW, inflate_limit=1 << 20
        ).events
    ]
    assert [event.kind for event in events] == ["DataPoint"] * 3
    assert [event.device for event in events] == ["test"] * 3
    assert [reading.value for event in events for reading in event.readings] == [
        0.411700824929,
        21,
        "single",
    ]
    assert [reading.signal for event in events for reading in event.readings] == ["test"] * 3
    assert events[0].readings[0].time == datetime(2015, 6, 14, 18, 37, 27, 694_000, UTC)
    assert events[0].time == datetime(2015, 6, 14, 18, 37, 27, 815_000, UTC)
    assert events[0].data == GOLDEN["V4"]["decoded"]["payload"]["Document"]["Msg"][0]
    assert len({event.key for event in events}) == 3


MESSAGE = point()


@pytest.mark.fact(
    "Msg is an object, a list, null, empty; bare Msg; bare event; root list; keep-alives",
)
@pytest.mark.fact("Object, list, null, bare Msg, root list")
@pytest.mark.parametrize(
    ("document", "number"),
    [
        ({"Document": {"Msg": MESSAGE}}, 1),
        ({"Document": {"Msg": [MESSAGE, MESSAGE]}}, 2),
        ({"Document": {"Msg": []}}, 0),
        ({"Document": {"Msg": None}}, 0),
        ({"Document": None}, 0),
        ({"Document": ""}, 0),
        ({"Document": {}}, 0),
        ({"Msg": MESSAGE}, 1),
        ({"Msg": [MESSAGE]}, 1),
        (MESSAGE, 1),
        ([MESSAGE, MESSAGE], 2),
    ],
)
def test_every_shape_of_a_document_is_read(document: Any, number: int) -> None:
    decoded = read(document, count=number)
    assert [event.readings[0].value for event in decoded.events] == [1.5] * number
    assert decoded.remarks == ()


@pytest.mark.fact("Several events come in order")
def test_events_keep_the_order_of_the_block() -> None:
    messages = [point(data=number) for number in range(50)]
    events = read({"Document": {"Msg": messages}}, count=50).events
    assert [event.readings[0].value for event in events] == list(range(50))


@pytest.mark.fact("A wrong Count is logged and harms nothing")
def test_a_wrong_count_is_remarked_and_harms_nothing() -> None:
    decoded = read({"Document": {"Msg": MESSAGE}}, count=3)
    assert len(decoded.events) == 1
    assert decoded.remarks == ("the block says that it holds 3 events, but it holds 1",)


@pytest.mark.fact("Topic parts are percent-decoded after splitting, + is a blank")
@pytest.mark.fact("With stream forwarding streamId may differ from the topic")
@pytest.mark.parametrize(
    ("topic", "stream_id", "device", "signal"),
    [
        (
            f"7603/DataPoint/{DEVICE}/metrics/level",
            f"{DEVICE}/metrics/level",
            DEVICE,
            "metrics/level",
        ),
        ("7603/DataPoint/test", "test", "test", "test"),
        (
            "7603/DataPoint/dia/channel/x/DIO/0",
            "dia/channel/x/DIO/0",
            "dia/channel/x/DIO/0",
            "dia/channel/x/DIO/0",
        ),
        ("7603/DataPoint/forwarded", f"{DEVICE}/level", DEVICE, "level"),
        (f"7603/DataPoint/{DEVICE}/level", f"{OTHER}/level", DEVICE, "level"),
        (f"7603/DataPoint/{DEVICE}/level", None, DEVICE, "level"),
        ("7603/DataPoint/a%2Fb+c", None, "a/b c", "a/b c"),
        (None, f"{DEVICE}/level", DEVICE, "level"),
        (f"7603/DataPoint/{DEVICE}", DEVICE, DEVICE, DEVICE),
    ],
)
def test_a_data_point_knows_its_device_and_its_signal(
    topic: str | None, stream_id: str | None, device: str, signal: str
) -> None:
    message = point(streamId=stream_id)
    message["topic"] = topic
    event = one(message)
    assert (event.kind, event.device, event.readings[0].signal) == ("DataPoint", device, signal)


@pytest.mark.fact("Data of every JSON type")
@pytest.mark.parametrize(
    ("data", "stream_type", "value"),
    [
        (1.5, None, 1.5),
        (21, "INTEGER", 21),
        (True, None, True),
        ("on", "STRING", "on"),
        ("21", "STRING", "21"),
        ("21", None, "21"),
        ("21", "INTEGER", 21),
        ("-9007199254740993", "LONG", -9007199254740993),
        (9007199254740993, "LONG", 9007199254740993),
        ("99999999999999999999", "LONG", "99999999999999999999"),
        ("18446744073709551615", "LONG", 18446744073709551615),
        ("18446744073709551616", "LONG", "18446744073709551616"),
        (" 21\n", "integer", 21),
        ("0.4117", "FLOAT", 0.4117),
        ("21", "DOUBLE", 21),
        ("99999999999999999999", "DOUBLE", 1e20),
        ("1e3", "DOUBLE", 1000.0),
        ("1e999", "DOUBLE", "1e999"),
        ("0.12345678901234567890123", "DOUBLE", 0.12345678901234568),
        ("NaN", "FLOAT", "NaN"),
        ("21", ["INTEGER"], "21"),
    ],
)
def test_a_value_is_what_json_says_and_numbers_stay_exact(
    data: Any, stream_type: Any, value: Any
) -> None:
    (reading,) = one(point(data=data, streamType=stream_type)).readings
    assert reading.value == value
    assert type(reading.value) is type(value)


@pytest.mark.fact("Data that is no value is kept whole")
@pytest.mark.parametrize("data", [None, [1], {"lat": 1}])
def test_data_that_is_no_value_is_kept_whole_without_a_reading(data: Any) -> None:
    event = one(point(data=data))
    assert event.readings == ()
    assert event.data["DataPoint"]["data"] == data


@pytest.mark.fact("streamUnits may be empty")
def test_a_unit_is_taken_where_there_is_one() -> None:
    assert one(point(streamUnits="°C")).readings[0].unit == "°C"
    assert one(point(streamUnits="")).readings[0].unit is None


@pytest.mark.fact("DataPoint times are integer milliseconds")
def test_times_fall_back_from_device_to_server_to_receipt() -> None:
    stamped = datetime(2024, 5, 2, 10, 11, 12, 345_000, UTC)
    message = point(timestamp="soon", serverTimestamp=1434307047000)
    assert one(message).readings[0].time == datetime(2015, 6, 14, 18, 37, 27, tzinfo=UTC)
    message = point(timestamp=10**18, serverTimestamp=True)
    assert one(message).readings[0].time == stamped
    message["timestamp"] = "yesterday"
    assert (one(message).time, one(message).readings[0].time) == (NOW, NOW)
    message = point()
    del message["timestamp"]
    assert (
        one(message).time
        == one(message).readings[0].time
        == datetime(2015, 6, 14, 18, 37, 27, 694_000, UTC)
    )


@pytest.mark.fact("Envelope times are ISO 8601, with or without milliseconds")
@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-05-02T10:11:12Z", datetime(2024, 5, 2, 10, 11, 12, tzinfo=UTC)),
        ("2024-05-02T10:11:12.5Z", datetime(2024, 5, 2, 10, 11, 12, 500_000, UTC)),
        ("2024-05-02T12:11:12+02:00", datetime(2024, 5, 2, 10, 11, 12, tzinfo=UTC)),
        ("2024-05-02T10:11:12", datetime(2024, 5, 2, 10, 11, 12, tzinfo=UTC)),
        ("0001-01-01T00:00:00+10:00", NOW),
        (5, NOW),
    ],
)
def test_the_time_of_an_event_is_read(text: Any, time: datetime) -> None:
    assert one({"timestamp": text, "topic": "7603/Job/1"}).time == time


@pytest.mark.fact("devConnectwareId is the device id")
@pytest.mark.parametrize(
    ("topic", "entity_key", "entity", "kind", "device"),
    [
        ("DeviceCore/7201/0", "DeviceCore", {"devConnectwareId": DEVICE}, "DeviceCore", DEVICE),
        (
            "DeviceCore/7201/0",
            "DeviceCore",
            {"devMac": "00:40:9D"},
            "DeviceCore",
            "7603/DeviceCore/7201/0",
        ),
        (
            "AlarmStatus/4711",
            "AlarmStatus",
            {"devConnectwareId": DEVICE, "id": {"almId": 1}},
            "AlarmStatus",
            DEVICE,
        ),
        (
            "AlarmStatus/4711",
            "AlarmStatus",
            {"id": {"almsSourceEntityId": f"{DEVICE}/x"}},
            "AlarmStatus",
            DEVICE,
        ),
        (
            "alert_status/1",
            "alert_status",
            {"id": 1, "device_name": DEVICE},
            "alert_status",
            DEVICE,
        ),
        (
            f"alert_status/1/aggregate-throttle%2F{DEVICE}",
            "alert_status",
            {"id": 1},
            "alert_status",
            DEVICE,
        ),
        ("alert_status/1", "alert_status", {"source": f"{DEVICE}/level"}, "alert_status", DEVICE),
        (f"devices/{DEVICE}", "device", {"id": OTHER}, "devices", OTHER),
        (f"FileData/db/7603_Example/{DEVICE}/a.txt", "FileData", {"fdSize": 3}, "FileData", DEVICE),
        ("FileData/db/x.txt", "FileData", {"fdSize": 3}, "FileData", "7603/FileData/db/x.txt"),
        (
            "DiaChannelDataFull/1",
            "DiaChannelDataFull",
            {"id": {"devConnectwareId": DEVICE}},
            "DiaChannelDataFull",
            DEVICE,
        ),
        ("Brandnew/1", "whatever", [1, 2], "Brandnew", "7603/Brandnew/1"),
        ("Brandnew/1", "whatever", 3, "Brandnew", "7603/Brandnew/1"),
    ],
)
def test_other_topics_are_kept_whole_and_know_their_device(
    topic: str, entity_key: str, entity: Any, kind: str, device: str
) -> None:
    message = {"topic": f"7603/{topic}", "operation": "UPDATE", entity_key: entity}
    event = one(message)
    assert (event.kind, event.device, event.readings, event.data) == (kind, device, (), message)


@pytest.mark.fact(
    "The entity is the key that is none of the envelope; any envelope field may be missing",
)
@pytest.mark.fact("The entity may be a scalar, a list or absent")
@pytest.mark.fact("Missing and extra fields tolerated")
@pytest.mark.parametrize(
    ("message", "kind", "device"),
    [
        ({}, "event", "unknown"),
        ({"end": 1}, "end", "unknown"),
        ({"a": 1, "b": 2}, "event", "unknown"),
        ({"topic": 5, "DataPoint": {"data": 1}}, "DataPoint", "unknown"),
        ({"topic": "7603/Job/1"}, "Job", "7603/Job/1"),
        ({"topic": "alone", "Job": {}}, "Job", "alone"),
        (
            {"topic": "7603/DeviceCore/1", "extra": 1, "DeviceCore": {"devConnectwareId": DEVICE}},
            "DeviceCore",
            DEVICE,
        ),
        ({"topic": "7603/DataPoint/x", "DataPoint": "text"}, "DataPoint", "7603/DataPoint/x"),
    ],
)
def test_an_object_with_missing_or_extra_fields_passes_through(
    message: dict[str, Any], kind: str, device: str
) -> None:
    event = one(message)
    assert (event.kind, event.device, event.data) == (kind, device, message)


@pytest.mark.fact(
    "INSERTION = INSERT = CREATE, DELETE = DELETION, without case; unknown words kept",
)
def test_the_labels_speak_one_language() -> None:
    event = one(point() | {"replay": True})
    assert event.labels == {
        "topic": f"7603/DataPoint/{DEVICE}/metrics/level",
        "operation": "create",
        "group": "*",
        "replay": "true",
        "stream": f"{DEVICE}/metrics/level",
    }
    words = ["INSERTION", "insert", "create", "Update", "DELETION", "delete", "Frobnicate"]
    labels = [one({"topic": "7603/Job/1", "operation": word}).labels["operation"] for word in words]
    assert labels == ["create", "create", "create", "update", "delete", "delete", "Frobnicate"]


@pytest.mark.fact("The event key leaves out replay")
@pytest.mark.fact("What comes again after a reconnect is known by its key")
def test_a_replayed_event_has_the_key_of_the_first_one() -> None:
    assert one(MESSAGE | {"replay": True}).key == one(MESSAGE).key
    assert one(dict(reversed(MESSAGE.items()))).key == one(MESSAGE).key


@pytest.mark.fact("The event key is made of topic, operation, timestamp and entity")
@pytest.mark.parametrize("field", ["topic", "operation", "timestamp", "DataPoint"])
def test_events_that_differ_have_different_keys(field: str) -> None:
    assert one(MESSAGE | {field: "2020-01-01T00:00:00Z"}).key != one(MESSAGE).key


@pytest.mark.fact("A document that fits no row is undecodable")
@pytest.mark.fact("Very long digit strings and deep nesting in JSON are undecodable")
@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b'{"Document":', "not JSON"),
        (b"", "not JSON"),
        (b"\xff{}", "not JSON"),
        (b'{"Document":{"Msg":{"DataPoint":{"data":NaN}}}}', "not JSON"),
        (b"[" * 5000 + b"]" * 5000, "not JSON"),
        (b"[" * 300 + b"]" * 300, "nested deeper"),
        (b"1" * 5000, "not JSON"),
        (b"5", "neither Document"),
        (b"null", "neither Document"),
        (b"{}", "neither Document"),
        (b'{"Document":{"Message":1}}', "neither Document"),
    ],
)
def test_a_block_that_cannot_be_read_is_kept_as_it_is(document: bytes, words: str) -> None:
    (event,) = read(document).events
    assert event.kind == "undecodable"
    assert words in event.labels["reason"]
    frame = b64decode(event.data["base64"])
    assert frame.endswith(document)
    assert frame[:6] == struct.pack(">HI", 3, 10 + len(document))
    assert decode_stored(encode(event)) == event


@pytest.mark.fact("The same undecodable content sent again is known")
def test_the_same_unreadable_content_in_another_block_is_known() -> None:
    assert read(b"{", block_id=1).events[0].key == read(b"{", block_id=2).events[0].key
    assert read(b"{", block_id=1).events[0].key != read(b"[", block_id=1).events[0].key


@pytest.mark.fact("A Msg that is not an object is kept, the rest is delivered")
def test_an_event_that_is_no_object_is_kept_beside_the_others() -> None:
    decoded = read({"Document": {"Msg": [MESSAGE, 17, "text", MESSAGE]}}, count=4)
    assert [event.kind for event in decoded.events] == [
        "DataPoint",
        "undecodable",
        "undecodable",
        "DataPoint",
    ]
    assert b64decode(decoded.events[1].data["base64"]) == b"17"
    assert decoded.remarks == ("events of the block that are no objects, kept as they are: 2",)
    assert decoded.poison is None


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["7603/DataPoint/x", DEVICE, "LONG", "12"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Document",
                    "Msg",
                    "topic",
                    "timestamp",
                    "DataPoint",
                    "data",
                    "id",
                    "streamType",
                    "x",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(document=JSON_VALUES)
def test_any_json_gives_events_that_can_be_stored(document: Any) -> None:
    for event in read(document).events:
        assert event.device
        assert decode_stored(encode(event)) == event


@given(body=st.binary(min_size=2, max_size=80))
def test_any_block_gives_events_that_can_be_stored(body: bytes) -> None:
    for event in decode(Block(1, body), NOW, inflate_limit=1000).events:
        encode(event)


@pytest.mark.fact("Broken JSON, XML or zlib kills nothing")
@given(
    compression=st.sampled_from([0, 1, 2]),
    format_=st.sampled_from([0, 1, 2]),
    document=st.binary(max_size=60) | JSON_VALUES.map(orjson.dumps),
    templated=st.booleans(),
)
def test_any_well_framed_block_gives_events_that_can_be_stored(
    compression: int, format_: int, document: bytes, templated: bool
) -> None:
    payload = zlib.compress(document) if compression == 1 else document
    body = struct.pack(">HHBBI", 1, 1, compression, format_, len(payload)) + payload
    read_at = partial(decode, Block(1, body), inflate_limit=1000, templated=templated)
    for event in read_at(NOW).events:
        assert decode_stored(encode(event)) == event
        assert (event.key is None) == (event.kind == "templated")
    assert_known_again(lambda received: read_at(received).events, NOW)


@pytest.mark.fact("Inflation beyond the cap is undecodable")
@pytest.mark.fact("A zlib bomb is not inflated")
def test_a_bomb_is_kept_as_it_came() -> None:
    payload = zlib.compress(bytes(3 << 20))
    body = struct.pack(">HHBBI", 1, 1, 1, 1, len(payload)) + payload
    (event,) = decode(Block(1, body), NOW, inflate_limit=1 << 20).events
    assert event.kind == "undecodable"
    assert b64decode(event.data["base64"])[6:] == body


@pytest.mark.fact(
    "Compression or Format other than 0 and 1, or a wrong PayloadSize: undecodable block",
)
@pytest.mark.fact("Raw deflate, truncated and trailing data are undecodable")
@pytest.mark.fact("An undecodable block is kept as received, with its reason")
@pytest.mark.fact("PayloadSize and Size must agree")
@pytest.mark.fact("PayloadSize must agree with Size")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            struct.pack(">HHBBI", 1, 1, 1, 1, 8) + b"\x78\x9c\xff\xff\xff\xff\xff\xff",
            "cannot be decompressed",
        ),
        (struct.pack(">HHBBI", 1, 1, 1, 1, 4) + zlib.compress(b"{}")[:4], "cut off"),
        (
            struct.pack(">HHBBI", 1, 1, 1, 1, 13) + zlib.compress(b"{}") + b"xyz",
            "followed by 3 other bytes",
        ),
        (
            struct.pack(">HHBBI", 1, 1, 1, 1, 4) + zlib.compress(b"{}", wbits=-15),
            "cannot be decompressed",
        ),
        (struct.pack(">HHBBI", 1, 1, 2, 1, 2) + b"{}", "compression 2"),
        (struct.pack(">HHBBI", 1, 1, 0, 2, 2) + b"{}", "format 2"),
        (struct.pack(">HHBBI", 1, 1, 0, 1, 3) + b"{}", "3 bytes, but it has 2"),
        (b"\0\1\0", "has 3 bytes"),
    ],
)
def test_every_broken_block_is_kept_with_the_reason(body: bytes, words: str) -> None:
    for templated in (False, True):
        decoded = decode(Block(1, body), NOW, inflate_limit=1 << 20, templated=templated)
        (event,) = decoded.events
        assert (event.kind, decoded.poison) == ("undecodable", event.labels["reason"])
        assert words in event.labels["reason"]
        assert b64decode(event.data["base64"])[6:] == body


@pytest.mark.fact("A gzip container is tolerated")
@pytest.mark.fact("Zlib normal, gzip tolerated, raw deflate kept as undecodable")
def test_a_gzip_container_is_tolerated() -> None:
    payload = gzip.compress(orjson.dumps({"Document": {"Msg": MESSAGE}}))
    body = struct.pack(">HHBBI", 1, 1, 1, 1, len(payload)) + payload
    assert (
        decode(Block(1, body), NOW, inflate_limit=1 << 20).events
        == read({"Document": {"Msg": MESSAGE}}).events
    )


@pytest.mark.fact("The payload itself is never base64-decoded")
def test_a_payload_that_looks_like_base64_is_not_decoded() -> None:
    (event,) = read(b64encode(orjson.dumps({"Document": {"Msg": MESSAGE}}))).events
    assert event.kind == "undecodable"


@pytest.mark.fact("The block id is no key for duplicates")
def test_the_block_id_is_no_part_of_an_event() -> None:
    document = {"Document": {"Msg": MESSAGE}}
    assert read(document, block_id=0).events == read(document, block_id=0xFFFF).events


@pytest.mark.fact("Escaped slashes occur")
def test_an_escaped_slash_is_a_slash() -> None:
    text = orjson.dumps({"Document": {"Msg": MESSAGE}}).replace(b"/", b"\\/")
    assert read(text).events == read({"Document": {"Msg": MESSAGE}}).events


@pytest.mark.fact("A message read from elsewhere has the key that it has when pushed")
def test_a_message_from_elsewhere_is_the_pushed_event() -> None:
    assert event_of(MESSAGE, NOW) == one(MESSAGE)
    assert event_of(MESSAGE | {"replay": True}, NOW).key == one(MESSAGE).key
    assert event_of("strange", NOW) == read([MESSAGE, "strange"], count=2).events[1]


def templated(document: bytes, *, block_id: int = 7, format_: int = 1) -> Event:
    body = struct.pack(">HHBBI", block_id, 3, 0, format_, len(document)) + document
    decoded = decode(Block(block_id, body), NOW, inflate_limit=1 << 20, templated=True)
    assert (decoded.remarks, decoded.poison) == ((), None)
    (event,) = decoded.events
    assert decode_stored(encode(event)) == event
    return event


@pytest.mark.fact(
    "A templated document is one event with block id, count, format; JSON as a convenience",
)
@pytest.mark.parametrize(
    "document",
    [
        [{"id": DEVICE, "status": "connected"}, {"end": 1}],
        {"Document": {"Msg": [MESSAGE, MESSAGE]}},
        {"Document": None},
        "text",
        18446744073709551615,
    ],
)
def test_a_templated_document_is_one_event_with_what_was_printed(document: Any) -> None:
    event = templated(orjson.dumps(document))
    assert (event.kind, event.device, event.time, event.readings) == (
        "templated",
        "unknown",
        NOW,
        (),
    )
    assert event.data == document
    assert event.labels == {"block": "7", "count": "3", "format": "json"}


@pytest.mark.fact("A templated document that is not JSON is kept as raw bytes and is no poison")
@pytest.mark.parametrize(
    "document", [b'[{"id":1},]', b"", b"<Document/>", b"a;b;c\n1;2;3\n", b"\xff\0", b"[" * 9999]
)
def test_a_templated_document_is_kept_byte_for_byte(document: bytes) -> None:
    event = templated(document, format_=0)
    assert event.kind == "templated"
    assert b64decode(event.data["base64"]) == document
    assert event.labels["format"] == "xml"


@pytest.mark.fact("Equal templated payloads can be different events: no key makes them one")
@pytest.mark.parametrize("document", [b"[1]", b"[1,]", orjson.dumps(MESSAGE)])
def test_a_templated_document_has_no_key(document: bytes) -> None:
    event = templated(document)
    assert (event.key, event.key_time, event.former_keys) == (None, None, ())


class Port:
    """A push port that accepts every login, then sends one block; keeps the acks."""

    def __init__(self, document: bytes, format_: int) -> None:
        body = struct.pack(">HHBBI", 3, 1, 0, format_, len(document)) + document
        self.frame = struct.pack(">HI", 3, len(body)) + body
        self.sent = 0
        self.acks: list[bytes] = []
        self.acknowledged = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(bytes.fromhex(GOLDEN["V3a"]["hex"]) + self.frame)
        self.sent += 1
        if ack := await stream.receive_some():
            self.acks.append(bytes(ack))
            self.acknowledged.set()
            await trio.sleep_forever()


async def attend_port(core: Any, port: Port, **changes: Any) -> Pause:
    """Attend until the session asks for a person."""

    async def still_attached() -> bool:
        return True

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, port.serve, 0)
        settings = Settings(
            url=Url("http://127.0.0.1"),
            username="user",
            password=Secret("pass"),
            insecure=True,
            push_host="127.0.0.1",
            push_port=listeners[0].socket.getsockname()[1],
            **changes,
        )
        try:
            await attend(
                settings, core.context, 178008, attached=lambda: None, still_attached=still_attached
            )
        except Pause as exc:
            verdict = exc
        nursery.cancel_scope.cancel()
    return verdict


async def emitted(core: Any, port: Port, **changes: Any) -> list[Event]:
    """Attend until the block is acknowledged, and give what was stored."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(attend_port, core, port, **changes))
        await port.acknowledged.wait()
        nursery.cancel_scope.cancel()
    return list(core.outlet.events)


@pytest.mark.fact("Format byte of the block is believed in a session")
async def test_a_session_reads_xml_although_the_setting_says_json(core: Any) -> None:
    port = Port(b'<Msg topic="7603/Job/1"><Job>x</Job></Msg>', 0)
    assert [event.kind for event in await emitted(core, port, format="json")] == ["Job"]
    assert port.acks == [bytes.fromhex("000400000004000300c8")]


@pytest.mark.fact("A monitor is templated by the own setting")
async def test_a_session_of_a_templated_monitor_keeps_what_was_printed(core: Any) -> None:
    port = Port(b'[{"id":1},]', 1)
    (event,) = await emitted(core, port, template="[{{#eachFiltered}}...{{/eachFiltered}}]")
    assert (event.kind, b64decode(event.data["base64"])) == ("templated", b'[{"id":1},]')


async def test_a_session_obeys_the_settings_on_files_and_alerts(core: Any) -> None:
    document = [
        {"topic": "7603/FileData/a", "FileData": {"fdData": "aGVsbG8sIGlEaWdpCg=="}},
        {
            "topic": "7603/alert_status/1",
            "alert_status": {"source": "Monitor: 1", "status": "fired"},
        },
    ]
    port = Port(orjson.dumps(document), 1)
    file, alert = await emitted(core, port, file_limit=Size(1), ignore_service_alerts=True)
    assert file.data["FileData"] == {}
    assert alert.readings == ()


@pytest.mark.fact("An undecodable block is acknowledged once it is durable")
async def test_by_default_an_unreadable_block_is_kept_and_acked(core: Any) -> None:
    port = Port(b"{", 1)
    assert [event.kind for event in await emitted(core, port)] == ["undecodable"]


@pytest.mark.fact("If it is not to be kept: no ack, close, back off")
async def test_an_unreadable_block_can_be_left_at_the_vendor(core: Any) -> None:
    port = Port(b"{", 1)
    verdict = await attend_port(core, port, undecodable="stop")
    assert "not acknowledged, it cannot be read: the document is not JSON" in verdict.why
    assert (port.sent, port.acks, core.outlet.events) == (1, [], [])


async def test_a_block_beyond_the_spool_can_be_left_at_the_vendor(core: Any) -> None:
    port = Port(orjson.dumps(MESSAGE), 1)
    core.outlet.failures = [ValueError("event too strange")]
    verdict = await attend_port(core, port, undecodable="stop")
    assert "event too strange" in verdict.why
    assert (port.acks, core.outlet.events) == ([], [])


async def test_an_event_that_is_not_an_object_stops_nothing(core: Any) -> None:
    port = Port(b'["strange"]', 1)
    assert [event.kind for event in await emitted(core, port, undecodable="stop")] == [
        "undecodable"
    ]
