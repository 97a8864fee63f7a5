"""Events and alarms: kept whole, forwarded by explicit mapping only."""

import time
from datetime import UTC, datetime
from functools import partial

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import HttpRejection, Request, decode, encode, parse_json
from bridge_plugins.wattsense.messages.mapped_messages import mapped_events
from bridge_plugins.wattsense.settings import Settings
from bridge_plugins.wattsense.webhook import make_receive
from tests.plugins.known_again import MONTH, identities

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MILLISECONDS = int(NOW.timestamp() * 1000)
UNSIGNED = partial(Settings, signature="none")
STATUS = {"alarm_signals": {"alarm-status": "$.status"}}
NUMBERS = {"open": "1", "acknowledged": "2", "closed": "0"}


def understood(document, **settings):
    settings = UNSIGNED(**settings)
    read_at = partial(mapped_events, settings.mapping("alarm"), document, settings.value_policy())
    found, again = read_at(NOW), read_at(NOW + MONTH)
    if reasons_of(found) == reasons_of(again):  # they are in the key: more may be understood later
        assert identities(found.events) == identities(again.events)
    return found


def reasons_of(found):
    return [event.labels.get("dropped") for event in found.events]


def readings(document, **settings):
    return [
        (r.signal, r.value)
        for event in understood(document, **settings).events
        for r in event.readings
    ]


@pytest.mark.fact("Without a mapping no member of an event or alarm is interpreted")
@pytest.mark.parametrize(
    "document", [{"deviceId": "bx01", "status": "open", "value": 1}, [1, {"status": 2}], {}, []]
)
def test_without_a_mapping_nothing_is_interpreted(document):
    (event,) = understood(document).events
    assert (event.device, event.readings, event.labels, event.time) == ("unknown", (), {}, NOW)
    assert event.data == document


@pytest.mark.fact("A text becomes the number that the table gives it")
def test_a_text_becomes_the_number_that_the_table_gives_it():
    assert readings({"status": "open"}, **STATUS, alarm_numbers=NUMBERS) == [("alarm-status", 1)]
    assert readings({"status": "closed"}, **STATUS, alarm_numbers=NUMBERS) == [("alarm-status", 0)]


def test_a_number_for_one_signal_wins_over_the_number_for_all():
    signals = {"door": "$.door", "alarm": "$.alarm"}
    numbers = {"open": "1", "door.open": "100.5"}
    document = {"door": "open", "alarm": "open"}
    assert readings(document, alarm_signals=signals, alarm_numbers=numbers) == [
        ("door", 100.5),
        ("alarm", 1),
    ]


@pytest.mark.fact(
    "A numeric state is never guessed: a text that is not in the table gives no reading",
)
@pytest.mark.parametrize("text", ["escalated", "Open", "open ", "1", "", "true\x1b[31m"])
def test_a_text_that_is_not_in_the_table_is_a_problem(text):
    found = understood({"status": text}, **STATUS, alarm_numbers=NUMBERS)
    (event,) = found.events
    assert event.readings == ()
    assert event.labels == {"dropped": "text"}
    assert event.data == {"status": text}
    (problem,) = found.problems
    assert "add it to alarm_numbers" in problem
    assert "\x1b" not in problem


@pytest.mark.parametrize(
    ("value", "settings", "expected"),
    [
        (3, {}, 3),
        (2.5, {}, 2.5),
        (True, {}, 1),
        (False, {}, 0),
        (True, {"booleans": "drop"}, "text"),
        (True, {"alarm_numbers": {"true": "7"}}, 7),
        (None, {}, "text"),
        (None, {"alarm_numbers": {"null": "-1"}}, -1),
        ({"a": 1}, {}, "object"),
        ([1], {}, "array"),
        ("21", {"numeric_strings": True, "strings": "text"}, "text"),
    ],
)
def test_only_what_is_a_number_or_was_given_one_has_one(value, settings, expected):
    (event,) = understood({"status": value}, **STATUS, **settings).events
    if isinstance(expected, str):
        assert (event.readings, event.labels["dropped"]) == ((), expected)
    else:
        assert event.readings[0].value == expected


@pytest.mark.fact(
    "Device and time of an alarm come from settings; default: unknown device, time of receipt",
)
def test_device_and_time_come_from_where_the_settings_say():
    settings = {
        **STATUS,
        "alarm_numbers": NUMBERS,
        "alarm_device": "$.source.id",
        "alarm_time": "$.at",
    }
    (event,) = understood(
        {"status": "open", "source": {"id": "bx01"}, "at": 1700000000000}, **settings
    ).events
    assert event.device == "bx01"
    assert event.time == event.readings[0].time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    (event,) = understood(
        {"status": "open", "source": {"id": "b"}, "at": "2026-01-02T03:04:05+01:00"}, **settings
    ).events
    assert event.time == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)


def test_device_and_time_are_known_without_any_signal():
    (event,) = understood(
        {"id": "bx01", "at": 1700000000000}, alarm_device="$.id", alarm_time="at"
    ).events
    assert (event.device, event.time.year, event.labels) == ("bx01", 2023, {})


