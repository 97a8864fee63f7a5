"""Where a key lies, and what is kept of it."""

from datetime import UTC, datetime, timedelta, timezone
from hashlib import blake2b

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.spool.keys import (
    MAX_SECOND,
    STORED,
    TIMELESS,
    bounds_of,
    digest_of,
    hour_of,
    keys_of,
    place_of,
    salt_for,
)
from bridge.testing.arrivals import TIME, arrival

ZONES = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
TIMES = st.datetimes(timezones=st.just(UTC) | ZONES)
PLACEABLE = st.datetimes(
    datetime(1970, 1, 1, 0, 0, 1),  # noqa: DTZ001  # hypothesis wants it so
    datetime(2106, 2, 7, 6, 28, 15, 999_999),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(TIMES, TIMES)
@example(datetime.min.replace(tzinfo=timezone(timedelta(hours=23))), TIME)
@example(datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))), TIME)
def test_places_are_in_the_order_of_their_times(one: datetime, two: datetime):
    earlier, later = sorted([one, two])
    assert TIMELESS < place_of(earlier) <= place_of(later)
    assert len(place_of(one)) == len(TIMELESS) == 4


@given(PLACEABLE)
def test_a_place_is_the_second_in_which_the_time_lies(time: datetime):
    second = int.from_bytes(place_of(time), "big")
    begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    assert begin <= time < begin + timedelta(seconds=1)


@given(TIMES, ZONES)
def test_a_place_is_that_of_an_instant_in_any_zone(time: datetime, zone: timezone):
    try:
        elsewhere = time.astimezone(zone)
    except OverflowError:
        return
    assert place_of(elsewhere) == place_of(time)


def test_what_cannot_be_placed_lies_at_the_ends():
    assert place_of(None) == bytes(4)
    assert place_of(datetime(1969, 12, 31, tzinfo=UTC)) == b"\0\0\0\1"
    assert place_of(datetime(1970, 1, 1, tzinfo=UTC)) == b"\0\0\0\1"
    assert place_of(datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC)) == b"\xff" * 4
    assert place_of(datetime(2200, 1, 1, tzinfo=UTC)) == b"\xff" * 4


def test_a_time_without_a_zone_is_a_mistake_of_the_caller():
    with pytest.raises(TypeError, match="offset-naive"):
        place_of(datetime(2026, 1, 1))  # noqa: DTZ001


@given(st.integers(0, MAX_SECOND), st.binary(min_size=12, max_size=12), st.data())
@example(MAX_SECOND, b"\xff" * 12, None)
@example(0, bytes(12), None)
def test_a_key_lies_within_the_bounds_of_its_hour_alone(second: int, digest: bytes, data):
    key = second.to_bytes(4, "big") + digest
    first, end = bounds_of(hour_of(key), hour_of(key))
    assert first <= key < end
    other = second if data is None else data.draw(st.integers(0, MAX_SECOND))
    first, end = bounds_of(other // 3600, other // 3600)
    assert (first <= key < end) == (other // 3600 == second // 3600)


def test_version_1_made_the_same_digest_over_the_name():
    expected = blake2b(b"sensors\0a\xc2\xb0\xed\xa0\x80", digest_size=16).digest()
    assert digest_of("sensors", "a°\ud800") == expected


def test_a_key_is_its_second_and_its_digest_over_the_salt():
    assert keys_of(arrival("a", key_time=TIME), "salt") == (
        place_of(TIME) + digest_of("salt", "a"),
    )
    assert STORED == 4 + 12


def test_a_former_key_may_have_had_no_time():
    new, old = digest_of("salt", "new"), digest_of("salt", "old")
    event = arrival("new", former_keys=("old",), key_time=TIME)
    assert keys_of(event, "salt") == (place_of(TIME) + new, place_of(TIME) + old, TIMELESS + old)
    event = arrival("new", former_keys=("old",))
    assert keys_of(event, "salt") == (TIMELESS + new, TIMELESS + old)


def test_nothing_is_kept_of_what_never_comes_again():
    assert keys_of(evolve(arrival("a", former_keys=("old",)), key=None), "salt") == ()


def test_the_salt_of_a_new_source_is_its_name_or_no_name():
    assert salt_for("sensors", {"towers"}) == "sensors"
    assert salt_for("sensors", {"sensors", "towers"}) == "sensors/2"
    assert salt_for("sensors", {"sensors", "sensors/2"}) == "sensors/3"
