"""XML documents: the same events as JSON gives."""

from __future__ import annotations

import struct
from base64 import b64decode
from datetime import UTC, datetime
from functools import partial
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Event, encode
from bridge.api import decode as decode_stored
from bridge_plugins.idigi.documents.decode import Decoded, decode, event_of
from bridge_plugins.idigi.push.protocol import Block
from tests.plugins.known_again import assert_known_again

NOW = datetime(2024, 5, 2, 12, tzinfo=UTC)
DEVICE = "00000000-00000000-00409DFF-FF000001"
XML, JSON = 0, 1


def read(document: str | bytes, *, count: int = 1, format_: int = XML) -> Decoded:
    text = document.encode() if isinstance(document, str) else document
    body = struct.pack(">HHBBI", 7, count, 0, format_, len(text)) + text
    read_at = partial(decode, Block(7, body), inflate_limit=1 << 20)
    assert_known_again(lambda received: read_at(received).events, NOW)
    return read_at(NOW)


def one(document: str | bytes) -> Event:
    (event,) = read(document).events
    assert decode_stored(encode(event)) == event
    return event


def message_of(document: str | bytes) -> Any:
    event = one(document)
    assert event.kind != "undecodable", event.labels
    return event.data


def xml_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def xml_value(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(xml_value(name, item) for item in value)
    if isinstance(value, dict):
        return f"<{name}>{''.join(xml_value(key, item) for key, item in value.items())}</{name}>"
    return f"<{name}>{escape(xml_text(value))}</{name}>"


def xml_message(message: dict[str, Any]) -> str:
    envelope = [
        name for name in ("topic", "operation", "timestamp", "group", "replay") if name in message
    ]
    attributes = "".join(f" {name}={quoteattr(xml_text(message[name]))}" for name in envelope)
    inner = "".join(
        xml_value(name, value) for name, value in message.items() if name not in envelope
    )
    return f"<Msg{attributes}>{inner}</Msg>"


POINT = (
    '<Msg topic="7603/DataPoint/test" operation="INSERTION" '
    'timestamp="2024-05-02T10:11:12.345Z" group="*">'
    "<DataPoint><id>684572e0-12c4-11e5-8507-fa163ed4cf14</id><cstId>7603</cstId><streamId>test</streamId>"
    "<timestamp>1434307047694</timestamp><serverTimestamp>1434307047694</serverTimestamp><data>0.4117</data>"
    "<description/><quality>0</quality></DataPoint></Msg>"
)


@pytest.mark.fact("The XML form of a DataPoint")
def test_the_documented_form_of_a_data_point_is_read() -> None:
    event = one(f"<Document>{POINT}</Document>")
    assert (event.kind, event.device, event.labels["operation"]) == ("DataPoint", "test", "create")
    assert event.data["DataPoint"] == {
        "id": "684572e0-12c4-11e5-8507-fa163ed4cf14",
        "cstId": 7603,
        "streamId": "test",
        "timestamp": 1434307047694,
        "serverTimestamp": 1434307047694,
        "data": "0.4117",
        "description": "",
        "quality": 0,
    }
    (reading,) = event.readings
    assert reading.time == datetime(2015, 6, 14, 18, 37, 27, 694_000, UTC)


@pytest.mark.fact("Root Document with 0..n Msg, root Msg; 0 is a keep-alive")
@pytest.mark.parametrize(
    ("document", "number"),
    [
        ("<Document/>", 0),
        ("<Document></Document>", 0),
        ("<Document> \n </Document>", 0),
        ("<Document><!-- alive --></Document>", 0),
        (f"<Document>{POINT}</Document>", 1),
        (f"<Document>\n {POINT}\n {POINT}\n</Document>", 2),
        (POINT, 1),
        (f'<?xml version="1.0" encoding="UTF-8"?>\n{POINT}', 1),
        (f'<Document xmlns="urn:x">{POINT}</Document>', 1),
        (f"<Document>{POINT}<Other/></Document>", 1),
        (f"\ufeff<Document>{POINT}</Document>", 1),
    ],
)
def test_every_shape_of_a_document_is_read(document: str, number: int) -> None:
    decoded = read(document, count=number)
    assert [event.kind for event in decoded.events] == ["DataPoint"] * number
    assert decoded.remarks == ()


def test_events_keep_the_order_of_the_block() -> None:
    points = "".join(
        f"<Msg topic='1/DataPoint/x'><DataPoint><data>{n}</data></DataPoint></Msg>"
        for n in range(50)
    )
    events = read(f"<Document>{points}</Document>", count=50).events
    assert [event.readings[0].value for event in events] == [str(number) for number in range(50)]


@pytest.mark.fact("DOCTYPE and entity declarations are refused")
@pytest.mark.fact("Deep nesting in XML is undecodable")
@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"", "not XML"),
        (b"<Document>", "not XML"),
        (b"<Document/>x", "not XML"),
        (b"<Document>\xff</Document>", "not XML"),
        (b"<Document>&#0;</Document>", "not XML"),
        (b"<Document>&eacute;</Document>", "not XML"),
        (b'{"Document":null}', "not XML"),
        (b"<!DOCTYPE Document><Document/>", "DOCTYPE"),
        (b'<!DOCTYPE Document SYSTEM "file:///etc/passwd"><Document/>', "DOCTYPE"),
        (b'<!DOCTYPE Document [<!ENTITY a "b">]><Document><Msg>&a;</Msg></Document>', "DOCTYPE"),
        (b'<?xml version="1.0" encoding="klingon"?><Document/>', "not XML"),
        (b'<?xml version="1.0" encoding="zlib"?><Document/>', "not XML"),
        (b'<?xml version="1.0" encoding="punycode"?><Document/>', "unknown encoding: punycode"),
        (b'<?xml version="1.0" encoding="shift_jis"?><Document>\x81</Document>', "shift_jis"),
        (b'<?xml version="1.0" encoding="ascii"?><Document>\xc3\xa9</Document>', "not XML"),
        (b"<a>" * 5000 + b"</a>" * 5000, "nested deeper than 100"),
        (b"<a>" * 101 + b"</a>" * 101, "nested deeper than 100"),
        (b"<DataPoint/>", "neither Document"),
        (b"<Document>text</Document>", "neither Document"),
        (b"<Document><Message/></Document>", "neither Document"),
    ],
)
def test_a_block_that_cannot_be_read_is_kept_as_it_is(document: bytes, words: str) -> None:
    decoded = read(document)
    (event,) = decoded.events
    assert event.kind == "undecodable"
    assert words in event.labels["reason"]
    assert b64decode(event.data["base64"]).endswith(document)
    assert decoded.poison == event.labels["reason"]


