"""From a body to events: which value, which time, which key."""

from datetime import UTC, datetime, timedelta
from functools import partial

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import decode, encode, parse_json
from bridge_plugins.wattsense.messages.events import items_of, value_event
from bridge_plugins.wattsense.settings import Settings
from tests.plugins.known_again import MONTH, identities

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MILLISECONDS = int(NOW.timestamp() * 1000)
UNSIGNED = partial(Settings, signature="none")

# built from the field list of vendor documentation
SAMPLE = {
    "deviceId": "bx01Demo",
    "property": "prop-7f3a",
    "timestamp": 1700000000000,
    "payload": 215,
    "receivedAt": 1700000001234,
    "scaledPayload": 21.5,
    "name": "Room temperature",
    "unit": "°C",
    "externalId": None,
    "propertyId": "prop-7f3a",
    "equipmentId": "eq-11",
    "gatewayInterfaceId": None,
    "slug": "room-temperature",
    "isOutOfService": False,
    "tags": {"floor": "2"},
}


def event_of(item, **settings):
    policy = UNSIGNED(**settings).value_policy()
    again = value_event(item, policy, NOW + MONTH)
    event = value_event(item, policy, NOW)
    # What is no longer in the future has a key without that reason.
    if event.labels.get("dropped") == again.labels.get("dropped"):
        assert identities([event]) == identities([again])
    assert event.key_time == again.key_time
    return event


@pytest.mark.fact("The fields of a value are those of the vendor documentation")
def test_a_value_arrives_as_the_vendor_describes_it():
    event = event_of(SAMPLE)
    (reading,) = event.readings
    assert (event.device, event.kind) == ("bx01Demo", "value")
    assert (reading.signal, reading.value, reading.unit) == ("prop-7f3a", 21.5, "°C")
    assert reading.time == event.time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert event.labels == {
        "name": "Room temperature",
        "slug": "room-temperature",
        "unit": "°C",
        "equipmentId": "eq-11",
        "tag.floor": "2",
    }
    assert event.data == SAMPLE


@pytest.mark.fact("Missing and null are alike for every nullable field; unknown fields are ignored")
@pytest.mark.parametrize("empty", [None, "missing"])
def test_nullable_members_may_be_null_or_missing(empty):
    nullable = set(SAMPLE) - {"deviceId", "property", "timestamp", "payload"}
    if empty is None:
        event = event_of(SAMPLE | dict.fromkeys(nullable))
    else:
        event = event_of({name: value for name, value in SAMPLE.items() if name not in nullable})
    (reading,) = event.readings
    assert (reading.value, reading.unit, event.labels) == (215, None, {})


@pytest.mark.fact("Tags that are null or no texts do no harm")
@pytest.mark.parametrize("tags", [[], "text", {"a": 1, "b": "2"}])
def test_tags_that_are_no_texts_do_no_harm(tags):
    labels = event_of(SAMPLE | {"tags": tags}).labels
    assert {name for name in labels if name.startswith("tag.")} == (
        {"tag.b"} if isinstance(tags, dict) else set()
    )


DROP = object()


