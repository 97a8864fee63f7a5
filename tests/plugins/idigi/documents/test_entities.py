"""Entities of each topic: what is kept of them, and what is a reading."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Event, Reading, encode
from bridge.api import decode as decode_stored
from bridge_plugins.idigi.documents.decode import event_of
from bridge_plugins.idigi.documents.file_data import decode_content
from bridge_plugins.idigi.documents.json import parse_exactly

NOW = datetime(2024, 5, 2, 12, tzinfo=UTC)
STAMPED = datetime(2024, 5, 2, 10, 11, 12, 345_000, UTC)
DEVICE = "00000000-00000000-00409DFF-FF000001"
OTHER = "00000000-00000000-00409DFF-FF000002"


def one(topic: str, entity: Any, *, key: str = "", **options: Any) -> Event:
    name = topic.partition("/")[0]
    message = {
        "topic": f"7603/{topic}",
        "operation": "UPDATE",
        "timestamp": "2024-05-02T10:11:12.345Z",
        "group": "*",
        key or name: entity,
    }
    event = event_of(message, NOW, **options)
    assert decode_stored(encode(event)) == event
    return event


def data_point(data: Any = 1.5, **fields: Any) -> Event:
    return one(f"DataPoint/{DEVICE}/level", {"streamId": f"{DEVICE}/level", "data": data, **fields})


# Data points

RECENT = {
    "cstId": 7603,
    "id": "684572e0-12c4-11e5-8507-fa163ed4cf14",
    "streamId": "test",
    "streamType": "FLOAT",
    "streamUnits": "",
    "data": 0.4117,
    "timestamp": 1434307047694,
    "serverTimestamp": 1434307047694,
    "quality": 0,
    "description": "",
}
MEASURED = datetime(2015, 6, 14, 18, 37, 27, 694_000, UTC)


@pytest.mark.fact("Every field of a DataPoint may be missing, even streamId; the shape of 2019")
@pytest.mark.parametrize(
    "missing",
    [
        (),
        ("streamType",),
        ("serverTimestamp",),
        ("timestamp",),
        ("quality", "streamUnits", "description", "id"),
        ("cstId", "serverTimestamp", "quality", "streamUnits", "description"),  # the shape of 2019
        ("streamId",),
    ],
)
def test_a_data_point_may_lack_any_field(missing: tuple[str, ...]) -> None:
    point = {name: value for name, value in RECENT.items() if name not in missing}
    event = one("DataPoint/test", point)
    assert event.readings == (Reading("test", 0.4117, MEASURED),)
    assert event.labels["stream"] == "test"
    assert event.data["DataPoint"] == point


@pytest.mark.parametrize("point", [{}, {"data": None}, {"streamId": "test"}])
def test_a_data_point_without_data_is_an_event_without_a_reading(point: dict[str, Any]) -> None:
    event = one("DataPoint/test", point)
    assert (event.kind, event.device, event.readings, event.data["DataPoint"]) == (
        "DataPoint",
        "test",
        (),
        point,
    )


@pytest.mark.fact("LONG is exact to the edges of 64 bits")
@pytest.mark.fact("Big integers do not pass through float")
@pytest.mark.parametrize("value", [-(2**63), -(2**53) - 1, 2**53 + 1, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize("written", ["{}", '"{}"'])
def test_an_integer_of_64_bits_is_exact_as_a_number_and_as_text(value: int, written: str) -> None:
    point = parse_exactly(b'{"streamType":"LONG","data":' + written.format(value).encode() + b"}")
    (reading,) = one("DataPoint/test", point).readings
    assert reading.value == value
    assert type(reading.value) is int


@pytest.mark.fact("Integers beyond 64 bits keep their digits")
@pytest.mark.parametrize(
    "digits", ["-9223372036854775809", "18446744073709551616", "1" + "0" * 200]
)
def test_an_integer_beyond_64_bits_keeps_its_digits(digits: str) -> None:
    point = parse_exactly(b'{"streamType":"LONG","data":' + digits.encode() + b"}")
    assert [reading.value for reading in one("DataPoint/test", point).readings] == [digits]


@pytest.mark.fact("Integers of JSON are exact")
@pytest.mark.fact("Integers exact")
@given(st.integers(-(2**80), 2**80))
def test_no_integer_is_ever_rounded(number: int) -> None:
    assert int(parse_exactly(str(number).encode())) == number


NUMBERS = st.recursive(
    st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(NUMBERS)
def test_a_long_number_in_a_document_changes_nothing_else_of_it(value: Any) -> None:
    text = orjson.dumps(value)
    with_long = parse_exactly(b"[" + text + b",18446744073709551616]")
    assert orjson.dumps(with_long[0]) == text == orjson.dumps(parse_exactly(text))


@pytest.mark.fact("JSON, GEOJSON and BINARY are kept")
@pytest.mark.parametrize("stream_type", ["JSON", "GEOJSON", "BINARY", "json"])
@pytest.mark.parametrize("data", ['{"lat":1}', "aGVsbG8=", {"lat": 1}, [1, 2], 5])
def test_a_document_or_bytes_in_a_stream_are_no_reading(stream_type: str, data: Any) -> None:
    event = data_point(data, streamType=stream_type)
    assert event.readings == ()
    assert event.data["DataPoint"]["data"] == data


@pytest.mark.fact("streamType is optional or UNKNOWN")
@pytest.mark.parametrize("stream_type", ["UNKNOWN", "Brandnew", None, 5])
def test_a_stream_of_unknown_type_gives_what_its_json_says(stream_type: Any) -> None:
    assert [
        data_point(data, streamType=stream_type).readings[0].value for data in (5, 1.5, "5", True)
    ] == [
        5,
        1.5,
        "5",
        True,
    ]


# Files

CONTENT = b"hello, iDigi\n"
FILE = {
    "id": {"fdPath": f"/db/7603_Example/{DEVICE}/alert/", "fdName": "a.txt"},
    "cstId": 7603,
    "fdType": "file",
    "fdContentType": "text/plain",
    "fdSize": 13,
    "fdData": "aGVsbG8sIGlEaWdpCg==",
    "fdArchive": False,
    "fdCreatedDate": "2013-06-24T14:52:55.421Z",
    "fdLastModifiedDate": "2013-06-24T14:52:55.421Z",
}
TOPIC = f"FileData/db/7603_Example/{DEVICE}/alert/a.txt"


def labels_of(event: Event) -> dict[str, str]:
    return {name: text for name, text in event.labels.items() if name.startswith("file.")}


@pytest.mark.fact("FileData: name, path, type, size, checksum")
def test_a_file_is_described_by_labels_and_kept_whole() -> None:
    event = one(TOPIC, FILE)
    assert (event.kind, event.device, event.readings, event.time) == (
        "FileData",
        DEVICE,
        (),
        STAMPED,
    )
    assert labels_of(event) == {
        "file.name": "a.txt",
        "file.path": f"/db/7603_Example/{DEVICE}/alert/",
        "file.type": "text/plain",
        "file.size": "13",
        "file.sha256": sha256(CONTENT).hexdigest(),
    }
    assert event.data["FileData"] == FILE


@pytest.mark.fact("fdData may contain line breaks")
def test_the_content_of_a_file_may_be_broken_into_lines() -> None:
    event = one(TOPIC, FILE | {"fdData": "aGVsbG8s\r\nIGlEaWdp\nCg==\n"})
    assert event.labels["file.sha256"] == sha256(CONTENT).hexdigest()
    assert "file.content" not in event.labels


@pytest.mark.fact("fdData is decoded strictly otherwise")
@pytest.mark.parametrize(
    "encoded", ["aGVsbG8", "aGVs bG8=", "aGVs-G8_", "=aGV", "aGVsbG8=x", "ä", "a"]
)
def test_a_content_that_is_not_base64_is_kept_and_labelled(encoded: str) -> None:
    event = one(TOPIC, FILE | {"fdData": encoded})
    assert event.labels["file.content"].startswith("cannot be read as base64: ")
    assert "file.sha256" not in event.labels
    assert event.data["FileData"]["fdData"] == encoded


@pytest.mark.fact("fdData may be missing, null or empty")
@pytest.mark.parametrize("content", [{"fdData": None}, {"fdData": ""}, {}])
def test_a_file_without_content_is_an_event_that_says_so(content: dict[str, Any]) -> None:
    bare = {name: value for name, value in FILE.items() if name != "fdData"}
    event = one(TOPIC, bare | content)
    assert event.labels["file.content"] == "missing: fdSize says 13 bytes"
    assert (event.labels["file.size"], "file.sha256" in event.labels) == ("13", False)
    assert event.data["FileData"] == bare | content


@pytest.mark.fact("fdType directory, no content announced")
@pytest.mark.parametrize("size", [0, None, "13", True])
def test_a_file_that_announces_no_content_misses_none(size: Any) -> None:
    assert "file.content" not in one(TOPIC, {"fdType": "directory", "fdSize": size}).labels


@pytest.mark.fact("FileDataCore is the same without content")
def test_a_file_core_has_no_content_and_misses_none() -> None:
    core = {name: value for name, value in FILE.items() if name != "fdData"}
    event = one(TOPIC.replace("FileData", "FileDataCore"), core)
    assert (event.kind, event.device) == ("FileDataCore", DEVICE)
    assert labels_of(event).keys() == {"file.name", "file.path", "file.type", "file.size"}


@pytest.mark.fact("Large contents are bounded by a setting")
def test_too_large_a_file_keeps_its_key_and_checksum() -> None:
    fits, event = one(TOPIC, FILE, file_limit=13), one(TOPIC, FILE, file_limit=12)
    assert fits.data["FileData"] == FILE
    assert "file.content" not in fits.labels
    assert event.data["FileData"] == {
        name: value for name, value in FILE.items() if name != "fdData"
    }
    assert event.labels["file.content"] == "left out: 13 bytes, the limit is 12 (file_limit)"
    assert event.labels["file.sha256"] == sha256(CONTENT).hexdigest()
    assert event.key == fits.key


def test_a_broken_content_that_is_too_large_is_left_out_as_well() -> None:
    event = one(TOPIC, FILE | {"fdData": "?" * 100}, file_limit=50)
    assert "fdData" not in event.data["FileData"]
    assert event.labels["file.content"].startswith("left out: 100 characters that are not base64")


@pytest.mark.fact("fdSize is the decoded size")
def test_a_file_that_arrived_cut_off_says_so() -> None:
    event = one(TOPIC, FILE | {"fdSize": 20})
    assert event.labels["file.content"] == "13 bytes arrived, fdSize says 20"
    assert event.labels["file.size"] == "13"


@pytest.mark.fact("One recorded fdPath begins with a blank")
def test_the_path_of_a_file_is_trimmed_as_a_label_only() -> None:
    entity = FILE | {"id": {"fdPath": " /db/x/", "fdName": "a"}}
    event = one("FileData/db/x/a", entity)
    assert event.labels["file.path"] == "/db/x/"
    assert event.data["FileData"]["id"]["fdPath"] == " /db/x/"


@pytest.mark.fact("Id of a file may be missing")
def test_a_file_without_an_id_has_no_name() -> None:
    for compound in ({}, {"id": None}, {"id": "x"}):
        event = one(TOPIC, {"fdSize": 0} | compound)
        assert "file.name" not in event.labels


def test_a_file_may_belong_to_the_device_in_its_path() -> None:
    assert one("FileData/1", FILE).device == DEVICE


def test_the_time_of_a_file_may_be_its_last_change() -> None:
    event = event_of({"topic": f"7603/{TOPIC}", "FileData": FILE}, NOW)
    assert event.time == datetime(2013, 6, 24, 14, 52, 55, 421_000, UTC)


@given(st.binary(max_size=200), st.integers(1, 76))
def test_any_content_is_read_back(content: bytes, width: int) -> None:
    text = b64encode(content).decode()
    lines = "\r\n".join(text[start : start + width] for start in range(0, len(text), width))
    assert decode_content(lines) == content


@given(st.text(max_size=40) | st.text("AQg=+/\r\n -_", max_size=12))
def test_of_a_text_as_content_everything_is_read_or_nothing(text: str) -> None:
    try:
        content = decode_content(text)
    except ValueError:
        return
    assert len(b64encode(content)) == len(text.replace("\r", "").replace("\n", ""))


# Connections


@pytest.mark.fact("dpConnectionStatus 1 connected, 0 disconnected, a number or its text")
@pytest.mark.parametrize(("status", "value"), [(1, 1), (0, 0), ("1", 1), ("0", 0)])
def test_the_connection_of_a_device_is_a_reading(status: Any, value: int) -> None:
    event = one("DeviceCore/7201/0", {"devConnectwareId": DEVICE, "dpConnectionStatus": status})
    assert (event.device, event.readings) == (DEVICE, (Reading("connection", value, STAMPED),))
    assert type(event.readings[0].value) is int


@pytest.mark.fact("Another dpConnectionStatus is no reading")
@pytest.mark.parametrize("status", [2, "2", None, True, [1], "connected", 1.0])
def test_another_connection_status_is_no_reading(status: Any) -> None:
    event = one("DeviceCore/7201/0", {"devConnectwareId": DEVICE, "dpConnectionStatus": status})
    assert event.readings == ()
    assert event.data["DeviceCore"]["dpConnectionStatus"] == status


PUMP = {
    "id": DEVICE,
    "name": "pump-1",
    "type": "Example",
    "group": "Staging",
    "connection_status": "connected",
    "last_update": "2024-05-02T10:11:12.345Z",
    "firmware_version": "1.2.3",
    "vendor_id": 4261412864,
    "geoposition": {"coordinates": [7.45, 51.51]},
    "in_maintenance_window": "no",
    "alerts": 0,
}


@pytest.mark.fact("Topic devices carries key device")
@pytest.mark.fact("connection_status of devices")
@pytest.mark.parametrize(
    ("word", "values"), [("connected", [1]), ("disconnected", [0]), ("asleep", []), (1, [])]
)
def test_the_connection_in_devices_is_one_of_two_words(word: Any, values: list[int]) -> None:
    event = one(f"devices/{DEVICE}", PUMP | {"connection_status": word}, key="device")
    assert (event.kind, event.device) == ("devices", DEVICE)
    assert [(reading.signal, reading.value) for reading in event.readings] == [
        ("connection", value) for value in values
    ]
    assert event.labels["device.name"] == "pump-1"
    assert event.data["device"]["connection_status"] == word


@pytest.mark.fact(
    "in_maintenance_window and alerts may be text, number, boolean; geoposition is optional",
)
@pytest.mark.parametrize(
    "odd", [{"in_maintenance_window": True, "alerts": "3"}, {"geoposition": None}, {"name": 5}]
)
def test_uncertain_fields_of_a_device_may_have_any_type(odd: dict[str, Any]) -> None:
    event = one(f"devices/{DEVICE}", PUMP | odd, key="device")
    assert event.readings[0].value == 1
    assert event.data["device"] == PUMP | odd


def test_a_device_is_found_beside_an_unknown_key() -> None:
    message = {"topic": f"7603/devices/{DEVICE}", "extra": 1, "device": PUMP}
    assert [reading.value for reading in event_of(message, NOW).readings] == [1]
    event = event_of({"device": PUMP}, NOW)
    assert (event.kind, event.device, event.readings[0].value) == ("devices", DEVICE, 1)


# Alarms

ALARM = {
    "id": {"almId": 4711, "almsSourceEntityId": f"{DEVICE}/level"},
    "cstId": 7603,
    "almsStatus": 1,
    "almsUpdateTime": "2024-05-02T10:11:11.000Z",
    "almsPayload": "<Payload/>",
    "devConnectwareId": DEVICE,
}


@pytest.mark.fact("almsStatus 0 reset, 1 triggered, 2 acknowledged")
@pytest.mark.parametrize(("status", "value"), [(0, 0), (1, 1), (2, 2), ("0", 0), ("2", 2)])
def test_an_alarm_is_a_reading_at_the_time_of_its_change(status: Any, value: int) -> None:
    event = one("AlarmStatus/4711/x", ALARM | {"almsStatus": status})
    assert event.readings == (
        Reading("alarm", value, datetime(2024, 5, 2, 10, 11, 11, tzinfo=UTC)),
    )
    assert (event.device, event.time) == (DEVICE, STAMPED)
    assert (event.labels["alarm.id"], event.labels["alarm.source"]) == ("4711", f"{DEVICE}/level")


@pytest.mark.parametrize("status", [3, "triggered", None, False])
def test_another_alarm_status_is_no_reading(status: Any) -> None:
    assert one("AlarmStatus/4711/x", ALARM | {"almsStatus": status}).readings == ()


def test_an_alarm_without_its_own_time_has_that_of_the_envelope() -> None:
    assert one("AlarmStatus/1", ALARM | {"almsUpdateTime": "soon"}).readings[0].time == STAMPED


@pytest.mark.fact(
    "almsSourceEntityId is a device, a stream path or other; devConnectwareId is optional",
)
@pytest.mark.parametrize(
    ("fields", "device"),
    [
        ({"devConnectwareId": OTHER}, OTHER),
        ({}, DEVICE),
        ({"id": {"almsSourceEntityId": "dia/channel/x"}}, "dia/channel/x"),
        ({"id": {"almId": "4711"}}, "7603/AlarmStatus/4711"),
        ({"id": None}, "7603/AlarmStatus/4711"),
    ],
)
def test_the_device_of_an_alarm_is_named_or_found_in_its_source(
    fields: dict[str, Any], device: str
) -> None:
    entity = {name: value for name, value in ALARM.items() if name != "devConnectwareId"} | fields
    assert one("AlarmStatus/4711", entity).device == device


@pytest.mark.fact("almId may be text")
def test_the_number_of_an_alarm_may_be_text() -> None:
    assert one("AlarmStatus/1", ALARM | {"id": {"almId": "4711"}}).labels["alarm.id"] == "4711"


ALERT = {
    "id": 41826,
    "device_name": DEVICE,
    "group": "Staging",
    "source": f"{DEVICE}/level",
    "status": "fired",
    "last_update": "2024-05-02T10:11:12.345Z",
}


@pytest.mark.fact("The words in status of alert_status are assumed")
def test_the_status_of_an_alert_is_the_word_that_came() -> None:
    for word in ("fired", "reset", "brandnew"):
        event = one("alert_status/41826/x", ALERT | {"status": word})
        assert event.readings == (Reading("alert", word, STAMPED),)
        assert (event.device, event.labels["alarm.id"]) == (DEVICE, "41826")
    for word in ("", None, 5):
        assert one("alert_status/41826/x", ALERT | {"status": word}).readings == ()


@pytest.mark.fact("Alerts of the service about itself can be filtered")
@pytest.mark.parametrize("source", ["Monitor: 178008", "web-service", "web-service/x"])
def test_alerts_of_the_service_about_itself_can_be_ignored(source: str) -> None:
    alert = ALERT | {"source": source}
    ignored = one("alert_status/1", alert, ignore_service_alerts=True)
    assert (ignored.readings, ignored.data["alert_status"]) == ((), alert)
    assert "ignore_service_alerts" in ignored.labels["ignored"]
    heard = one("alert_status/1", alert)
    assert [reading.value for reading in heard.readings] == ["fired"]
    assert (heard.key, heard.labels.get("ignored")) == (ignored.key, None)
    alarm = ALARM | {"id": {"almId": 1, "almsSourceEntityId": source}}
    assert one("AlarmStatus/1", alarm, ignore_service_alerts=True).readings == ()


def test_alerts_of_devices_are_never_ignored() -> None:
    assert one("alert_status/1", ALERT, ignore_service_alerts=True).readings[0].value == "fired"
    assert (
        one("alert_status/1", {"status": "fired"}, ignore_service_alerts=True).readings[0].value
        == "fired"
    )


# The rest


@pytest.mark.fact("XbeeCore, CLIEvent, DiaChannelDataFull, Job and unknown entities pass whole")
@pytest.mark.parametrize(
    ("topic", "entity", "device"),
    [
        (
            "XbeeCore/00:13:A2:00:40:00:00:01/0",
            {
                "cstId": 7603,
                "devConnectwareId": DEVICE,
                "xpExtAddr": "00:13:A2:00:40:00:00:01",
                "xpNodeType": 1,
            },
            DEVICE,
        ),
        (
            f"CLIEvent/{DEVICE}/17",
            {"type": "data", "data": "bHMK", "sessionId": "17", "hint": ""},
            DEVICE,
        ),
        (
            "DiaChannelDataFull/1",
            {"id": {"devConnectwareId": DEVICE, "dcChannelName": "level"}, "dcdStringValue": "3"},
            DEVICE,
        ),
        ("Job/1", {"anything": [1, {"x": None}]}, "7603/Job/1"),
        ("JobResult/1", "text", "7603/JobResult/1"),
        ("Brandnew/1", [1, 2], "7603/Brandnew/1"),
        ("Brandnew/2", None, "7603/Brandnew/2"),
    ],
)
def test_what_is_not_understood_passes_whole(topic: str, entity: Any, device: str) -> None:
    event = one(topic, entity)
    name = topic.partition("/")[0]
    assert (event.kind, event.device, event.readings, event.data[name]) == (
        name,
        device,
        (),
        entity,
    )
    assert event.labels == {"topic": f"7603/{topic}", "operation": "update", "group": "*"}


@pytest.mark.fact("Of several keys the one named like the topic is the entity, else all are kept")
def test_several_keys_without_a_name_are_kept() -> None:
    message = {"topic": "7603/AlarmStatus/1", "almsStatus": 1, "extra": {"fdData": "x"}}
    event = event_of(message, NOW)
    assert (event.kind, event.readings, event.data) == ("AlarmStatus", (), message)


NAMES = [
    "DataPoint",
    "FileData",
    "FileDataCore",
    "DeviceCore",
    "AlarmStatus",
    "alert_status",
    "device",
    "XbeeCore",
]
FIELDS = [
    *(
        "id",
        "data",
        "streamId",
        "streamType",
        "timestamp",
        "fdData",
        "fdSize",
        "fdPath",
        "almsSourceEntityId",
    ),
    *(
        "almsStatus",
        "dpConnectionStatus",
        "connection_status",
        "source",
        "status",
        "device_name",
        "name",
    ),
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**64 - 1)
    | st.text(max_size=6)
    | st.sampled_from(["1", "LONG", DEVICE]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=6,
)


@pytest.mark.fact("Missing and extra fields are tolerated")
@given(
    topic=st.sampled_from(["devices", *NAMES]),
    key=st.sampled_from(NAMES),
    entity=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6) | VALUES,
    limit=st.integers(0, 10),
    ignore=st.booleans(),
)
def test_an_entity_of_any_shape_can_be_stored(
    topic: str, key: str, entity: Any, limit: int, ignore: bool
) -> None:
    one(f"{topic}/x", entity, key=key, file_limit=limit, ignore_service_alerts=ignore)