def test_the_deepest_document_that_is_read_can_be_stored() -> None:
    inner = "<a/><a>" * 97
    closing = "</a>" * 97
    event = one(f"<Document><Msg topic='1/Job/1'><Job>{inner}{closing}</Job></Msg></Document>")
    assert event.kind == "Job"


@pytest.mark.fact("Very long digit strings in XML stay text")
def test_digits_without_end_stay_text() -> None:
    digits = "1" * 5000
    message = message_of(
        f"<Msg topic='1/DataPoint/x'><DataPoint><quality>{digits}</quality>"
        f"<streamType>LONG</streamType><data>{digits}</data></DataPoint></Msg>"
    )
    assert message["DataPoint"] == {"quality": digits, "streamType": "LONG", "data": digits}


@pytest.mark.fact("A declared encoding is obeyed")
@pytest.mark.parametrize(
    "encoding", ["utf-8", "iso-8859-1", "windows-1252", "utf-16", "shift_jis", "gb18030"]
)
def test_the_declared_encoding_is_obeyed(encoding: str) -> None:
    text = "caf\u00e9" if encoding in ("utf-8", "iso-8859-1", "windows-1252") else "\u6e29\u5ea6"
    document = (
        f'<?xml version="1.0" encoding="{encoding}"?><Msg '
        f'topic="1/Job/1"><Job><name>{text}</name></Job></Msg>'
    )
    assert message_of(document.encode(encoding))["Job"]["name"] == text


