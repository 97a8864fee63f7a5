"""Keys: one message has one key for ever."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Event
from bridge_plugins.idigi.documents.decode import decode, event_of
from bridge_plugins.idigi.documents.keys import event_key, item_key, point_key
from bridge_plugins.idigi.push.protocol import Block

NOW = datetime(2024, 5, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
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


def decoded(name: str, received: datetime = NOW) -> list[Event]:
    frame = SAMPLES[name]
    block = Block(struct.unpack_from(">H", frame, 6)[0], frame[6:])
    return list(decode(block, received, inflate_limit=1 << 20).events)


@pytest.mark.fact("A sample has the same key a month later")
@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_has_the_same_key_a_month_later(name: str) -> None:
    assert [each.key for each in decoded(name)] == [each.key for each in decoded(name, LATER)]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_has_the_key_that_it_always_had(name: str) -> None:
    assert [event.key for event in decoded(name)] == KEYS[name]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_known_by_its_key_of_version_1_0(name: str) -> None:
    for event, key in zip(decoded(name), FORMER[name], strict=True):
        assert key in event.former_keys


def test_a_message_without_any_time_has_the_same_key_later() -> None:
    message = {"topic": "7603/DataPoint/test", "DataPoint": {"streamId": "test", "data": 1}}
    assert event_of(message, NOW).key == event_of(message, LATER).key


def test_an_item_that_is_no_event_has_one_key_and_its_former_ones() -> None:
    now, later = event_of([1e16], NOW), event_of([1e16], LATER)
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
