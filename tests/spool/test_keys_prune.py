"""Keys go when they were stored long enough ago, wherever they lie."""

from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.spool import keys_prune
from bridge.spool.keys_prune import prune_hours, walk_hour
from bridge.spool.keys_survey import FILLED, KEY_SIZE, Ages, KeySurvey, due_hours, survey
from bridge.testing.arrivals import TIME
from tests.spool.keys_file import DAY, HOUR, MINUTE, KeysFile, at

WINDOW = 35 * DAY
YEAR_2099 = (datetime(2099, 12, 31, tzinfo=UTC) - TIME).total_seconds()


def room_for(count: float) -> int:
    """So many bytes that no more than these keys stay."""
    return int(count * KEY_SIZE / FILLED) + KEY_SIZE // 2


def look(file: KeysFile, room: int) -> KeySurvey:
    ages = Ages()
    while ages.read(file.connection):
        pass
    return survey(ages, running=file.running, window=WINDOW, room=room)


@pytest.mark.parametrize("stored", [0.0, 59.9, 60.0, 12_345.6])
@pytest.mark.parametrize("place", [0, -31 * DAY, YEAR_2099, None])
def test_a_key_is_known_for_the_window(keys_file: KeysFile, stored: float, place: float | None):
    keys_file.running = stored
    keys_file.append(at("a", place))
    keys_file.running = stored + WINDOW - 0.1
    keys_file.keep_house(WINDOW)
    assert keys_file.unknown(at("a", place)) == 0
    keys_file.running = stored + WINDOW + 2 * MINUTE
    keys_file.keep_house(WINDOW)
    assert keys_file.unknown(at("a", place)) == 1
    assert keys_file.count("hours") == 0


def test_an_hour_goes_in_steps(keys_file: KeysFile, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys_prune, "KEYS_A_STEP", 10)
    keys_file.append(*[at(f"{number}", number * 100) for number in range(100)])
    keys_file.running = WINDOW + 2 * MINUTE
    cut = look(keys_file, 1 << 30).cut
    hours = due_hours(keys_file.connection, cut)
    assert len(hours) == 3
    left = [100]
    while hours:
        hours = hours[keys_file.write(partial(prune_hours, hours=hours, cut=cut)) :]
        assert keys_file.problems() == []
        left.append(keys_file.count("known"))
    assert left == [*range(100, -1, -10)]


def test_the_hour_stored_longest_ago_goes_first(keys_file: KeysFile):
    for number, place in enumerate([5 * HOUR, 0, YEAR_2099, -DAY]):
        keys_file.running = number * HOUR
        keys_file.append(at("a", place))
    in_order = keys_file.rows("SELECT hour FROM hours ORDER BY newest")
    assert due_hours(keys_file.connection, 120) == [hour for (hour,) in in_order[:3]]


def test_many_small_hours_are_several_steps(keys_file: KeysFile, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys_prune, "HOURS_A_STEP", 5)
    keys_file.append(*[at(f"{number}", number * 1e6) for number in range(20)])
    keys_file.running = WINDOW + 2 * MINUTE
    before = keys_file.steps
    keys_file.keep_house(WINDOW)
    assert keys_file.count("known") == 0
    assert keys_file.steps - before == 4 + 1  # and a look at how long it ran


def test_an_hour_in_which_something_is_stored_meanwhile_stays(keys_file: KeysFile):
    keys_file.append(at("a"), at("b", HOUR))
    keys_file.running = WINDOW + 2 * MINUTE
    cut = look(keys_file, 1 << 30).cut
    hours = due_hours(keys_file.connection, cut)
    keys_file.append(at("c", 1))
    assert keys_file.write(lambda transaction: prune_hours(transaction, hours, cut)) == 2
    assert keys_file.unknown(at("a"), at("b", HOUR), at("c", 1)) == 1