@pytest.mark.fact("Without a declaration UTF-8")
def test_without_a_declaration_the_encoding_is_utf_8() -> None:
    assert message_of('<Msg topic="1/Job/1"><Job>\u6e29\u5ea6</Job></Msg>')["Job"] == "\u6e29\u5ea6"


@pytest.mark.fact("The envelope is made of attributes")
def test_the_envelope_is_made_of_attributes() -> None:
    event = one(
        '<Msg topic="7603/Job/1" operation="delete" timestamp="2024-05-02T10:11:12Z" '
        'group="a" replay="true"/>'
    )
    assert event.time == datetime(2024, 5, 2, 10, 11, 12, tzinfo=UTC)
    assert event.labels == {
        "topic": "7603/Job/1",
        "operation": "delete",
        "group": "a",
        "replay": "true",
    }
    assert event.data["replay"] is True


@pytest.mark.fact('replay="true" is a boolean')
@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("false", False), ("TRUE", True), ("perhaps", "perhaps")]
)
def test_a_replay_attribute_becomes_a_boolean(text: str, value: Any) -> None:
    event = one(f'<Msg topic="7603/Job/1" replay="{text}"/>')
    assert event.data["replay"] is value or event.data["replay"] == value
    assert ("replay" in event.labels) == (value is True)


@pytest.mark.fact("Original and replay of an XML event have one key")
def test_original_and_replay_of_an_event_have_one_key() -> None:
    first, again = one(POINT), one(POINT.replace("<Msg", '<Msg replay="true"'))
    assert first.key == again.key
    assert first.key != one(POINT.replace("0.4117", "0.4118")).key


@pytest.mark.fact("Values are converted by field name, never by look")
@pytest.mark.parametrize(
    ("entity", "name", "text", "value"),
    [
        ("DataPoint", "quality", "-3", -3),
        ("DataPoint", "quality", "", ""),
        ("DataPoint", "quality", "good", "good"),
        ("DataPoint", "quality", "1.0", "1.0"),
        ("DataPoint", "timestamp", " 1434307047694\n", 1434307047694),
        ("DataPoint", "cstId", "18446744073709551615", 18446744073709551615),
        ("DataPoint", "cstId", "18446744073709551616", "18446744073709551616"),
        ("DataPoint", "cstId", "-9223372036854775808", -9223372036854775808),
        ("DataPoint", "cstId", "-9223372036854775809", "-9223372036854775809"),
        ("DataPoint", "streamId", "17", "17"),
        ("DataPoint", "description", "true", "true"),
        ("DataPoint", "streamUnits", " \u00b0C ", " \u00b0C "),
        ("FileData", "fdSize", "13", 13),
        ("FileData", "fdArchive", "false", False),
        ("FileData", "fdContentType", "1", "1"),
        ("FileDataCore", "fdArchive", "true", True),
        ("DeviceCore", "dpConnectionStatus", "1", 1),
        ("DeviceCore", "devTerminated", "false", False),
        ("DeviceCore", "dpGlobalIp", "10", "10"),
        ("AlarmStatus", "almsStatus", "2", 2),
        ("AlarmStatus", "almsPayload", "5", "5"),
        ("alert_status", "id", "41826", 41826),
        ("alert_status", "status", "1", "1"),
        ("device", "vendor_id", "4261412864", 4261412864),
        ("device", "id", "1", "1"),
        ("XbeeCore", "xpNodeType", "2", 2),
        ("XbeeCore", "xpNodeId", "2", "2"),
        ("CLIEvent", "sessionId", "17", "17"),
        ("Job", "id", "17", "17"),
        ("Job", "quality", "17", "17"),
    ],
)
def test_a_value_is_converted_by_the_name_of_its_field(
    entity: str, name: str, text: str, value: Any
) -> None:
    message = message_of(
        f"<Msg topic='1/{entity}/1'><{entity}><{name}>{text}</{name}></{entity}></Msg>"
    )
    assert message[entity][name] == value
    assert type(message[entity][name]) is type(value)


