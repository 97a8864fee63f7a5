"""What a push says: from DT's JSON to events and readings."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import decode, encode
from bridge_plugins.disruptive.events import decode_event
from tests.plugins.known_again import assert_known_again

RECEIVED = datetime(2030, 1, 1, tzinfo=UTC)


def event_of(event_type, inner, **others):
    """Decode a bare event with this inner object."""
    plain = {
        "eventId": "cpbg96qngr7ai7ldarrg",
        "targetName": "projects/p/devices/d",
        "eventType": event_type,
        "data": {event_type: inner},
        "timestamp": "2024-05-29T10:34:03.970415Z",
    }
    document = {**plain, **others}
    assert_known_again(lambda now: [decode_event(document, received=now)], RECEIVED)
    return decode_event(document, received=RECEIVED)


def values_of(event):
    return [(reading.signal, reading.value) for reading in event.readings]


# One line for each of the 23 samples: device, kind, time of the readings, readings with
# their units.
SAMPLES = [
    ("emuc17m6d7lq0bgk44smcqg", "touch", "2022-02-10T12:42:13.313949", [("touch", 1, None)]),
    (
        "emucdd6ef2eu277bo8f52vg",
        "temperature",
        "2024-05-29T10:34:03.970415",
        [("temperature", 27, "°C")],
    ),
    ("emuc17m6d7lq0bgk44smcqg", "touch", "2021-06-03T11:22:09.431599", [("touch", 1, None)]),
    ("device_id", "temperature", "2019-05-16T08:15:18.318751", [("temperature", 24.9, "°C")]),
    ("device_id", "objectPresent", "2019-05-16T08:37:10.711412", [("objectPresent", 0, None)]),
    (
        "device_id",
        "humidity",
        "2019-05-16T06:13:46.369000",
        [("relativeHumidity", 17, "%"), ("temperature", 22.45, "°C")],
    ),
    (
        "device_id",
        "objectPresentCount",
        "2019-05-16T08:23:43.209000",
        [("objectPresentCount", 4176, None)],
    ),
    ("device_id", "touchCount", "2019-05-16T08:25:21.604000", [("touchCount", 469, None)]),
    ("device_id", "waterPresent", "2019-05-16T08:43:16.266000", [("waterPresent", 1, None)]),
    (
        "device_id",
        "networkStatus",
        "2019-05-16T08:21:21.076013",
        [("signalStrength", 45, "%"), ("rssi", -83, "dBm")],
    ),
    ("device_id", "batteryStatus", "2019-05-16T08:21:21.076013", [("batteryStatus", 100, "%")]),
    ("device_id", "labelsChanged", None, []),
    (
        "device_id",
        "connectionStatus",
        "2019-05-16T08:21:21.076013",
        [("connectionStatus", 1, None)],
    ),
    ("device_id", "ethernetStatus", "2019-05-16T08:21:21.076013", [("ethernetStatus", 1, None)]),
    (
        "device_id",
        "cellularStatus",
        "2019-05-16T08:21:21.076013",
        [("signalStrength", 80, "%"), ("cellularStatus", 1, None)],
    ),
    ("b6sfppl7rihg1dm4ud8g", "co2", "2022-01-27T15:50:34.471000", [("co2", 526, "ppm")]),
    ("emucj4fj3epdjrin69t0v80", "motion", "2023-08-02T11:03:18.595777", [("motion", 1, None)]),
    ("u6sfppl7rihg0dm4ud7s", "pressure", "2022-01-27T15:50:34.471000", [("pressure", 99301, "Pa")]),
    ("bchonod7rihjtvdmd2vg", "unknownEvent", None, []),
    ("bjmgj6dp0jt000a5dcug", "contact", "2024-12-06T14:23:50.728000", [("contact", 1, None)]),
    (
        "cj5jpe7r23r0008c1pmg",
        "deskOccupancy",
        "2025-05-09T10:46:46.000000",
        [("deskOccupancy", 0, None)],
    ),
    (
        "bchonod7rihjtvdmd2vg",
        "temperature",
        "2019-05-16T08:15:18.318751",
        [("temperature", 24.9, "°C")],
    ),
    (
        "cj5jpe7r23r0008c1pmg",
        "probeWireStatus",
        "2024-12-06T08:13:15.361000",
        [("probeWireStatus", 1, None)],
    ),
]


def test_the_table_has_every_sample(sample_lines):
    assert len(sample_lines) == len(SAMPLES) == 23


@pytest.mark.fact("All 23 sample bodies are decoded, malformed targetNames and times of 1970 too")
@pytest.mark.parametrize("number", range(23))
def test_a_sample_is_decoded(sample_lines, number):
    body = sample_lines[number]["body"]
    device, kind, time, readings = SAMPLES[number]
    event = decode_event(body, received=RECEIVED)
    assert (event.device, event.kind) == (device, kind)
    assert [(reading.signal, reading.value, reading.unit) for reading in event.readings] == readings
    assert {reading.time for reading in event.readings} == (
        {datetime.fromisoformat(f"{time}+00:00")} if time is not None else set()
    )
    assert event.time == datetime.fromisoformat(body.get("event", body)["timestamp"])
    assert event.data == body
    assert decode(encode(event)) == event


def test_samples_have_keys_of_their_own(sample_lines):
    keys = {decode_event(line["body"], received=RECEIVED).key for line in sample_lines}
    assert len(keys) == 23


def test_a_key_is_one_text_for_ever():
    odd = event_of("té\u2028", {}, eventId='a"\\\n\x7f', targetName="projects/😀")
    assert odd.key == '["a\\"\\\\\\n\x7f","té\u2028","projects/😀"]'
    assert json.loads(odd.key) == ['a"\\\n\x7f', "té\u2028", "projects/😀"]


@pytest.mark.fact("eventId is opaque; events that differ in id, type or target are different")
@given(
    one=st.tuples(*[st.text(min_size=1, max_size=4)] * 3),
    other=st.tuples(*[st.text(min_size=1, max_size=4)] * 3),
)
def test_events_of_another_id_type_or_target_are_no_duplicates(one, other):
    def key(names):
        plain = dict(zip(("eventId", "eventType", "targetName"), names, strict=True))
        return decode_event(plain, received=RECEIVED).key

    assert (key(one) == key(other)) == (one == other)


@pytest.mark.fact("De-duplication by eventId, eventType, targetName")
def test_one_event_id_with_two_types_is_two_events():
    assert event_of("temperature", {}).key != event_of("humidity", {}).key


@pytest.mark.fact("A push and the same event of the history are known once")
def test_a_push_and_the_same_event_in_the_history_are_known_once(sample_lines):
    push = sample_lines[1]["body"]
    assert (
        decode_event(push, received=RECEIVED).key
        == decode_event(push["event"], received=RECEIVED).key
    )


@pytest.mark.fact("An event of the history in the shape of a push has its key")
def test_a_history_event_in_the_shape_of_a_push_is_the_push(sample_lines):
    push = sample_lines[1]["body"]
    made = {
        "event": push["event"],
        "labels": dict(push["labels"]),
        "metadata": dict(push["metadata"]),
    }
    assert decode_event(made, received=RECEIVED) == decode_event(push, received=RECEIVED)
    other = {"event": push["event"], "labels": {"name": "renamed since"}, "metadata": {}}
    assert decode_event(other, received=RECEIVED).key == decode_event(push, received=RECEIVED).key


# Devices


@pytest.mark.fact("The device id is the segment after devices, never a number of characters")
@pytest.mark.fact("Metadata names the device only if targetName does not")
@pytest.mark.fact("Mistake 10: device ids of a fixed length")
@pytest.mark.parametrize(
    ("target", "metadata", "device"),
    [
        (
            "projects/p/devices/emuc17m6d7lq0bgk44smcqg",
            {"deviceId": "other"},
            "emuc17m6d7lq0bgk44smcqg",
        ),
        ("/projets/project_id/devices/device_id ", None, "device_id"),
        ("devices/d", None, "d"),
        ("projects/p", {"deviceId": "from-metadata"}, "from-metadata"),
        ("projects/p/devices/", {"deviceId": "from-metadata"}, "from-metadata"),
        ("projects/p/mydevices/d", {"deviceId": "from-metadata"}, "from-metadata"),
        (" projects/p ", {"deviceId": 7}, "projects/p"),
        (" projects/p ", {"deviceId": " "}, "projects/p"),
        (None, ["deviceId"], "unknown"),
        ("", None, "unknown"),
    ],
)
def test_a_device_is_named_by_the_target_then_by_metadata(target, metadata, device):
    plain = {"eventId": "a", "eventType": "touch", "targetName": target}
    assert decode_event({"event": plain, "metadata": metadata}, received=RECEIVED).device == device


# Labels


def test_metadata_are_labels_beside_those_of_people(sample_lines):
    event = decode_event(sample_lines[1]["body"], received=RECEIVED)
    assert event.labels == {
        "name": "test temp",
        "metadata.deviceType": "temperature",
        "metadata.projectId": "ccol8iuk9smqiha4e8l0",
    }


def test_labels_of_people_win():
    document = {
        "event": {"eventId": "a", "eventType": "touch"},
        "labels": {"metadata.deviceType": "mine", "floor": 3, "deviceType": "a fridge"},
        "metadata": {"deviceType": "touch", "productNumber": "100011"},
    }
    assert decode_event(document, received=RECEIVED).labels == {
        "metadata.deviceType": "mine",
        "metadata.productNumber": "100011",
        "deviceType": "a fridge",
    }


@pytest.mark.fact("Mistake 10: reading labels inside event")
def test_labels_are_not_looked_for_inside_the_event():
    plain = {"eventId": "a", "eventType": "touch", "labels": {"name": "x"}}
    assert decode_event({"event": plain}, received=RECEIVED).labels == {}


@pytest.mark.fact("Labels and metadata may be missing or null")
@pytest.mark.parametrize("labels", [None, [], "name", 3])
def test_labels_may_be_missing(labels):
    document = {
        "event": {"eventId": "a", "eventType": "touch"},
        "labels": labels,
        "metadata": labels,
    }
    assert decode_event(document, received=RECEIVED).labels == {}


@pytest.mark.fact("Only JSON true means isBackfilled; a sample has the text False")
@pytest.mark.parametrize(
    ("said", "labels"),
    [(True, {"event.isBackfilled": "true"}), ("False", {}), (False, {}), (1, {})],
)
def test_only_true_means_backfilled(said, labels):
    assert event_of("temperature", {"value": 1, "isBackfilled": said}).labels == labels


# Times


@pytest.mark.fact("Temperature and humidity: every sample is a reading, sorted by sampleTime")
def test_every_sample_is_a_reading_and_the_oldest_is_first():
    samples = [
        {"value": 23, "sampleTime": "2024-05-29T10:34:00Z"},
        {"value": 21, "sampleTime": "2024-05-29T10:33:00.000Z"},
        {"value": 22, "sampleTime": "2024-05-29T10:33:30.000000123Z"},
    ]
    event = event_of(
        "temperature", {"value": 23, "updateTime": "2024-05-29T10:34:00Z", "samples": samples}
    )
    assert [(reading.value, reading.time.isoformat()) for reading in event.readings] == [
        (21, "2024-05-29T10:33:00+00:00"),
        (22, "2024-05-29T10:33:30+00:00"),
        (23, "2024-05-29T10:34:00+00:00"),
    ]


def test_humidity_and_temperature_of_each_sample_stay_apart():
    samples = [
        {"temperature": 22, "relativeHumidity": 40, "sampleTime": "2024-05-29T10:34:00Z"},
        {"temperature": 21, "relativeHumidity": 41, "sampleTime": "2024-05-29T10:33:00Z"},
    ]
    event = event_of("humidity", {"temperature": 22, "relativeHumidity": 40, "samples": samples})
    assert values_of(event) == [
        ("relativeHumidity", 41),
        ("temperature", 21),
        ("relativeHumidity", 40),
        ("temperature", 22),
    ]


@pytest.mark.fact("Without samples the outer value counts, at updateTime")
@pytest.mark.parametrize(
    "samples",
    [
        None,
        [],
        {},
        [None],
        [{}],
        [{"value": 1}],
        [{"value": "1", "sampleTime": "2024-05-29T10:33:00Z"}],
    ],
)
def test_without_readable_samples_the_outer_value_is_read(samples):
    event = event_of(
        "temperature", {"value": 23, "updateTime": "2024-05-29T10:34:00+02:00", "samples": samples}
    )
    assert values_of(event) == [("temperature", 23)]
    assert event.readings[0].time.isoformat() == "2024-05-29T08:34:00+00:00"


@pytest.mark.fact("Without updateTime the time of the event counts")
@pytest.mark.parametrize(
    ("timestamp", "update", "event_time", "reading_time"),
    [
        ("2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z", 2, 1),
        ("2024-01-02T00:00:00Z", None, 2, 2),
        (None, "2024-01-01T00:00:00Z", 1, 1),
        ("2024-01-02T00:00:00", "2024-01-01T00:00:00Z", 1, 1),
        ("yesterday", "0001-01-01T00:00:00+23:00", None, None),
        (1704067200, [], None, None),
    ],
)
def test_a_missing_time_is_taken_from_the_next_best(timestamp, update, event_time, reading_time):
    def day(number):
        return RECEIVED if number is None else datetime(2024, 1, number, tzinfo=UTC)

    event = event_of("contact", {"state": "OPEN", "updateTime": update}, timestamp=timestamp)
    assert (event.time, event.readings[0].time) == (day(event_time), day(reading_time))


@pytest.mark.fact("Times have 0, 3, 6 or 9 digits of a second")
@pytest.mark.parametrize(
    ("text", "microsecond", "hour"),
    [
        ("2024-05-29T10:34:03Z", 0, 10),
        ("2024-05-29T10:34:03.971Z", 971000, 10),
        ("2024-05-29T10:34:03.970415Z", 970415, 10),
        ("2024-05-29T10:34:03.970415999Z", 970415, 10),
        ("2024-05-29T10:34:03.970415+00:00", 970415, 10),
        ("2024-05-29T08:34:03.970415-02:00", 970415, 10),
    ],
)
def test_a_time_may_have_any_number_of_digits(text, microsecond, hour):
    event = event_of("touch", {"updateTime": text}, timestamp=text)
    assert (
        event.time
        == event.readings[0].time
        == datetime(2024, 5, 29, hour, 34, 3, microsecond, tzinfo=UTC)
    )


@pytest.mark.fact("Mistake 13: times as +00:00Z are no times")
@pytest.mark.parametrize(
    "text", ["", "-", "2024-05-29", "2024-05-29T10:34:60Z", "2024-05-29T10:34:03+00:00Z"]
)
def test_what_is_no_time_is_as_if_it_were_missing(text):
    assert event_of("touch", {"updateTime": text}, timestamp=text).readings[0].time == RECEIVED


@pytest.mark.fact("Mistake 12: refusing old timestamps")
def test_an_old_event_is_as_good_as_a_new_one():
    event = event_of(
        "touch", {"updateTime": "1970-01-01T00:00:00Z"}, timestamp="1970-01-01T00:00:00Z"
    )
    assert (event.time.year, values_of(event)) == (1970, [("touch", 1)])


@pytest.mark.fact("Values that a sensor stored while offline are marked, not refused")
@pytest.mark.parametrize("event_type", ["temperature", "humidity"])
def test_values_stored_by_a_sensor_while_offline_are_marked(event_type):
    inner = {
        "value": 21,
        "temperature": 21,
        "isBackfilled": True,
        "updateTime": "2024-05-28T10:34:00Z",
    }
    event = event_of(event_type, inner)
    assert event.labels["event.isBackfilled"] == "true"
    assert event.readings[0].time.isoformat() == "2024-05-28T10:34:00+00:00"


@pytest.mark.fact("Up to 30 samples come in a heartbeat")
def test_a_heartbeat_of_thirty_samples_is_thirty_readings():
    samples = [{"value": n, "sampleTime": f"2024-05-29T10:{n:02}:00Z"} for n in reversed(range(30))]
    event = event_of(
        "temperature", {"value": 29, "updateTime": "2024-05-29T10:29:00Z", "samples": samples}
    )
    assert [reading.value for reading in event.readings] == list(range(30))


# States


@pytest.mark.fact(
    "States are 0 or 1: objectPresent, waterPresent, motion, deskOccupancy, contact, "
    "probeWireStatus"
)
@pytest.mark.parametrize(
    ("event_type", "state", "value"),
    [
        ("objectPresent", "PRESENT", 1),
        ("waterPresent", "NOT_PRESENT", 0),
        ("motion", "NO_MOTION_DETECTED", 0),
        ("deskOccupancy", "OCCUPIED", 1),
        ("contact", "CLOSED", 0),
        ("probeWireStatus", "TWO_WIRE", 1),
        ("probeWireStatus", "FOUR_WIRE", 1),
        ("probeWireStatus", "INVALID_WIRE_CONFIGURATION", 0),
        ("probeWireStatus", "INVALID_COEFFICIENT_CONFIGURATION", 0),
    ],
)
def test_a_state_is_0_or_1(event_type, state, value):
    assert values_of(event_of(event_type, {"state": state})) == [(event_type, value)]


@pytest.mark.fact("connectionStatus OFFLINE is 0, SDS, ETHERNET and CELLULAR are 1")
@pytest.mark.parametrize(("connection", "value"), [("OFFLINE", 0), ("SDS", 1), ("CELLULAR", 1)])
def test_a_device_is_online_on_any_connection(connection, value):
    event = event_of("connectionStatus", {"connection": connection, "available": []})
    assert values_of(event) == [("connectionStatus", value)]


@pytest.mark.fact("ethernetStatus and cellularStatus with errors are 0")
@pytest.mark.parametrize("event_type", ["ethernetStatus", "cellularStatus"])
def test_a_connection_with_errors_is_0(event_type):
    errors = [{"code": 1, "message": "no link"}]
    assert values_of(event_of(event_type, {"errors": errors})) == [(event_type, 0)]


@pytest.mark.fact("Unknown states, fields and types give no reading and stay in the data")
@pytest.mark.fact("Mistake 10: celsius instead of value")
@pytest.mark.parametrize(
    ("event_type", "inner"),
    [
        ("deskOccupancy", {"state": "UNKNOWN"}),
        ("contact", {"state": "AJAR"}),
        ("contact", {"state": ["OPEN"]}),
        ("contact", {"state": None}),
        ("contact", None),
        ("contact", "OPEN"),
        ("ethernetStatus", {"errors": "none"}),
        ("cellularStatus", {}),
        ("temperature", {"celsius": 21}),
        ("temperature", {"value": True}),
        ("temperature", {"value": "21"}),
        ("humidity", {}),
        ("networkStatus", {"signalStrength": None}),
        ("somethingNew", {"value": 21}),
    ],
)
def test_what_is_not_known_is_no_reading_and_stays_in_the_data(event_type, inner):
    event = event_of(event_type, inner)
    assert event.readings == ()
    assert event.data["data"] == {event_type: inner}


@pytest.mark.fact("networkStatus of 2020 has no rssi")
def test_a_network_status_of_2020_has_no_rssi():
    assert values_of(event_of("networkStatus", {"signalStrength": 45})) == [("signalStrength", 45)]


@pytest.mark.fact("Mistake 10: taking humidity.temperature for humidity")
def test_the_humidity_is_not_its_temperature():
    assert values_of(event_of("humidity", {"temperature": 22, "relativeHumidity": 40})) == [
        ("relativeHumidity", 40),
        ("temperature", 22),
    ]


@pytest.mark.fact("labelsChanged is flat and has no updateTime")
def test_a_change_of_labels_has_no_reading_and_is_kept_whole():
    changes = {"added": {"a": "b"}, "modified": {"c": "d"}, "removed": ["e"]}
    plain = {
        "eventId": "a",
        "eventType": "labelsChanged",
        "data": changes,
        "timestamp": "2024-05-29T10:34:03Z",
    }
    event = decode_event({"event": plain}, received=RECEIVED)
    assert (event.readings, event.labels) == ((), {})
    assert event.time == datetime(2024, 5, 29, 10, 34, 3, tzinfo=UTC)
    assert event.data["event"]["data"] == changes


@pytest.mark.fact("batteryStatus may have a state and estimatedRemainingYears")
def test_a_battery_status_with_new_fields_is_still_a_percentage():
    inner = {"percentage": 12, "state": "LOW", "estimatedRemainingYears": 0.5}
    assert values_of(event_of("batteryStatus", inner)) == [("batteryStatus", 12)]


@pytest.mark.fact("The samples cover all 19 event types")
def test_the_samples_have_every_event_type_that_dt_has(sample_lines):
    bodies = [line["body"] for line in sample_lines]
    types = {body.get("event", body)["eventType"] for body in bodies}
    assert len(types - {"unknownEvent"}) == 19


# What is no event


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "event",
        7,
        {},
        {"event": None},
        {"event": []},
        {"event": {"eventId": "a"}},
        {"event": {"eventType": "touch"}},
        {"eventId": "", "eventType": "touch"},
        {"eventId": "a", "eventType": ""},
        {"eventId": 7, "eventType": "touch"},
    ],
)
def test_without_id_and_type_there_is_no_event(document):
    with pytest.raises(ValueError, match="eventId"):
        decode_event(document, received=RECEIVED)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Words that mean something to the decoder, so that it goes deep.
    | st.sampled_from(
        [
            "OPEN",
            "SDS",
            "2024-01-01T00:00:00Z",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
        ]
    )
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "value",
                    "state",
                    "updateTime",
                    "samples",
                    "sampleTime",
                    "errors",
                    "temperature",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
TYPES = st.sampled_from(
    ["touch", "temperature", "humidity", "contact", "ethernetStatus", "labelsChanged", "x"]
)


@pytest.mark.fact("Metadata may be of another shape for new event types")
@pytest.mark.fact("Unknown: probeWireStatus and new fields of batteryStatus are parsed tolerantly")
@pytest.mark.fact("Mistake 9: crashing on what is missing")
@given(
    event_type=TYPES,
    inner=ANYTHING,
    timestamp=ANYTHING,
    target=ANYTHING,
    labels=ANYTHING,
    metadata=ANYTHING,
)
def test_whatever_the_fields_hold_the_event_can_be_stored(
    event_type, inner, timestamp, target, labels, metadata
):
    plain = {"eventId": "a", "eventType": event_type, "targetName": target, "timestamp": timestamp}
    document = {
        "event": {**plain, "data": {event_type: inner}},
        "labels": labels,
        "metadata": metadata,
    }
    event = decode_event(document, received=RECEIVED)
    assert json.loads(encode(event))["data"] == json.loads(json.dumps(document))
    assert event.device
    assert_known_again(lambda now: [decode_event(document, received=now)], RECEIVED)