@pytest.mark.parametrize("place", [0, None, YEAR_2099])
def test_an_hour_that_never_stops_filling_goes_key_by_key(
    keys_file: KeysFile, place: float | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keys_prune, "WALKED_A_STEP", 7)
    for day in range(50):
        keys_file.running = day * DAY
        keys_file.append(*[at(f"{day} {number}", place) for number in range(4)])
        keys_file.keep_house(WINDOW)
        assert keys_file.problems() == []
    kept = keys_file.rows("SELECT DISTINCT stored / 1440 FROM known ORDER BY stored")
    assert [day for (day,) in kept] == [*range(14, 50)]
    gone = [at(f"13 {number}", place) for number in range(4)]
    assert keys_file.unknown(*gone, *[at(f"{day} 0", place) for day in range(14, 50)]) == 4


def test_a_walk_rests(keys_file: KeysFile):
    for day in range(36):
        keys_file.running = day * DAY
        keys_file.append(at(f"{day}", None))
    keys_file.running = 36.2 * DAY + 2 * MINUTE
    keys_file.keep_house(WINDOW)
    assert keys_file.rows("SELECT min(stored) / 1440 FROM known") == [(2,)]
    before = keys_file.steps
    keys_file.running += DAY
    keys_file.keep_house(WINDOW)
    assert keys_file.steps == before + 1  # it only looked how long it ran
    keys_file.running += DAY
    keys_file.keep_house(WINDOW)
    assert keys_file.rows("SELECT min(stored) / 1440 FROM known") == [(4,)]


def test_a_step_of_a_walk_says_where_it_ended(keys_file: KeysFile, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys_prune, "WALKED_A_STEP", 10)
    keys_file.append(*[at(f"{number}", number) for number in range(25)])
    hour = keys_file.rows("SELECT hour FROM hours")[0][0]
    keys = [key for (key,) in keys_file.rows("SELECT key FROM known ORDER BY key")]
    ends, after = [], b""
    while after is not None:
        after = keys_file.write(partial(walk_hour, hour=hour, after=after, cut=-1))
        ends.append(after)
    assert ends == [keys[10], keys[20], None]
    assert keys_file.count("known") == 25


def test_a_walk_deletes_up_to_the_minute_that_is_due(keys_file: KeysFile):
    for minute in range(4):
        keys_file.running = minute * MINUTE
        keys_file.append(at(f"{minute}"))
    ((hour,),) = keys_file.rows("SELECT hour FROM hours")
    keys_file.write(partial(walk_hour, hour=hour, after=b"", cut=1))
    assert keys_file.rows("SELECT count, oldest, newest FROM hours") == [(2, 2, 3)]
    assert keys_file.unknown(*[at(f"{minute}") for minute in range(4)]) == 2
    assert keys_file.unknown(at("2"), at("3")) == 0


STORED = st.tuples(
    st.integers(0, 20),  # days of running
    st.sampled_from([0, -31 * DAY, 5 * HOUR, YEAR_2099, None]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STORED, max_size=25), st.integers(0, 25))
def test_under_pressure_nothing_goes_before_what_is_older(
    tmp_path_factory, stored: list[tuple[int, float | None]], fitting: int
):
    """Those that stay were all stored later than those that go, apart from what rests
    between two walks.
    """
    file = KeysFile(tmp_path_factory.mktemp("keys"))
    keys = [
        (day, at(f"{number}", place))
        for number, (day, place) in enumerate(sorted(stored, key=lambda one: one[0]))
    ]
    for day, key in keys:
        file.running = day * DAY
        file.append(key)
    file.running = 21 * DAY
    file.keep_house(WINDOW, room_for(fitting))
    assert file.problems() == []
    gone = [day for day, key in keys if file.unknown(key)]
    stay = [day for day, key in keys if not file.unknown(key)]
    file.connection.close()
    assert len(keys) > fitting or not gone
    assert max(gone, default=0) < 20
    if gone and stay:
        assert max(gone) <= min(stay) + 2