@pytest.mark.fact("In XML data is text and read by streamType")
@pytest.mark.parametrize(
    ("stream_type", "text", "value"),
    [
        ("INTEGER", "21", 21),
        ("LONG", "-9007199254740993", -9007199254740993),
        ("LONG", "9223372036854775807", 9223372036854775807),
        ("LONG", "1.5", "1.5"),
        ("FLOAT", "0.4117", 0.4117),
        ("DOUBLE", "1.0E-5", 1e-5),
        ("DOUBLE", "NaN", "NaN"),
        ("STRING", "21", "21"),
        ("STRING", "", ""),
        ("UNKNOWN", "21", "21"),
        (None, "21", "21"),
    ],
)
def test_the_data_of_a_point_is_read_by_its_streams_type(
    stream_type: str | None, text: str, value: Any
) -> None:
    typed = "" if stream_type is None else f"<streamType>{stream_type}</streamType>"
    event = one(
        f"<Msg topic='1/DataPoint/x'><DataPoint><data>{text}</data>{typed}</DataPoint></Msg>"
    )
    assert event.data["DataPoint"]["data"] == value
    assert [(reading.value, type(reading.value)) for reading in event.readings] == [
        (value, type(value))
    ]


@pytest.mark.fact("A nested element becomes an object, a repeated one a list")
def test_a_nested_element_is_an_object_and_a_repeated_one_a_list() -> None:
    message = message_of(
        "<Msg topic='1/Job/1'><Job><id><a>1</a><b/></id>"
        "<target>x</target><target>y</target><target><z>1</z></target></Job></Msg>"
    )
    assert message["Job"] == {"id": {"a": "1", "b": ""}, "target": ["x", "y", {"z": "1"}]}


def test_what_the_vendor_never_showed_is_kept_too() -> None:
    message = message_of(
        "<Msg topic='1/Job/1' tag='x'>a<Job "
        "kind='k'>before<one/>after</Job>b<Job><![CDATA[<&>]]></Job></Msg>"
    )
    assert message == {
        "topic": "1/Job/1",
        "tag": "x",
        "Job": [{"@kind": "k", "one": "", "#text": "beforeafter"}, "<&>"],
        "#text": "ab",
    }


@pytest.mark.parametrize(
    "inner",
    ["", "<DataPoint/>", "<DataPoint><data/><data/></DataPoint>", "<DataPoint>x</DataPoint>"],
)
def test_a_message_with_little_in_it_passes(inner: str) -> None:
    event = one(f"<Document><Msg topic='7603/DataPoint/x'>{inner}</Msg></Document>")
    assert (event.kind, event.readings) == ("DataPoint", ())


@pytest.mark.fact("The same in XML")
def test_a_message_of_only_text_is_kept_beside_the_others() -> None:
    decoded = read(f"<Document>{POINT}<Msg>strange</Msg>{POINT}<Msg/></Document>", count=4)
    assert [event.kind for event in decoded.events] == [
        "DataPoint",
        "undecodable",
        "DataPoint",
        "event",
    ]
    assert b64decode(decoded.events[1].data["base64"]) == b'"strange"'
    assert decoded.remarks == ("events of the block that are no objects, kept as they are: 1",)
    assert decoded.poison is None


@pytest.mark.fact("Format byte of the block is believed, not the setting")
def test_the_format_of_the_block_is_believed() -> None:
    as_json = orjson.dumps({"Document": {"Msg": {"topic": "7603/Job/1"}}})
    assert read(as_json, format_=JSON).events[0].kind == "Job"
    assert read(as_json, format_=XML).events[0].kind == "undecodable"
    assert read(POINT, format_=JSON).events[0].kind == "undecodable"


