"""Parts of the emulator by themselves: topics, conditions, documents, events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from random import Random
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_plugins.idigi.emulator.content.documents import json_document, xml_document
from bridge_plugins.idigi.emulator.content.event_factory import (
    TRIGGERED,
    alarm_status,
    data_point,
    device_core,
    device_id,
)
from bridge_plugins.idigi.emulator.content.topics import (
    Occurrence,
    is_known,
    topic_fits,
    topics_of,
)
from bridge_plugins.idigi.emulator.rest.conditions import parse_condition

TIME = datetime(2024, 5, 2, 10, 11, 12, 345000, UTC)


# Topics


@pytest.mark.fact("Topics: names, paths, wildcards, filters by group and operation")
@pytest.mark.parametrize(
    ("topic", "happens"),
    [
        ("DataPoint", True),
        ("DataPoint/dev", True),
        ("DataPoint/dev/metrics/level", True),
        ("DataPoint/*/metrics/level", True),
        ("DataPoint/*/metrics", True),
        ("DataPoint/*.*", False),
        ("DataPoint/other", False),
        ("DataPoin", False),
        ("DeviceCore", False),
        ("[group=Staging]DataPoint", True),
        ("[group=a,Staging]DataPoint", True),
        ("[group=a,b]DataPoint", False),
        ("[operation=C]DataPoint", True),
        ("[operation=U,C]DataPoint", True),
        ("[operation=U]DataPoint", False),
        ("[group=Staging][operation=C]DataPoint/dev", True),
        ("DataPoint[C]", True),
        ("DataPoint[U]", False),
        ("DataPoint[D]", False),
    ],
)
def test_a_topic_asks_for_what_it_names(topic: str, happens: bool) -> None:
    occurrence = Occurrence("DataPoint/dev/metrics/level", "DataPoint", {}, "INSERTION", "Staging")
    assert topic_fits(topic, occurrence) is happens


@pytest.mark.fact("Topics: %2F is a slash inside one part")
@pytest.mark.parametrize(
    ("topic", "happens"),
    [
        ("FileData/~%2Fdev/trace.log", True),
        ("FileData/~%2fdev/trace.log", True),
        ("FileData/~/dev/trace.log", False),
        ("FileData/*.*", True),
    ],
)
def test_an_escaped_slash_belongs_to_its_part(topic: str, happens: bool) -> None:
    assert topic_fits(topic, Occurrence("FileData/~%2Fdev/trace.log", "FileData", {})) is happens


@pytest.mark.fact("Topics: + is a blank")
def test_a_plus_in_a_topic_is_a_blank() -> None:
    event = Occurrence("FileData/db/7603_Example/Western+Region/trace.log", "FileData", {})
    assert topic_fits("FileData/db/7603_Example/Western%20Region", event)


@pytest.mark.fact("Topics: a comma in brackets does not separate")
def test_a_comma_in_brackets_separates_no_topics() -> None:
    assert topics_of("[group=a,b]devices, DataPoint") == ["[group=a,b]devices", "DataPoint"]


@given(st.text())
def test_any_text_is_a_topic_or_none_but_never_a_crash(text: str) -> None:
    is_known(text)
    assert topic_fits(text, Occurrence("DataPoint/x", "DataPoint", {})) in (True, False)


# Conditions


VALUES = st.text(st.characters(exclude_characters="'"), max_size=20)


@pytest.mark.fact("Equality in a condition is on the exact text")
@given(VALUES, VALUES)
def test_equality_is_on_the_exact_text(wanted: str, found: str) -> None:
    assert parse_condition(f"monTopic='{wanted}'")({"monTopic": found}) is (wanted == found)


@given(st.text())
def test_any_text_is_a_condition_or_is_refused(text: str) -> None:
    try:
        holds = parse_condition(text)
    except ValueError:
        return
    assert holds({}) in (True, False)


def test_and_binds_closer_than_or() -> None:
    holds = parse_condition("a='1' or b='1' and c='1'")
    assert holds({"a": "1"})
    assert holds({"b": "1", "c": "1"})
    assert not holds({"b": "1"})


def test_numbers_are_compared_as_numbers_and_the_rest_as_text() -> None:
    assert parse_condition("n<'10'")({"n": "9"})
    assert parse_condition("n>'a'")({"n": "b"})


# Documents


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}", fullmatch=True)
TEXTS = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=20
)
ENTITIES = st.dictionaries(NAMES, TEXTS, min_size=1, max_size=4)


@pytest.mark.fact("XML may declare another encoding")
@settings(max_examples=50)
@given(ENTITIES, st.sampled_from(["", "ISO-8859-1", "UTF-16"]))
def test_a_document_in_xml_reads_back_in_every_encoding(
    entity: dict[str, str], encoding: str
) -> None:
    document = xml_document([{"topic": "1/X", "X": entity}], encoding=encoding)
    (msg,) = ElementTree.fromstring(document)
    assert {element.tag: element.text for element in msg[0]} == entity


@pytest.mark.fact("XML: a nested element is an object, a repeated one a list")
def test_xml_repeats_lists_and_nests_objects() -> None:
    entity = {"a": [1, 2], "b": {"c": None}, "d": True, "e": "x\0<"}
    text = xml_document([{"topic": "1/X", "replay": True, "X": entity}], "Msg").decode()
    assert text == (
        '<Msg topic="1/X" replay="true"><X><a>1</a><a>2</a><b><c '
        "/></b><d>true</d><e>x&lt;</e></X></Msg>"
    )


@pytest.mark.fact("Document.Msg is an object for one event and a list for several")
@settings(max_examples=50)
@given(
    st.lists(st.dictionaries(NAMES, st.integers() | TEXTS, max_size=3), min_size=1, max_size=3),
    st.booleans(),
)
def test_msg_is_an_object_for_one_and_a_list_for_several(
    messages: list[dict[str, Any]], escaped: bool
) -> None:
    msg = json.loads(json_document(messages, escaped_slashes=escaped))["Document"]["Msg"]
    assert msg == (messages[0] if len(messages) == 1 else messages)


# Events


@pytest.mark.fact("DeviceCore: fields, device id from the MAC, 1 connected and 0 disconnected")
def test_a_device_in_its_topic_has_its_mac_in_its_id() -> None:
    event = device_core(1, connected=True, time=TIME)
    assert event.topic == "DeviceCore/7201/0"
    assert event.entity["devConnectwareId"] == "00000000-00000000-00409DFF-FF000001"
    assert (event.entity["devMac"], event.entity["dpConnectionStatus"]) == ("00:40:9D:00:00:01", 1)
    assert device_core(1, connected=False, time=TIME).entity["dpConnectionStatus"] == 0
    assert (
        device_core(1, connected=False, time=TIME, operation="DELETE").entity["devTerminated"]
        is True
    )


@pytest.mark.fact("DataPoint: fields and milliseconds; any field may be missing")
def test_a_data_point_has_the_documented_fields() -> None:
    event = data_point("test", 0.4117, time=TIME, random=Random(1))
    assert (event.topic, event.operation) == ("DataPoint/test", "INSERTION")
    assert set(event.entity) == {
        "cstId",
        "id",
        "streamId",
        "streamType",
        "streamUnits",
        "data",
        "timestamp",
        "serverTimestamp",
        "quality",
        "description",
    }
    assert event.entity["timestamp"] == 1714644672345
    oldest = data_point(
        "test", 1, time=TIME, random=Random(1), stream_type=None, quality=None, cstId=None
    )
    assert {"streamType", "quality", "cstId"}.isdisjoint(oldest.entity)


@pytest.mark.fact("AlarmStatus: fields, states and source")
def test_an_alarm_names_its_source() -> None:
    alarm = alarm_status(4711, TRIGGERED, number=1, signal="level", time=TIME)
    source = f"{device_id(1)}/level"
    assert (alarm.entity["id"]["almsSourceEntityId"], alarm.entity["almsStatus"]) == (source, 1)
