from __future__ import annotations

import json
import struct
import zlib
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Event, encode
from bridge.api import decode as decode_stored
from bridge_plugins.idigi.documents import Decoded, decode
from bridge_plugins.idigi.protocol import Block

NOW = datetime(2024, 5, 2, 12, tzinfo=UTC)
DEVICE = "00000000-00000000-00409DFF-FF000001"
OTHER = "00000000-00000000-00409DFF-FF000002"
GOLDEN = {
    frame["name"]: frame for frame in json.loads((Path(__file__).parents[2] / "data" / "idigi_frames.json").read_text())
}


def read(document: Any, *, count: int = 1, block_id: int = 7, format_: int = 1) -> Decoded:
    text = document if isinstance(document, bytes) else orjson.dumps(document)
    body = struct.pack(">HHBBI", block_id, count, 0, format_, len(text)) + text
    return decode(Block(block_id, body), NOW, inflate_limit=1 << 20)


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
        "DataPoint": {"streamId": f"{DEVICE}/metrics/level", "data": 1.5, "timestamp": 1434307047694, **fields},
    }


def test_the_documented_blocks_give_their_data_points() -> None:
    events = [
        event
        for name in ("V4", "V5")
        for event in decode(Block(1, bytes.fromhex(GOLDEN[name]["hex"])[6:]), NOW, inflate_limit=1 << 20).events
    ]
    assert [event.kind for event in events] == ["DataPoint"] * 3
    assert [event.device for event in events] == ["test"] * 3
    assert [reading.value for event in events for reading in event.readings] == [0.411700824929, 21, "single"]
    assert [reading.signal for event in events for reading in event.readings] == ["test"] * 3
    assert events[0].readings[0].time == datetime(2015, 6, 14, 18, 37, 27, 694_000, UTC)
    assert events[0].time == datetime(2015, 6, 14, 18, 37, 27, 815_000, UTC)
    assert events[0].data == GOLDEN["V4"]["decoded"]["payload"]["Document"]["Msg"][0]
    assert len({event.key for event in events}) == 3


MESSAGE = point()


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


def test_events_keep_the_order_of_the_block() -> None:
    messages = [point(data=number) for number in range(50)]
    events = read({"Document": {"Msg": messages}}, count=50).events
    assert [event.readings[0].value for event in events] == list(range(50))


def test_a_wrong_count_is_remarked_and_harms_nothing() -> None:
    decoded = read({"Document": {"Msg": MESSAGE}}, count=3)
    assert len(decoded.events) == 1
    assert decoded.remarks == ("the block says that it holds 3 events, but it holds 1",)


@pytest.mark.parametrize(
    ("topic", "stream_id", "device", "signal"),
    [
        (f"7603/DataPoint/{DEVICE}/metrics/level", f"{DEVICE}/metrics/level", DEVICE, "metrics/level"),
        ("7603/DataPoint/test", "test", "test", "test"),
        ("7603/DataPoint/dia/channel/x/DIO/0", "dia/channel/x/DIO/0", "dia/channel/x/DIO/0", "dia/channel/x/DIO/0"),
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
        ("9999999999999999999", "LONG", "9999999999999999999"),
        ("0.4117", "FLOAT", 0.4117),
        ("21", "DOUBLE", 21.0),
        ("1e3", "DOUBLE", 1000.0),
        ("1e999", "DOUBLE", "1e999"),
        ("0.12345678901234567890123", "DOUBLE", "0.12345678901234567890123"),
        ("NaN", "FLOAT", "NaN"),
        ("21", ["INTEGER"], "21"),
    ],
)
def test_a_value_is_what_json_says_and_numbers_stay_exact(data: Any, stream_type: Any, value: Any) -> None:
    (reading,) = one(point(data=data, streamType=stream_type)).readings
    assert reading.value == value
    assert type(reading.value) is type(value)


@pytest.mark.parametrize("data", [None, [1], {"lat": 1}])
def test_data_that_is_no_value_is_kept_whole_without_a_reading(data: Any) -> None:
    event = one(point(data=data))
    assert event.readings == ()
    assert event.data["DataPoint"]["data"] == data


def test_a_unit_is_taken_where_there_is_one() -> None:
    assert one(point(streamUnits="°C")).readings[0].unit == "°C"
    assert one(point(streamUnits="")).readings[0].unit is None