ENVELOPE = {
    "operation": "UPDATE",
    "timestamp": "2024-05-02T10:11:12.345Z",
    "group": "*",
    "replay": True,
}
SAMPLES = [
    {
        "topic": "7603/DataPoint/test",
        "DataPoint": {
            "cstId": 7603,
            "id": "684572e0-12c4-11e5-8507-fa163ed4cf14",
            "streamId": f"{DEVICE}/level",
            "streamType": stream_type,
            "streamUnits": "%",
            "data": data,
            "timestamp": 1434307047694,
            "serverTimestamp": 1434307047694,
            "quality": 0,
            "description": "",
        },
    }
    for stream_type, data in [
        ("FLOAT", 0.4117),
        ("DOUBLE", 1e-300),
        ("DOUBLE", 9007199254740993),
        ("FLOAT", 21),
        ("LONG", 2**63 - 1),
        ("LONG", -(2**63)),
        ("INTEGER", 0),
        ("STRING", "21"),
        ("STRING", " <on & off> "),
        ("JSON", '{"a": 1}'),
        ("BINARY", "aGVsbG8="),
    ]
] + [
    {
        "topic": f"7603/FileData/db/7603_Example/{DEVICE}/alert/a.txt",
        "FileData": {
            "id": {"fdPath": f" /db/7603_Example/{DEVICE}/alert/", "fdName": "a.txt"},
            "cstId": 7603,
            "fdType": "file",
            "fdContentType": "text/plain",
            "fdSize": 13,
            "fdData": "aGVsbG8s\nIGlEaWdpCg==",
            "fdArchive": False,
            "fdCreatedDate": "2013-06-24T14:52:55.421Z",
        },
    },
    {
        "topic": f"7603/FileDataCore/{DEVICE}/a",
        "FileDataCore": {"id": {"fdName": "a"}, "fdSize": 0, "fdArchive": True},
    },
    {
        "topic": "7603/DeviceCore/7201/0",
        "DeviceCore": {
            "id": {"devId": 7201, "devVersion": 0},
            "cstId": 7603,
            "grpId": 7603,
            "devConnectwareId": DEVICE,
            "devMac": "00:40:9D:00:00:01",
            "dpConnectionStatus": 1,
            "dpDeviceType": "unknown",
            "dpFirmwareLevel": 0,
            "dpRestrictedStatus": 0,
            "dpCapabilities": 0,
            "devTerminated": False,
            "devEffectiveStartDate": "2024-01-01T08:00:00.000Z",
        },
    },
    {
        "topic": "7603/AlarmStatus/4711",
        "AlarmStatus": {
            "id": {"almId": 4711, "almsSourceEntityId": f"{DEVICE}/level"},
            "cstId": 7603,
            "almsStatus": 1,
            "almsUpdateTime": "2024-05-02T10:11:12.345Z",
            "almsPayload": "<Payload/>",
        },
    },
    {
        "topic": f"7603/alert_status/41826/aggregate-throttle%2F{DEVICE}",
        "alert_status": {
            "id": 41826,
            "device_name": DEVICE,
            "source": f"{DEVICE}/level",
            "status": "fired",
        },
    },
    {
        "topic": f"7603/devices/{DEVICE}",
        "device": {
            "id": DEVICE,
            "name": "pump-1",
            "connection_status": "disconnected",
            "vendor_id": 4261412864,
            "geoposition": {"coordinates": [7.45, 51.51]},
            "in_maintenance_window": "no",
            "alerts": 0,
        },
    },
    {
        "topic": "7603/XbeeCore/x/1",
        "XbeeCore": {"cstId": 1, "grpId": 2, "devConnectwareId": DEVICE, "xpNodeType": 1},
    },
    {
        "topic": f"7603/CLIEvent/{DEVICE}/17",
        "CLIEvent": {"type": "data", "data": "bHMK", "sessionId": "17"},
    },
    {
        "topic": "7603/DiaChannelDataFull/x",
        "DiaChannelDataFull": {"id": {"dcChannelName": "c"}, "dcdStringValue": "3"},
    },
    {"topic": "7603/Job/1"},
]


