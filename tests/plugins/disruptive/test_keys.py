"""What DT sends again: one key at one time, pushed or read back, whenever it comes."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Request, decode, encode
from bridge_plugins.disruptive.events import decode_event
from bridge_plugins.disruptive.history import recovered_event
from bridge_plugins.disruptive.settings import Settings
from bridge_plugins.disruptive.webhook import make_receive
from tests.plugins.known_again import assert_known_again, assert_one_time_for_each_key, identities

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DATA = Path(__file__).parents[2] / "data"
BODIES = [
    *(
        json.loads(line)["body"]
        for line in (DATA / "disruptive_events.jsonl").read_text("utf-8").splitlines()
    ),
    *(
        json.loads(request["body"])
        for request in json.loads((DATA / "disruptive_signed_requests.json").read_text("utf-8"))
    ),
]


def pushed(body, now):
    """Receive a request as the webhook does."""
    receive = make_receive(Settings(scheme="none"), lambda: now)
    return receive(Request("POST", "/disruptive", "", {}, body)).events


def read_back(item, now=NOW):
    return recovered_event(item, "d1", {"name": "renamed since"}, {"deviceId": "d1"}, now)


def event_with(timestamp, updated=None):
    return {
        "eventId": "e1",
        "targetName": "projects/p/devices/d",
        "eventType": "touch",
        "data": {"touch": {"updateTime": updated}},
        "timestamp": timestamp,
    }


@pytest.mark.fact("What DT sends again is known by event.timestamp and key, a month later too")
@pytest.mark.parametrize("body", BODIES)
def test_a_sample_is_known_again_a_month_later(body):
    text = json.dumps(body).encode()
    assert_known_again(lambda now: pushed(text, now), NOW)
    assert_known_again(lambda now: [read_back(body.get("event", body), now)], NOW)


@pytest.mark.parametrize("body", BODIES)
def test_a_sample_is_known_at_its_timestamp(body):
    [event] = pushed(json.dumps(body).encode(), NOW)
    stamp = datetime.fromisoformat(body.get("event", body)["timestamp"])
    assert event.key_time == event.time == stamp


@pytest.mark.fact("A push and the same event of the history are known at one time")
@pytest.mark.parametrize("body", BODIES)
def test_a_sample_read_back_is_known_as_it_was_pushed(body):
    recovered = read_back(body.get("event", body))
    assert identities([recovered]) == identities(pushed(json.dumps(body).encode(), NOW))


@pytest.mark.parametrize("body", [b"", b"\xff", b"[1,", b"null", b"{}", b'{"event":{"eventId":1}}'])
def test_bytes_that_cannot_be_read_are_known_again_without_a_time(body):
    assert_known_again(lambda now: pushed(body, now), NOW)
    [event] = pushed(body, NOW)
    assert event.key_time is None


@pytest.mark.parametrize(
    "item", [None, 7, [1.5], {}, {"timestamp": "2024-05-29T10:34:03Z"}, {"eventId": "e1"}]
)
def test_items_that_cannot_be_read_are_known_again_without_a_time(item):
    assert_known_again(lambda now: [read_back(item, now)], NOW)
    assert read_back(item).key_time is None


@pytest.mark.fact("Times of 1969, 2099, 9999 and of nobody's calendar harm nothing")
@pytest.mark.fact("Times in lower case are RFC 3339 too")
@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2026-01-27T09:59:58.25Z", "2026-01-27T09:59:58.250000+00:00"),
        ("2026-01-27t09:59:58z", "2026-01-27T09:59:58+00:00"),
        ("2026-01-27T11:59:58+02:00", "2026-01-27T09:59:58+00:00"),
        ("2099-12-31T23:59:59Z", "2099-12-31T23:59:59+00:00"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00+00:00"),
        ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999+00:00"),
        ("0001-01-01T00:00:00+00:01", None),
        ("9999-12-31T23:59:59-00:01", None),
        ("10000-01-01T00:00:00Z", None),
        ("-0001-01-01T00:00:00Z", None),
        ("2026-01-27T09:59:58", None),
        ("2026-01-27T09:59:60Z", None),
        (1700000000, None),
        (None, None),
    ],
)
def test_any_time_has_an_outcome(timestamp, expected):
    document = event_with(timestamp)
    event = decode_event(document, received=NOW)
    wanted = None if expected is None else datetime.fromisoformat(expected)
    assert event.key_time == wanted
    assert event.time == event.readings[0].time == (wanted or NOW)
    assert decode(encode(event)) == event
    assert_known_again(lambda now: [decode_event(document, received=now)], NOW)


def test_without_a_readable_timestamp_the_update_time_is_that_of_the_key():
    document = event_with("yesterday", "2024-05-29T10:34:03Z")
    key_time = decode_event(document, received=NOW).key_time
    assert key_time == datetime(2024, 5, 29, 10, 34, 3, tzinfo=UTC)


def test_digits_beyond_microseconds_do_not_move_a_key():
    spellings = ["2024-05-29T10:34:03.970Z", "2024-05-29T10:34:03.970000Z",
                 "2024-05-29T10:34:03.970000999Z", "2024-05-29T12:34:03.97+02:00"]  # fmt: skip
    events = [decode_event(event_with(text), received=NOW) for text in spellings]
    assert_one_time_for_each_key(events)
    assert len({event.key for event in events}) == 1


TIMES = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=8),
    st.datetimes().map(lambda time: time.isoformat() + "Z"),
    st.datetimes().map(lambda time: time.isoformat() + "+23:59"),
    st.datetimes().map(lambda time: time.isoformat(timespec="seconds").lower() + "z"),
)


@given(timestamp=TIMES, updated=TIMES)
def test_any_times_are_known_again_pushed_or_read_back(timestamp, updated):
    event = event_with(timestamp, updated)
    document = {"event": event, "labels": {}, "metadata": {}}
    assert_known_again(lambda now: [decode_event(document, received=now)], NOW)
    assert identities([read_back(event)]) == identities([decode_event(document, received=NOW)])
