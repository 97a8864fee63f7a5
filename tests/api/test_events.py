"""Events as text: what goes in comes back; what could not does not go in."""

from __future__ import annotations

import math
from base64 import b64decode
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Event, Reading, decode, encode, parse_json, raw_data
from bridge.api.events import MAX_NESTED

TIME = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
NAIVE = TIME.replace(tzinfo=None)

numbers = st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
zones = st.timezones() | st.integers(-1439, 1439).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)
times = st.datetimes(NAIVE.replace(year=2), NAIVE.replace(year=9998), timezones=zones)
readings = st.builds(Reading, texts, numbers | st.booleans() | texts, times, st.none() | texts)
documents = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
events = st.builds(
    Event,
    key=texts,
    device=texts,
    kind=texts,
    time=times,
    readings=st.lists(readings, max_size=4).map(tuple),
    labels=st.dictionaries(texts, texts, max_size=4),
    data=documents,
)


def event(**fields: Any) -> Event:
    return Event(**{"key": "k1", "device": "d1", "kind": "temperature", "time": TIME, **fields})


def nested(levels: int) -> bytes:
    """Alternate arrays and objects, so that neither alone reaches the limit."""
    opening = b'[{"a":' * (levels // 2) + b"[" * (levels % 2)
    return opening + b"1" + b"]" * (levels % 2) + b"}]" * (levels // 2)


def in_utc(given: Event) -> Event:
    """A time that its zone has twice or never equals none of another zone, so they are
    compared in one.
    """
    readings = tuple(
        attrs.evolve(reading, time=reading.time.astimezone(UTC)) for reading in given.readings
    )
    return attrs.evolve(given, time=given.time.astimezone(UTC), readings=readings)


@given(events)
def test_an_event_comes_back_as_it_was_stored(original: Event):
    assert decode(encode(original)) == in_utc(original)


@given(texts)
def test_an_event_is_one_line_whatever_texts_it_holds(text: str):
    assert len(encode(event(kind=text, labels={text: text}, data={text: [text]})).splitlines()) == 1


@given(readings)
def test_a_number_comes_back_as_the_same_kind_of_number(reading: Reading):
    (back,) = decode(encode(event(readings=(reading,)))).readings
    assert type(back.value) is type(reading.value)


def test_a_time_of_any_zone_is_stored_in_utc():
    summer = TIME.astimezone(timezone(timedelta(hours=2)))
    body = orjson.loads(encode(event(time=summer, readings=(Reading("t", 1, summer),))))
    assert body["time"] == body["readings"][0]["time"] == "2026-05-04T10:00:00+00:00"


def test_a_stored_event_can_be_read_by_a_person():
    stored = encode(
        event(
            readings=(Reading("t", 21.5, TIME, "°C"),), labels={"room": "hall"}, data={"raw": [1]}
        )
    )
    assert stored.decode() == (
        '{"key":"k1","device":"d1","kind":"temperature","time":"2026-05-04T10:00:00+00:00",'
        '"readings":[{"signal":"t","value":21.5,"time":"2026-05-04T10:00:00+00:00","unit":"°C"}],'
        '"labels":{"room":"hall"},"data":{"raw":[1]}}'
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"time": NAIVE}, "time 2026-05-04T10:00:00 has no time zone"),
        ({"readings": (Reading("t", 1, NAIVE),)}, "has no time zone"),
        (
            {"readings": (Reading("t", math.nan, TIME),)},
            "signal 't' is nan, expected a finite number",
        ),
        (
            {"readings": (Reading("t", -math.inf, TIME),)},
            "signal 't' is -inf, expected a finite number",
        ),
        ({"readings": (Reading("t", 1 << 64, TIME),)}, "64-bit"),
        ({"readings": (Reading("t", -(1 << 63) - 1, TIME),)}, "64-bit"),
        ({"readings": (Reading("t", "\ud800", TIME),)}, "surrogates"),
        ({"data": {"level": [1, {"x": math.nan}]}}, "finite"),
        ({"data": math.inf}, "finite"),
        ({"data": (None, {1.5: None}, math.nan)}, "key"),
        ({"data": [1 << 64]}, "64-bit"),
        ({"data": "\ud800"}, "surrogates"),
        ({"data": {"\udfff": 1}}, "surrogates"),
        ({"data": {1: "one"}}, "key"),
        ({"data": b"bytes"}, "bytes"),
        ({"data": object()}, "object"),
        ({"labels": {"room": "\ud800"}}, "surrogates"),
        ({"time": datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))}, "out of range"),
        ({"time": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))}, "out of range"),
    ],
)
def test_what_could_not_be_read_back_is_refused_with_the_reason(
    fields: dict[str, Any], reason: str
):
    with pytest.raises(
        ValueError, match=r"event 'k1' of device 'd1' cannot be stored: "
    ) as refused:
        encode(event(**fields))
    assert reason in str(refused.value)