@pytest.mark.fact("The same event in JSON and XML is the same")
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["topic"].split("/")[1])
def test_the_same_event_in_json_and_in_xml_is_the_same(sample: dict[str, Any]) -> None:
    message = ENVELOPE | sample
    (in_json,) = read(orjson.dumps({"Document": {"Msg": message}}), format_=JSON).events
    in_xml = one(f"<Document>{xml_message(message)}</Document>")
    assert in_xml == in_json


@pytest.mark.fact("Operations differ between JSON and XML")
def test_an_operation_in_xml_is_told_in_the_same_word() -> None:
    in_json = event_of({"topic": "7603/Job/1", "operation": "INSERTION"}, NOW)
    in_xml = one('<Msg topic="7603/Job/1" operation="create"/>')
    assert evolve(in_xml, key="", data=None) == evolve(in_json, key="", data=None)


@pytest.mark.fact("Integers of XML are exact")
@given(st.integers(-(2**70), 2**70), st.sampled_from(["timestamp", "data"]))
def test_no_integer_is_ever_rounded(number: int, name: str) -> None:
    message = message_of(
        f"<Msg topic='1/DataPoint/x'><DataPoint><streamType>LONG</streamType>"
        f"<{name}>{number}</{name}></DataPoint></Msg>"
    )
    assert int(message["DataPoint"][name]) == number
    assert isinstance(message["DataPoint"][name], int) == (-(2**63) <= number < 2**64)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_fraction_is_what_json_would_read(number: float) -> None:
    message = message_of(
        f"<Msg topic='1/DataPoint/x'><DataPoint><streamType>DOUBLE</streamType>"
        f"<data>{number!r}</data></DataPoint></Msg>"
    )
    assert message["DataPoint"]["data"] == orjson.loads(repr(number))


TEXTS = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"
    ),
    max_size=8,
)
VALUES = st.recursive(
    TEXTS.filter(str.strip),
    lambda inner: st.dictionaries(
        st.sampled_from(["a", "b", "id", "data"]), inner, min_size=1, max_size=3
    ),
    max_leaves=8,
)


@given(VALUES)
def test_objects_of_texts_come_through_unchanged(value: Any) -> None:
    assert message_of(xml_message({"topic": "7603/Job/1", "Job": value}))["Job"] == value


PIECES = st.sampled_from(
    [
        *(
            "<Document>",
            "</Document>",
            "<Document/>",
            "<Msg>",
            "</Msg>",
            "<Msg topic='7603/DataPoint/x'>",
            "<DataPoint>",
        ),
        *(
            "</DataPoint>",
            "<data>",
            "</data>",
            "<data/>",
            "<streamType>LONG</streamType>",
            "17",
            " ",
            "&lt;",
            "<![CDATA[",
        ),
        *(
            "]]>",
            "<!--",
            "-->",
            "<?xml version='1.0' encoding='",
            "'?>",
            "shift_jis",
            "utf-16",
            "<!DOCTYPE",
            "\x00",
            "&a;",
        ),
    ]
)


@pytest.mark.fact("No bytes make the decoder of XML fail")
@given(st.lists(PIECES, max_size=12).map("".join).map(str.encode) | st.binary(max_size=60))
def test_any_bytes_give_events_that_can_be_stored(document: bytes) -> None:
    for event in read(document).events:
        assert decode_stored(encode(event)) == event


@given(
    st.sampled_from(["utf-7", "hex", "idna", "punycode", "utf-16-be", "unicode_escape", "big5"]),
    st.binary(max_size=30),
)
def test_any_declared_encoding_gives_events_that_can_be_stored(encoding: str, rest: bytes) -> None:
    document = (
        f'<?xml version="1.0" encoding="{encoding}"?><Msg topic="1/Job/1">'.encode()
        + rest
        + b"</Msg>"
    )
    for event in read(document).events:
        assert decode_stored(encode(event)) == event
