"""One push as it is sent: values, dates, and how large it may be."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.testing.fakes import FixedClock
from bridge_plugins.databoom.push import PushSize, is_exact, sent_date, sent_value


@pytest.mark.fact(
    "Numbers are sent as JSON numbers, booleans as 0 and 1, texts that are numbers as numbers",
)
@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (True, 1),
        (False, 0),
        (7, 7),
        (-1.5, -1.5),
        (2**63, 2**63),
        ("21.5", 21.5),
        ("-3", -3),
        ("1e3", 1000.0),
        ("123456789012345678901234567890", 123456789012345678901234567890.0),
    ],
)
def test_numbers_and_booleans_are_sent_as_numbers(value, sent):
    assert sent_value(value, texts=False) == sent
    assert type(sent_value(value, texts=False)) is type(sent)


@pytest.mark.fact("Free text is off by default and can be asked for")
@pytest.mark.parametrize(
    "text", ["", "open", "1e999", "0x10", "NaN", "Infinity", "1,5", "١", " 1", "1\n"]
)
def test_a_text_that_is_no_number_is_sent_only_if_asked_for(text):
    assert sent_value(text, texts=False) is None
    assert sent_value(text, texts=True) == text


@pytest.mark.fact("Dates are UTC with milliseconds and a zone, finer times are cut")
@pytest.mark.fact("Mistake 5: dates without zone, or in seconds")
def test_a_date_is_utc_with_milliseconds_cut_off_and_a_zone():
    time = datetime(2020, 2, 5, 3, 59, 33, 999999, tzinfo=timezone(timedelta(hours=1)))
    assert sent_date(time) == "2020-02-05T02:59:33.999+0000"


@pytest.mark.fact("NaN, infinities, null and objects are never sent")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, {}, [1], {"a": 1}])
def test_what_is_no_finite_value_is_never_sent(value):
    assert sent_value(value, texts=True) is None


@given(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())
    )
)
def test_only_finite_numbers_are_sent_unless_texts_are_wanted(value):
    sent = sent_value(value, texts=False)
    assert sent is None or (isinstance(sent, int | float) and not isinstance(sent, bool))
    json.dumps(sent, allow_nan=False)


@pytest.mark.fact(
    "Whole numbers above 2^53 lose precision in JavaScript (assumed): sent, counted and told",
)
@pytest.mark.parametrize(
    ("value", "exact"), [(2**53, True), (2**53 + 1, False), (-(2**53) - 1, False), (1e300, True)]
)
def test_whole_numbers_above_2_to_the_53_are_not_exact(value, exact):
    assert is_exact(value) is exact


def test_a_date_may_end_in_z_instead():
    assert sent_date(datetime(2020, 2, 5, 2, 59, 33, tzinfo=UTC), "Z") == "2020-02-05T02:59:33.000Z"


@pytest.mark.fact("It grows back, doubled hour by hour")
def test_a_refused_size_is_halved_and_doubles_hour_by_hour():
    clock = FixedClock()
    size = PushSize(1000, clock)
    assert size.bytes == 1000
    size.refused(800)
    size.refused(400)
    sizes = []
    for _ in range(5):
        sizes.append(size.bytes)
        clock.move(timedelta(minutes=59, seconds=59))
        sizes.append(size.bytes)
        clock.move(timedelta(seconds=1))
    assert sizes == [200, 200, 400, 400, 800, 800, 1000, 1000, 1000, 1000]


def test_a_size_never_grows_by_a_refusal_nor_reaches_nothing():
    size = PushSize(1000, FixedClock())
    size.refused(100)
    size.refused(900)
    assert size.bytes == 50
    for _ in range(20):
        size.refused(size.bytes)
    assert size.bytes == 1


@pytest.mark.parametrize("step", [-86_400, 0, 10**9])
def test_a_clock_that_is_set_does_no_harm(step):
    clock = FixedClock()
    size = PushSize(1000, clock)
    size.refused(100)
    clock.move(timedelta(seconds=step))
    assert 50 <= size.bytes <= 1000
