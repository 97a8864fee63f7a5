"""Dates as JavaScript reads them; the cases are those of the vendor's documentation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_plugins.databoom.emulator.dates import parse_date

SERVER = timezone(timedelta(hours=1))
MOMENT = datetime(2020, 2, 5, 2, 59, 33, tzinfo=UTC)


@pytest.mark.fact("Dates with a zone are read right, in each documented spelling")
@pytest.mark.parametrize(
    "text",
    [
        "2020-02-05T02:59:33.000+0000",
        "2020-02-05T02:59:33.000Z",
        "2020-02-05T02:59:33.000+00:00",
        "2020-02-05T04:59:33+02:00",
        "Wed, 05 Feb 2020 02:59:33 GMT",
        "2020-02-05 03:59:33 +01:00",
        "02/05/2020 04:59:33.000+02:00",
        "5 Feb 2020 04:59:33.000+02:00",
        1580871573000,
    ],
)
def test_a_date_with_a_zone_is_right(text):
    assert parse_date(text, SERVER) == MOMENT


@pytest.mark.fact("A date without a zone is read in the server's local zone")
@pytest.mark.parametrize(
    "text",
    [
        "2020-02-05T03:59:33",
        "2020-02-05 03:59:33",
        "02/05/2020 03:59:33",
        "February 5 2020 03:59:33",
    ],
)
def test_a_date_without_a_zone_is_read_in_that_of_the_server(text):
    assert parse_date(text, SERVER) == MOMENT


@pytest.mark.fact("A day in another form begins in the server's zone")
@pytest.mark.parametrize("text", ["02/05/2020", "February 5 2020", "Feb 5, 2020", "5 Feb 2020"])
def test_a_day_that_is_not_iso_begins_in_the_zone_of_the_server(text):
    assert parse_date(text, SERVER) == datetime(2020, 2, 4, 23, tzinfo=UTC)


@pytest.mark.fact("A day in ISO form is midnight UTC")
def test_an_iso_day_begins_at_midnight_utc():
    assert parse_date("2020-02-05", SERVER) == datetime(2020, 2, 5, tzinfo=UTC)


def test_finer_than_a_millisecond_is_cut():
    assert parse_date("2020-02-05T02:59:33.123999Z", SERVER) == MOMENT.replace(microsecond=123000)


@pytest.mark.fact("Null is 1970")
@pytest.mark.parametrize("value", [None, 0])
def test_nothing_is_1970(value):
    assert parse_date(value, SERVER) == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.fact("A number of seconds is a date in January 1970")
def test_seconds_land_in_january_1970():
    assert parse_date(1580871573, SERVER) == datetime(1970, 1, 19, 7, 7, 51, 573000, tzinfo=UTC)


@pytest.mark.fact("Digits as a text, +00 and an empty text are no dates")
@pytest.mark.parametrize(
    "value",
    [
        "1580871573000",
        "2020-02-05T02:59:33+00",
        "",
        "2020-13-05T00:00:00Z",
        "5 Foo 2020",
        1e300,
        True,
        [],
        {},
    ],
)
def test_what_is_no_date_is_none(value):
    assert parse_date(value, SERVER) is None


@given(st.one_of(st.text(), st.from_regex(r"[0-9/:. TZ+-]{4,30}"), st.floats(), st.integers()))
def test_any_value_is_a_date_or_none(value):
    parse_date(value, SERVER)