@pytest.mark.fact(
    "scaledPayload or payload, numbers, booleans, numeric texts, texts, objects, arrays, "
    "null: each as its setting says"
)
@pytest.mark.fact("Mistake avoided: reading payload now and scaledPayload then")
@pytest.mark.parametrize(
    ("members", "settings", "expected"),
    [
        ({"payload": 215, "scaledPayload": 21.5}, {}, 21.5),
        ({"payload": 215, "scaledPayload": 21.5}, {"prefer": "raw"}, 215),
        ({"payload": 215, "scaledPayload": None}, {}, 215),
        ({"payload": 215, "scaledPayload": "21.5"}, {}, 21.5),
        ({"payload": 215, "scaledPayload": "warm"}, {}, 215),
        ({"payload": 215, "scaledPayload": True}, {}, 215),
        ({"payload": None, "scaledPayload": 21.5}, {"prefer": "raw"}, "null"),
        ({"payload": 0}, {}, 0),
        ({"payload": -1.5e3}, {}, -1500.0),
        ({"payload": True}, {}, 1),
        ({"payload": False}, {}, 0),
        ({"payload": True}, {"booleans": "drop"}, "boolean"),
        ({"payload": "21.5"}, {}, "text"),
        ({"payload": "21.5"}, {"numeric_strings": True}, 21.5),
        ({"payload": " +21 "}, {"numeric_strings": True}, 21),
        ({"payload": "-2e3"}, {"numeric_strings": True}, -2000.0),
        ({"payload": "9223372036854775808"}, {"numeric_strings": True}, 9223372036854775808.0),
        ({"payload": "1e999"}, {"numeric_strings": True}, "text"),
        ({"payload": "NaN"}, {"numeric_strings": True}, "text"),
        ({"payload": "1_0"}, {"numeric_strings": True}, "text"),
        ({"payload": "٣"}, {"numeric_strings": True}, "text"),
        ({"payload": "1" * 65}, {"numeric_strings": True}, "text"),
        ({"payload": "21,5"}, {"numeric_strings": True, "strings": "text"}, "21,5"),
        ({"payload": "open"}, {"strings": "text"}, "open"),
        ({"payload": {"monday": []}}, {}, "object"),
        ({"payload": [1]}, {}, "array"),
        ({"payload": None}, {}, "null"),
        ({}, {}, "null"),
        ({"payload": 1, "isOutOfService": True}, {}, "out-of-service"),
        ({"payload": 1, "isOutOfService": True}, {"out_of_service": "send"}, 1),
        ({"payload": 1, "isOutOfService": None}, {}, 1),
        ({"payload": 1, "timestamp": MILLISECONDS + 600_000}, {}, 1),
        ({"payload": 1, "timestamp": MILLISECONDS + 600_001}, {}, "future"),
        ({"payload": 1, "timestamp": 1}, {"timestamp_unit": "ms"}, 1),
    ],
)
def test_a_value_is_forwarded_or_kept_with_a_reason(members, settings, expected):
    item = {"deviceId": "d", "property": "p", "timestamp": MILLISECONDS} | members
    event = event_of(item, **settings)
    if event.readings:
        assert event.readings[0].value == expected
        assert type(event.readings[0].value) is type(expected)
        assert "dropped" not in event.labels
    else:
        assert event.labels["dropped"] == expected
        assert event.kind == "value"
    assert event.data == item


@pytest.mark.fact("A timestamp is in ms; auto tells s, ms and us by size")
@pytest.mark.parametrize(
    ("timestamp", "unit", "expected"),
    [
        (1700000000, "auto", "2023-11-14T22:13:20"),
        (1700000000123, "auto", "2023-11-14T22:13:20.123"),
        (1700000000123456, "auto", "2023-11-14T22:13:20.123456"),
        (99_999_999_999, "auto", "5138-11-16T09:46:39"),
        (100_000_000_000, "auto", "1973-03-03T09:46:40"),
        (100_000_000_000_000, "auto", "5138-11-16T09:46:40"),
        (100_000_000_000_001, "auto", "1973-03-03T09:46:40.000001"),
        (1700000000, "ms", "1970-01-20T16:13:20"),
        (1700000000, "s", "2023-11-14T22:13:20"),
    ],
)
def test_the_unit_of_a_timestamp_is_its_size_or_the_setting(timestamp, unit, expected):
    event = event_of(SAMPLE | {"timestamp": timestamp}, timestamp_unit=unit)
    assert event.time == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.fact("A value of long ago is forwarded: a tower may upload late")
def test_a_value_of_long_ago_is_forwarded():
    assert event_of(SAMPLE | {"timestamp": MILLISECONDS - 400 * 86_400_000}).readings


@pytest.mark.fact("receivedAt is never taken for the time of measurement")
def test_the_time_of_receipt_is_never_that_of_measurement():
    without = {name: value for name, value in SAMPLE.items() if name != "timestamp"}
    assert event_of(without).readings == ()