def test_an_event_without_a_key_is_stored_and_read_back():
    keyless = event(key=None)
    assert b'"key":null' in encode(keyless)
    assert decode(encode(keyless)) == keyless


def test_an_event_without_a_key_is_named_by_its_device():
    with pytest.raises(ValueError, match=r"an event without a key of device 'd1' cannot be stored"):
        encode(event(key=None, time=TIME.replace(tzinfo=None)))


def test_a_key_that_is_no_text_is_named_without_breaking_the_log():
    with pytest.raises(ValueError, match="surrogates") as refused:
        encode(event(key="\ud800"))
    assert str(refused.value).encode()


def test_a_document_that_contains_itself_is_refused():
    data: list[Any] = []
    data.append(data)
    with pytest.raises(ValueError, match="cannot be stored"):
        encode(event(data=data))


def test_null_is_stored_as_null():
    assert decode(encode(event(data=[None, {"a": None}]))).data == [None, {"a": None}]


@pytest.mark.parametrize("levels", [MAX_NESTED - 1, MAX_NESTED])
def test_a_document_as_deep_as_allowed_is_read_and_can_be_stored(levels: int):
    document = parse_json(nested(levels))
    assert decode(encode(event(data=document))).data == document


def test_a_deep_document_may_have_more_brackets_than_levels():
    document = parse_json(b"[" + nested(MAX_NESTED - 1) + b",[],{}]")
    assert decode(encode(event(data=document))).data == document


@pytest.mark.parametrize("levels", [MAX_NESTED + 1, 5000])
def test_a_deeper_document_is_refused(levels: int):
    with pytest.raises(ValueError):
        parse_json(nested(levels))


def test_the_refusal_of_a_deep_document_names_the_limit():
    with pytest.raises(ValueError, match=f"nested deeper than {MAX_NESTED} levels"):
        parse_json(nested(MAX_NESTED + 1))


@pytest.mark.parametrize(
    "text",
    [
        b'"' + b"[{" * 1000 + b'"',
        b'"\\"' + b"[" * 1000 + b'"',
        b'{"\\\\":"' + b"{" * 1000 + b'"}',
        b"[" + b"[],{}," * 1000 + b"[]]",
    ],
    ids=["in a text", "after an escaped quote", "after an escaped backslash", "side by side"],
)
def test_brackets_that_do_not_nest_are_not_counted(text: bytes):
    assert parse_json(text) == orjson.loads(text)


def test_brackets_inside_texts_do_not_hide_that_others_nest():
    inside = b'"\\\\"'
    text = b"[" * MAX_NESTED + b"[" + inside + b"]" * MAX_NESTED + b"]"
    with pytest.raises(ValueError, match="nested deeper"):
        parse_json(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e400",
        b'"\\ud800"',
        b'"\xed\xa0\x80"',
        b"\xff",
        b"\xef\xbb\xbf1",
        b"1 2",
        b"[1,]",
        b"{'a':1}",
        "1".encode("utf-16"),
    ],
)
def test_what_is_not_strictly_json_is_refused(text: bytes):
    with pytest.raises(ValueError):
        parse_json(text)


@given(documents)
def test_what_was_read_can_be_stored(document: Any):
    read = parse_json(orjson.dumps(document))
    assert decode(encode(event(data=read))).data == document


@given(
    st.binary()
    | documents.map(orjson.dumps)
    | st.from_regex(rb'[\[\]{}",:0-9a-z.eE+-]*', fullmatch=True)
)
def test_any_bytes_are_read_and_storable_or_refused(text: bytes):
    try:
        document = parse_json(text)
    except ValueError:
        return
    assert decode(encode(event(data=document))).data == document


@given(
    st.binary()
    | documents.map(orjson.dumps)
    | documents.map(lambda data: orjson.dumps({"readings": data}))
)
def test_a_body_that_is_no_event_is_refused_in_one_way_only(body: bytes):
    with pytest.raises(ValueError):
        decode(body)


@pytest.mark.parametrize("missing", ["key", "device", "kind", "time", "readings", "labels", "data"])
def test_a_body_without_one_of_its_parts_is_refused(missing: str):
    plain = orjson.loads(encode(event()))
    del plain[missing]
    with pytest.raises(ValueError, match=missing):
        decode(orjson.dumps(plain))


@given(st.binary())
def test_bytes_that_would_not_parse_are_kept_whole(raw: bytes):
    data = decode(encode(event(data=raw_data(raw)))).data
    assert b64decode(data["base64"]) == raw


def test_the_time_of_a_key_is_not_stored_and_no_part_of_equality():
    timed = event(key_time=TIME)
    assert timed == event()
    assert encode(timed) == encode(event())
    assert decode(encode(timed)).key_time is None


def test_former_keys_are_not_stored_and_no_part_of_equality():
    renamed = event(former_keys=("k0",))
    assert b"k0" not in encode(renamed)
    assert decode(encode(renamed)) == renamed