def test_the_year_2099_makes_nobody_elses_keys_go(keys_file: KeysFile):
    for day in range(20):
        keys_file.running = day * DAY
        honest = [at(f"{day} {number}", day * DAY + number) for number in range(10)]
        broken = [at(f"{day} {number}", YEAR_2099, source="broken") for number in range(10)]
        keys_file.append(*honest, *broken)
    keys_file.keep_house(WINDOW, room_for(200))
    # Half of both: those that were stored longest ago.
    kept = dict(keys_file.rows("SELECT key > X'F0', min(stored) / 1440 FROM known GROUP BY 1"))
    assert 8 <= kept[0] <= 11
    assert 8 <= kept[1] <= 11


def test_a_month_ago_sent_newest_first_stays_for_the_window(keys_file: KeysFile):
    keys_file.append(*[at(f"live {day}", day * DAY) for day in range(-30, 1)])
    keys_file.running = 20 * DAY
    old = [at(f"old {day}", day * DAY + 5) for day in range(0, -31, -1)]
    keys_file.append(*old)
    keys_file.running = WINDOW + 2 * DAY
    keys_file.keep_house(WINDOW)
    assert keys_file.unknown(*old) == 0
    # Those stored first are due, though others lie in their hours.
    keys_file.running += 2 * DAY
    keys_file.keep_house(WINDOW)
    assert keys_file.count("known") == len(old)


def test_nothing_goes_within_a_day_however_little_room(keys_file: KeysFile):
    keys_file.append(*[at(f"old {number}", number) for number in range(10)])
    keys_file.running = 10 * DAY
    keys_file.append(*[at(f"{number}", number + HOUR) for number in range(10)])
    keys_file.running += DAY - 1
    upkeep = keys_file.keep_house(WINDOW, room_for(0))
    assert keys_file.rows("SELECT DISTINCT stored FROM known") == [(14400,)]
    assert upkeep.found.window == DAY
    keys_file.running += 2 * MINUTE
    keys_file.keep_house(WINDOW, room_for(0))
    assert keys_file.count("known") == 0


def test_a_shorter_window_is_foretold(keys_file: KeysFile):
    for hour in range(24 * 8):
        keys_file.running = hour * HOUR
        keys_file.append(*[at(f"{hour} {number}", hour * HOUR + number) for number in range(10)])
    keys_file.running += HOUR
    found = look(keys_file, room_for(240 * 9))
    assert found.count == 240 * 8
    assert found.size == 240 * 8 * KEY_SIZE
    assert found.a_day == 240
    assert found.window == WINDOW
    assert found.foretold == pytest.approx(9 * DAY, rel=0.01)
    assert look(keys_file, 1 << 30).foretold == WINDOW
    assert look(keys_file, room_for(10)).foretold == DAY
    # And there is the moment at which it is so short.
    assert look(keys_file, room_for(240 * 5)).window == pytest.approx(5 * DAY, abs=HOUR)


def test_a_history_that_was_fetched_is_no_rate(keys_file: KeysFile):
    assert look(keys_file, 1 << 30).a_day is None
    keys_file.append(*[at(f"{number}", -number * 600) for number in range(4000)])
    for hour in range(49):
        keys_file.running = hour * HOUR
        keys_file.append(at(f"live {hour}", hour * HOUR))
    assert look(keys_file, 1 << 30).a_day == 24
    assert look(keys_file, room_for(8000)).foretold == WINDOW


def test_hours_are_looked_at_in_steps(keys_file: KeysFile, monkeypatch: pytest.MonkeyPatch):
    for hour in range(10):
        keys_file.running = hour % 3 * HOUR
        keys_file.append(*[at(f"{hour} {number}", hour * HOUR) for number in range(hour)])
    in_one_step = look(keys_file, 1 << 30)
    monkeypatch.setattr("bridge.spool.keys_survey.HOURS_A_STEP", 3)
    assert look(keys_file, 1 << 30) == in_one_step
    assert in_one_step.count == 45


def test_a_file_without_keys_is_looked_at_as_well(keys_file: KeysFile):
    keys_file.running = 2 * DAY
    found = look(keys_file, 1 << 30)
    assert (found.count, found.a_day, found.foretold) == (0, 0, WINDOW)