def test_an_unusable_time_of_an_alarm_is_that_of_receipt():
    assert understood({"at": "yesterday"}, alarm_time="at").events[0].time == NOW


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"id": None}, "device"),
        ({"id": 7}, "device"),
        ({"id": ""}, "device"),
        ({"at": None}, "time"),
        ({"at": "2026-01-02T03:04:05"}, "time"),
        ({"at": "0001-01-01T00:00:00+10:00"}, "time"),
        ({"at": "soon"}, "time"),
        ({"at": MILLISECONDS + 3_600_000}, "future"),
    ],
)
def test_a_reading_without_its_device_or_its_time_is_none(members, reason):
    document = {"status": 1, "id": "bx01", "at": MILLISECONDS} | members
    found = understood(document, **STATUS, alarm_device="$.id", alarm_time="$.at")
    (event,) = found.events
    assert (event.readings, event.labels) == ((), {"dropped": reason})
    assert bool(found.problems) == (reason != "future"), (
        "no setting helps against a wrong clock of the sender"
    )


def test_reading_takes_time_in_proportion_to_the_body():
    def seconds(count: int) -> float:
        document = {"states": [f"text {number}" for number in range(count)]}
        began = time.process_time()
        assert len(understood(document, alarm_signals={"s": "$.states[*]"}).problems) == count
        return time.process_time() - began

    assert seconds(40_000) < 20 * max(seconds(4_000), 0.02)


def test_an_alarm_without_any_signal_is_kept_and_counted():
    found = understood({"other": 1}, **STATUS)
    assert found.events[0].labels == {"dropped": "no-match"}
    assert found.problems == ()


@pytest.mark.fact("Several alarms in one array go each to its device")
def test_alarms_in_one_array_go_each_to_its_device():
    document = {"site": "x", "alarms": [
        {"id": "a", "status": "open", "at": 1700000000000},
        {"id": "b", "status": "closed", "at": 1700000001000},
        {"id": "a", "status": "closed", "at": 1700000002000},
        {"status": "open", "at": 1700000003000},
    ]}  # fmt: skip
    found = understood(
        document,
        alarm_signals={"s": "$.alarms[*].status"},
        alarm_numbers=NUMBERS,
        alarm_device="$.alarms[*].id",
        alarm_time="$.alarms[*].at",
    )
    first, second = found.events
    assert (first.device, [r.value for r in first.readings], first.data) == ("a", [1, 0], document)
    assert (second.device, [r.value for r in second.readings], second.data) == ("b", [0], None)
    assert second.labels == {"part_of": first.key}
    assert [r.time.second for r in first.readings] == [20, 22]
    assert first.labels == {"dropped": "device"}
    assert len({first.key, second.key}) == 2


def test_a_device_outside_of_a_list_is_that_of_its_elements():
    document = {"id": "a", "alarms": [{"v": 1}, {"v": 2}]}
    (event,) = understood(
        document, alarm_signals={"s": "$.alarms[*].v"}, alarm_device="$.id"
    ).events
    assert (event.device, [r.value for r in event.readings]) == ("a", [1, 2])


def test_an_alarm_is_known_once_until_more_is_understood():
    one = understood({"status": "open", "x": 1}, **STATUS).events[0].key
    assert one == understood({"x": 1, "status": "open"}, **STATUS).events[0].key
    assert (
        one != understood({"status": "open", "x": 1}, **STATUS, alarm_numbers=NUMBERS).events[0].key
    )


@pytest.mark.fact("Events have a mapping of their own")
def test_events_have_a_mapping_of_their_own():
    settings = UNSIGNED(
        event_signals={"online": "$.s"}, event_numbers={"ON": "1"}, event_device="$.d", **STATUS
    )
    receive = make_receive(settings, "events", lambda: NOW)
    (event,) = receive(Request("POST", "/wattsense/events", "", {}, b'{"s":"ON","d":"bx"}')).events
    assert (event.kind, event.device, event.readings[0].signal, event.readings[0].value) == (
        "event",
        "bx",
        "online",
        1,
    )


def test_the_readings_of_one_alarm_have_a_limit():
    settings = UNSIGNED(alarm_signals={"s": "$[*]"}, most_items=2)
    receive = make_receive(settings, "alarms", lambda: NOW)
    assert len(receive(Request("POST", "/", "", {}, b"[1,2]")).events[0].readings) == 2
    with pytest.raises(HttpRejection) as caught:
        receive(Request("POST", "/", "", {}, b"[1,2,3]"))
    assert caught.value.status == 413


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=4)
    | st.just("open"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["s", "d", "t", "l"]), inner, max_size=4)
    ),
    max_leaves=10,
)
SETTINGS = UNSIGNED(
    alarm_signals={"one": "$.s", "many": "$.l[*].s", "each": "$[*].s"},
    alarm_numbers={"open": "1"},
    alarm_device="$.d",
    alarm_time="$.t",
)


@given(document=JSON.filter(lambda document: isinstance(document, dict | list)))
def test_any_alarm_can_be_stored_whole(document):
    document = parse_json(orjson.dumps(document))
    mapping, policy = SETTINGS.mapping("alarm"), SETTINGS.value_policy()
    events = mapped_events(mapping, document, policy, NOW).events
    assert decode(encode(events[0])).data == document
    assert len({event.key for event in events}) == len(events)
    for event in events:
        encode(event)
        assert event.key_time is None