def test_times_fall_back_from_the_device_to_the_server_to_the_envelope_to_the_receipt() -> None:
    stamped = datetime(2024, 5, 2, 10, 11, 12, 345_000, UTC)
    message = point(timestamp="soon", serverTimestamp=1434307047000)
    assert one(message).readings[0].time == datetime(2015, 6, 14, 18, 37, 27, tzinfo=UTC)
    message = point(timestamp=10**18, serverTimestamp=True)
    assert one(message).readings[0].time == stamped
    message["timestamp"] = "yesterday"
    assert (one(message).time, one(message).readings[0].time) == (NOW, NOW)
    message = point()
    del message["timestamp"]
    assert one(message).time == one(message).readings[0].time == datetime(2015, 6, 14, 18, 37, 27, 694_000, UTC)


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


@pytest.mark.parametrize(
    ("topic", "entity_key", "entity", "kind", "device"),
    [
        (
            "DeviceCore/7201/0",
            "DeviceCore",
            {"devConnectwareId": DEVICE, "dpConnectionStatus": 1},
            "DeviceCore",
            DEVICE,
        ),
        ("DeviceCore/7201/0", "DeviceCore", {"dpConnectionStatus": 1}, "DeviceCore", "7603/DeviceCore/7201/0"),
        ("AlarmStatus/4711", "AlarmStatus", {"devConnectwareId": DEVICE, "id": {"almId": 1}}, "AlarmStatus", DEVICE),
        ("AlarmStatus/4711", "AlarmStatus", {"id": {"almsSourceEntityId": f"{DEVICE}/x"}}, "AlarmStatus", DEVICE),
        ("alert_status/1", "alert_status", {"id": 1, "device_name": DEVICE}, "alert_status", DEVICE),
        (f"alert_status/1/aggregate-throttle%2F{DEVICE}", "alert_status", {"id": 1}, "alert_status", DEVICE),
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


@pytest.mark.parametrize(
    ("message", "kind", "device"),
    [
        ({}, "event", "unknown"),
        ({"end": 1}, "end", "unknown"),
        ({"a": 1, "b": 2}, "event", "unknown"),
        ({"topic": 5, "DataPoint": {"data": 1}}, "DataPoint", "unknown"),
        ({"topic": "7603/Job/1"}, "Job", "7603/Job/1"),
        ({"topic": "alone", "Job": {}}, "Job", "alone"),
        ({"topic": "7603/DeviceCore/1", "extra": 1, "DeviceCore": {"devConnectwareId": DEVICE}}, "DeviceCore", DEVICE),
        ({"topic": "7603/DataPoint/x", "DataPoint": "text"}, "DataPoint", "7603/DataPoint/x"),
    ],
)
def test_an_object_with_missing_or_extra_fields_passes_through(message: dict[str, Any], kind: str, device: str) -> None:
    event = one(message)
    assert (event.kind, event.device, event.data) == (kind, device, message)


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


def test_a_replayed_event_has_the_key_of_the_first_one() -> None:
    assert one(MESSAGE | {"replay": True}).key == one(MESSAGE).key
    assert one(dict(reversed(MESSAGE.items()))).key == one(MESSAGE).key


@pytest.mark.parametrize("field", ["topic", "operation", "timestamp", "DataPoint"])
def test_events_that_differ_have_different_keys(field: str) -> None:
    assert one(MESSAGE | {field: "2020-01-01T00:00:00Z"}).key != one(MESSAGE).key


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


def test_a_block_in_xml_is_kept_as_it_is() -> None:
    decoded = read(b"<Document/>", format_=0)
    assert [event.kind for event in decoded.events] == ["undecodable"]
    assert "format 0" in decoded.remarks[0]


def test_the_same_unreadable_content_in_another_block_is_known() -> None:
    assert read(b"{", block_id=1).events[0].key == read(b"{", block_id=2).events[0].key
    assert read(b"{", block_id=1).events[0].key != read(b"[", block_id=1).events[0].key


def test_an_event_that_is_not_an_object_is_kept_and_the_others_are_delivered() -> None:
    decoded = read({"Document": {"Msg": [MESSAGE, 17, "text", MESSAGE]}}, count=4)
    assert [event.kind for event in decoded.events] == ["DataPoint", "undecodable", "undecodable", "DataPoint"]
    assert b64decode(decoded.events[1].data["base64"]) == b"17"
    assert len(decoded.remarks) == 2


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
            st.sampled_from(["Document", "Msg", "topic", "timestamp", "DataPoint", "data", "id", "streamType", "x"]),
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


def test_a_bomb_is_kept_as_it_came() -> None:
    payload = zlib.compress(bytes(3 << 20))
    body = struct.pack(">HHBBI", 1, 1, 1, 1, len(payload)) + payload
    (event,) = decode(Block(1, body), NOW, inflate_limit=1 << 20).events
    assert event.kind == "undecodable"
    assert b64decode(event.data["base64"])[6:] == body
