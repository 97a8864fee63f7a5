"""Keys: one message has one key for ever, at one time."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Event, encode
from bridge.api import decode as decode_stored
from bridge_plugins.idigi.documents.decode import decode, event_of
from bridge_plugins.idigi.documents.keys import event_key, item_key, point_key, point_key_time
from bridge_plugins.idigi.push.protocol import Block
from tests.plugins.known_again import MONTH, assert_known_again, assert_one_time_for_each_key

NOW = datetime(2024, 5, 2, 12, tzinfo=UTC)
LATER = NOW + MONTH
SAMPLES = {
    frame["name"]: bytes.fromhex(frame["hex"])
    for frame in json.loads((Path(__file__).parents[3] / "data" / "idigi_frames.json").read_text())
    if frame["decoded"]["type"] == 3
}
KEYS = {
    "V4": [
        "33e0ad22c87c1aae0d078c9033796330314ef1b1a96f285b18e15c67314790d2",
        "49e5478991f70cc52ec8dd0a5760976dc54ab033bf90c6926b300a8587e40b46",
    ],
    "V5": ["04502f8de70435814964ea657ce46fc5d7c973ee9fa872dc50df8ed517b26458"],
}
"""Never to be changed: whoever runs a bridge has them in the spool."""
FORMER = {
    "V4": [
        "212c95ca3e5b29832caf59186ee7656131ad0cb9d283a7af7fa95ebcd2785d7e",
        "2952683f8ff1ec5a343b31a2278bd33784d67a303232a7a9c0f957c44faed2b0",
    ],
    "V5": ["95c0a42a538f603b624fd7c565d556ebfcb5dd63a142c03c66d92709d489949d"],
}
"""As version 1.0 made them."""


STAMPED = datetime(2015, 6, 14, 18, 37, 27, 815_000, UTC)
"""The time in each of their envelopes."""


def decoded(name: str, received: datetime = NOW) -> list[Event]:
    frame = SAMPLES[name]
    block = Block(struct.unpack_from(">H", frame, 6)[0], frame[6:])
    return list(decode(block, received, inflate_limit=1 << 20).events)


@pytest.mark.fact("A sample has the same key a month later")
@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_has_the_same_key_a_month_later(name: str) -> None:
    assert_known_again(lambda received: decoded(name, received), NOW)


@pytest.mark.fact("An event is known at the time of its envelope, which a replay has too")
@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_has_the_key_and_time_that_it_always_had(name: str) -> None:
    assert [event.key for event in decoded(name)] == KEYS[name]
    assert {event.key_time for event in decoded(name)} == {STAMPED}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_known_by_its_key_of_version_1_0(name: str) -> None:
    for event, key in zip(decoded(name), FORMER[name], strict=True):
        assert key in event.former_keys


def test_a_message_without_any_time_has_the_same_key_later() -> None:
    message = {"topic": "7603/DataPoint/test", "DataPoint": {"streamId": "test", "data": 1}}
    assert event_of(message, NOW).key == event_of(message, LATER).key


@pytest.mark.fact("Times of 1969, 2099, 9999 and of nobody's calendar harm nothing")
@pytest.mark.parametrize(
    ("stamp", "entity", "expected"),
    [
        ("2024-05-02T10:11:12.345Z", {"timestamp": 1}, "2024-05-02T10:11:12.345+00:00"),
        ("2024-05-02T10:11:12", None, "2024-05-02T10:11:12+00:00"),
        ("2099-12-31T23:59:59Z", None, "2099-12-31T23:59:59+00:00"),
        ("1969-12-31T23:59:59Z", None, "1969-12-31T23:59:59+00:00"),
        ("0001-01-01T00:00:00Z", None, "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59.999Z", None, "9999-12-31T23:59:59.999+00:00"),
        ("9999-12-31T23:59:59-01:00", {"timestamp": 0}, "1970-01-01T00:00:00+00:00"),
        ("0001-01-01T00:00:00+01:00", {"timestamp": "soon"}, None),
        ("10000-01-01T00:00:00Z", {"timestamp": 10**18}, None),
        ("yesterday", {"timestamp": 10**18, "serverTimestamp": -1000}, "1969-12-31T23:59:59+00:00"),
        (5, {"timestamp": 4102444799000}, "2099-12-31T23:59:59+00:00"),
        (None, {"timestamp": 253402300799999}, "9999-12-31T23:59:59.999+00:00"),
        (None, {"timestamp": 253402300800000}, None),
        (None, {"timestamp": -62135596800000}, "0001-01-01T00:00:00+00:00"),
        (None, {"timestamp": -62135596800001}, None),
        (None, {"timestamp": -(2**63), "serverTimestamp": 2**64 - 1}, None),
        (None, {"fdLastModifiedDate": "2013-06-24T14:52:55Z"}, "2013-06-24T14:52:55+00:00"),
        (None, {"fdLastModifiedDate": 5, "timestamp": True}, None),
        (None, [1], None),
        (None, None, None),
    ],
)
@pytest.mark.parametrize("name", ["DataPoint", "FileData", "Brandnew"])
def test_any_time_has_an_outcome(name: str, stamp: Any, entity: Any, expected: str | None) -> None:
    message = {"topic": f"7603/{name}/test", "timestamp": stamp, name: entity}
    event = event_of(message, NOW)
    assert event.key_time == (None if expected is None else datetime.fromisoformat(expected))
    assert decode_stored(encode(event)) == event
    assert_known_again(lambda received: [event_of(message, received)], NOW)


def test_a_message_said_otherwise_is_known_at_the_same_time() -> None:
    entity = {"streamId": "test", "data": 1, "timestamp": 1434307047694}
    said = [
        {"timestamp": "soon", "group": "*", "DataPoint": entity},
        {"timestamp": "soon", "replay": True, "DataPoint": entity},
        {"timestamp": "soon", "DataPoint": dict(reversed(entity.items()))},
        {"timestamp": "soon", "FileData": entity},
        {"timestamp": "soon", "unheardOf": entity},
    ]
    events = [event_of(message, NOW) for message in said]
    assert len({event.key for event in events}) == 1
    assert_one_time_for_each_key(events)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (1434307047694, datetime(2015, 6, 14, 18, 37, 27, 694_000, UTC)),
        ("2015-06-14T18:37:27.694Z", datetime(2015, 6, 14, 18, 37, 27, 694_000, UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (-1000, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (10**18, None),
        ("10000-01-01T00:00:00Z", None),
        ("soon", None),
        (1434307047694.0, None),
        (True, None),
        (None, None),
    ],
)
def test_a_point_of_a_stream_is_known_at_its_time(time: Any, expected: datetime | None) -> None:
    assert point_key_time(time) == expected


def test_an_item_that_is_no_event_has_one_key_and_its_former_ones() -> None:
    now, later = event_of([1e16], NOW), event_of([1e16], LATER)
    assert now.key_time is later.key_time is None
    assert now.key == later.key == item_key([1e16])
    assert len(now.former_keys) == 2  # orjson has spelled such a number in two ways


# Values of the two kinds of a pair that a careless spelling would make one.
DIFFERENT = [
    (1, "1"),
    (1, True),
    (0, False),
    (1, 1.0),
    (None, "n"),
    ("", None),
    (["a", "b"], ["ab"]),
    ([["a"], "b"], [["a", "b"]]),
    ([], {}),
    ({"a": 1}, ["a", 1]),
    ({"a": {"b": 1}}, {"a": {}, "b": 1}),
    (1e16, 10**16),
    (0.1 + 0.2, 0.3),
    (0.0, -0.0),
    ("s1:a", "a"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_values_that_differ_have_different_keys(one: Any, other: Any) -> None:
    assert item_key(one) != item_key(other)
    assert event_key({}, one) != event_key({}, other)
    assert point_key("s", 1, one) != point_key("s", 1, other)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


def exact(value: Any) -> str:
    """Write a value so that two texts are equal if the values are, types and all."""
    if isinstance(value, dict):
        return f"object {sorted((name, exact(item)) for name, item in value.items())}"
    return repr(list(map(exact, value))) if isinstance(value, list) else repr(value)


@given(VALUES, VALUES)
def test_keys_are_equal_just_when_the_values_are(one: Any, other: Any) -> None:
    assert (item_key(one) == item_key(other)) == (exact(one) == exact(other))
    assert item_key(one) == item_key(json.loads(json.dumps(one)))
