"""Keys: the same for the same message, at one time, for ever, whoever writes JSON."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Request, decode, encode
from bridge.api.former import former_digests
from bridge_plugins.wattsense.messages.events import value_event
from bridge_plugins.wattsense.messages.keys import digest
from bridge_plugins.wattsense.settings import Settings
from bridge_plugins.wattsense.webhook import make_receive
from tests.plugins.known_again import assert_known_again, assert_one_time_for_each_key, identities

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SAMPLES = [
    orjson.loads(line)
    for line in (Path(__file__).parents[3] / "data" / "wattsense_messages.jsonl")
    .read_bytes()
    .splitlines()
]
SETTINGS = Settings(
    signature="none",
    alarm_signals={"status": "$[*].status", "value": "$[*].value"},
    alarm_numbers={"open": "1", "closed": "0"},
    alarm_device="$[*].deviceId",
)


def events(sample, now=NOW, settings=SETTINGS, body=None):
    receive = make_receive(settings, sample["route"], lambda: now)
    content = orjson.dumps(sample["body"]) if body is None else body
    return receive(Request("POST", "/", "", {}, content)).events


@pytest.mark.fact("A message has the same key whenever it comes")
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_message_has_the_same_key_a_month_later(sample):
    assert_known_again(lambda now: events(sample, now=now), NOW)


@pytest.mark.fact("A value is known at its timestamp; an event or alarm at no time")
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_value_is_known_at_its_timestamp(sample):
    for event in events(sample):
        assert event.key_time == (event.time if event.kind == "value" else None)


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_message_written_otherwise_has_the_same_key(sample):
    def turned(value):
        if isinstance(value, dict):
            return {name: turned(value[name]) for name in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    body = orjson.dumps(turned(sample["body"]), option=orjson.OPT_INDENT_2)
    body = body.replace(b"21.5", b"2.15E1").replace(b"215", b"215.0")
    assert identities(events(sample, body=body)) == identities(events(sample))


@pytest.mark.fact("Keys never change; those of version 1.0 are known as former ones")
@pytest.mark.parametrize("sample", SAMPLES)
def test_keys_are_for_ever_and_version_1_knew_the_former_ones(sample):
    # Both are written out in the samples: spools hold them.
    assert [event.key for event in events(sample)] == sample["keys"]
    for event, key in zip(events(sample), sample["version_1_keys"], strict=True):
        assert key in event.former_keys


@pytest.mark.parametrize("body", [b"", b"\xff", b"[1,", b"7", b'{"deviceId":"d","timestamp":1}'])
@pytest.mark.parametrize("route", ["values", "events", "alarms"])
def test_what_cannot_be_read_is_known_again_without_a_time(route, body):
    settings = Settings(signature="none", unreadable="keep")
    found = events({"route": route}, settings=settings, body=body)
    assert [event.key_time for event in found] == [None]
    assert_known_again(
        lambda now: events({"route": route}, now=now, settings=settings, body=body), NOW
    )


def value_at(timestamp, now=NOW, **settings):
    item = {"deviceId": "d", "property": "p", "timestamp": timestamp, "payload": 1}
    return value_event(item, Settings(signature="none", **settings).value_policy(), now)


@pytest.mark.fact("Times of 1969, 2099, 9999 and of nobody's calendar harm nothing")
@pytest.mark.parametrize(
    ("timestamp", "settings", "expected", "dropped"),
    [
        (1700000000000, {}, "2023-11-14T22:13:20+00:00", None),
        (1, {}, "1970-01-01T00:00:01+00:00", None),
        (4102444799000, {}, "2099-12-31T23:59:59+00:00", "future"),
        (253402300799, {"timestamp_unit": "s"}, "9999-12-31T23:59:59+00:00", "future"),
        (253402300800, {"timestamp_unit": "s"}, None, "timestamp"),
        (253402300799999, {"timestamp_unit": "ms"}, "9999-12-31T23:59:59.999+00:00", "future"),
        (253402300800000, {"timestamp_unit": "ms"}, None, "timestamp"),
        (2**64 - 1, {}, None, "timestamp"),
        (0, {}, None, "timestamp"),
        (-1000, {}, None, "timestamp"),
        (-(2**63), {}, None, "timestamp"),
        (1e300, {}, None, "timestamp"),
        (None, {}, None, "timestamp"),
    ],
)
def test_any_time_has_an_outcome(timestamp, settings, expected, dropped):
    event = value_at(timestamp, **settings)
    assert event.key_time == (None if expected is None else datetime.fromisoformat(expected))
    assert event.labels.get("dropped") == dropped
    assert decode(encode(event)) == event
    assert_known_again(lambda now: [value_at(timestamp, now, **settings)], NOW)


def test_one_instant_in_several_units_is_one_key_at_one_time():
    found = [
        value_at(1700000000),
        value_at(1700000000000),
        value_at(1700000000000, timestamp_unit="ms"),
        value_at(1700000000000000),
    ]
    assert len({event.key for event in found}) == 1
    assert_one_time_for_each_key(found)


@pytest.mark.fact("What the settings say of a message's time does not move its key")
def test_settings_that_find_a_time_do_not_move_the_key_of_an_alarm():
    sample = {"route": "alarms", "body": {"status": "open", "at": 1700000000000}}
    found = [
        event
        for where in (None, "$.at", "$.nowhere")
        for event in events(sample, settings=Settings(signature="none", alarm_time=where))
    ]
    assert len({event.key for event in found}) == 1
    assert len({event.time for event in found}) == 2
    assert_one_time_for_each_key(found)


def test_samples_that_differ_have_keys_that_differ():
    made = [event.key for sample in SAMPLES for event in events(sample)]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize(
    ("fields", "spelling"),
    [
        (["a", 1], "l2:s1:ai1;"),
        ([True, False, None], "l3:tfn"),
        ([21.0, -0.0, 21.5], "l3:i21;i0;x0x1.5800000000000p+4;"),
        ([1e16, 10**16], "l2:x0x1.1c37937e08000p+53;i10000000000000000;"),
        ([{"b": [], "a": "é;"}], "l1:d2:s1:as2:é;s1:bl0:"),
    ],
)
def test_a_key_is_the_hash_of_contents_in_our_own_spelling(fields, spelling):
    assert digest(*fields) == hashlib.sha256(spelling.encode()).hexdigest()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text("si1:;", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab:"), inner, max_size=3),
    max_leaves=8,
)


@given(one=JSON, other=JSON)
def test_contents_that_differ_are_spelled_differently(one, other):
    same = former_digests(whole(one)) == former_digests(whole(other))
    assert (digest(one) == digest(other)) == same


def whole(value):
    """Return a value in which 21.0 is 21 and 1e16 is not 10**16, as in a key."""
    if isinstance(value, dict):
        return {name: whole(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [whole(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    return f"#{value!r}" if isinstance(value, int | float) else value