@pytest.mark.fact(
    "A point is (deviceId, property); without one of them, or without timestamp, an item is "
    "kept as unreadable"
)
@pytest.mark.parametrize(
    ("item", "reason", "device"),
    [
        (SAMPLE | {"deviceId": None}, "deviceId", "unknown"),
        (SAMPLE | {"deviceId": ""}, "deviceId", "unknown"),
        (SAMPLE | {"deviceId": 7}, "deviceId", "unknown"),
        (SAMPLE | {"property": None}, "property", "bx01Demo"),
        (SAMPLE | {"property": 7}, "property", "bx01Demo"),
        (SAMPLE | {"timestamp": None}, "timestamp", "bx01Demo"),
        (SAMPLE | {"timestamp": True}, "timestamp", "bx01Demo"),
        (SAMPLE | {"timestamp": 0}, "timestamp", "bx01Demo"),
        (SAMPLE | {"timestamp": -1}, "timestamp", "bx01Demo"),
        (SAMPLE | {"timestamp": 1.7e12}, "timestamp", "bx01Demo"),
        (SAMPLE | {"timestamp": "1700000000000"}, "timestamp", "bx01Demo"),
        (SAMPLE | {"timestamp": 2**64 - 1}, "timestamp", "bx01Demo"),
        (7, "item", "unknown"),
        (None, "item", "unknown"),
        ([SAMPLE], "item", "unknown"),
    ],
)
def test_an_item_without_point_or_time_is_kept_as_unreadable(item, reason, device):
    event = event_of(item)
    assert (event.kind, event.device, event.readings) == ("unreadable", device, ())
    assert event.labels == {"dropped": reason}
    assert event.data == item


@pytest.mark.fact("Two connectors may deliver one value: it is known once")
@pytest.mark.parametrize(
    "other",
    [
        SAMPLE | {"receivedAt": 1700000009999, "name": "Other", "tags": None},
        dict(reversed(SAMPLE.items())),
        SAMPLE | {"payload": 215.0},
        {name: SAMPLE[name] for name in ("deviceId", "property", "timestamp", "payload")},
    ],
)
def test_deliveries_of_one_value_by_two_connectors_have_one_key(other):
    assert event_of(SAMPLE).key == event_of(other).key


def test_the_order_of_members_does_not_change_the_key():
    one, other = SAMPLE | {"payload": {"a": 1, "b": [2]}}, SAMPLE | {"payload": {"b": [2], "a": 1}}
    assert event_of(one, prefer="raw").key == event_of(other, prefer="raw").key


@pytest.mark.fact("De-duplication on deviceId, property, timestamp, canonical payload")
@pytest.mark.parametrize(
    "change",
    [
        {"deviceId": "bx02"},
        {"property": "prop-2"},
        {"timestamp": 1700000000001},
        {"payload": 216},
        {"payload": "215"},
        {"payload": 215.5},
        {"payload": None},
    ],
)
def test_values_that_differ_have_different_keys(change):
    assert event_of(SAMPLE).key != event_of(SAMPLE | change).key


@pytest.mark.fact(
    "A value stamped too far in the future is dropped, and passes when its time has come",
)
def test_a_dropped_value_is_no_duplicate_when_it_may_pass():
    early = SAMPLE | {"timestamp": MILLISECONDS + 3_600_000}
    later = value_event(early, UNSIGNED().value_policy(), NOW + timedelta(hours=1))
    assert later.readings
    assert event_of(early).key != later.key
    assert event_of(SAMPLE | {"isOutOfService": True}).key != event_of(SAMPLE).key


@pytest.mark.parametrize(
    ("document", "count"),
    [
        (SAMPLE, 1),
        ([SAMPLE, SAMPLE], 2),
        ({"data": [SAMPLE, 1]}, 2),
        ([], 0),
        ({"data": []}, 0),
        ({}, 1),
        (SAMPLE | {"data": [1, 2]}, 1),
        ({"data": {}}, 1),
    ],
)
def test_three_framings_are_understood(document, count):
    assert len(items_of(document)) == count


@pytest.mark.parametrize("document", [None, 1, "text", True])
def test_a_bare_value_is_no_framing(document):
    with pytest.raises(ValueError):
        items_of(document)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        name: st.just(value) | JSON_VALUES
        for name, value in (SAMPLE | {"scaledPayload": "1", "tags": {}}).items()
    },
)


@pytest.mark.fact("Mistake avoided: crashing on, or storing 0 for, payloads that are no number")
@given(
    item=ITEMS | JSON_VALUES,
    prefer=st.sampled_from(["scaled", "raw"]),
    numeric_strings=st.booleans(),
    strings=st.sampled_from(["drop", "text"]),
    timestamp_unit=st.sampled_from(["auto", "ms", "s"]),
)
def test_any_item_becomes_an_event_that_can_be_stored(item, **settings):
    document = parse_json(orjson.dumps(item))
    event = event_of(document, **settings)
    assert decode(encode(event)).data == document
    assert event == event_of(document, **settings)
