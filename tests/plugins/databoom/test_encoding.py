"""From events to the bodies of pushes."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import settings as pace
from hypothesis import strategies as st

from bridge.api import Event, Reading, Secret, Size, Stored
from bridge_plugins.databoom.encoding import plan
from bridge_plugins.databoom.push import Push, sent_date, sent_value
from bridge_plugins.databoom.settings import DataboomSettings
from bridge_plugins.databoom.tokens import DEVICE_FIELDS, SIGNAL_FIELDS, Template, Tokens

START = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


class Claims(dict[Any, Any]):
    def add(self, key: Any, value: Any) -> None:
        self.setdefault(key, value)


def tokens(settings: DataboomSettings) -> Tokens:
    return Tokens(
        device=Template.parse(settings.device, DEVICE_FIELDS),
        signal=Template.parse(settings.signal, SIGNAL_FIELDS),
        devices=settings.devices,
        signals=settings.signals,
        targets={},
        unmapped=settings.unmapped,
        reserved=settings.heartbeat,
        claims=Claims(),
    )


def bodies(events: Any, settings: DataboomSettings, known: Any = ()) -> list[Any]:
    return [
        json.loads(push.body) for push in plan(events, tokens(settings), known, settings).pushes
    ]


@pytest.mark.fact("Array form: the values of one moment share a date")
def test_values_of_one_moment_share_a_push_with_one_date(make, settings):
    known = {("d1", "temperature"), ("d1", "humidity")}
    event = make.event(("temperature", 21.5), ("humidity", 40))
    assert plan([event], tokens(settings), known, settings).pushes[0].body == (
        b'{"device":"d1","date":"2026-05-04T10:00:00.000+0000",'
        b'"signals":[{"name":"temperature","value":21.5},{"name":"humidity","value":40}]}'
    )


@pytest.mark.fact(
    "History form: signals keyed by token, each with a history of dates and values, no date "
    "above them"
)
def test_several_moments_go_in_history_form_sorted_by_date(make, settings):
    events = [make.event(("t", 2, 60)), make.event(("t", 1, 0))]
    assert plan(events, tokens(settings), {("d1", "t")}, settings).pushes[0].body == (
        b'{"device":"d1","signals":{"t":{"history":['
        b'{"date":"2026-05-04T10:00:00.000+0000","value":1},{"date":"2026-05-04T10:01:00.000+0000","value":2}]}}}'
    )


@pytest.mark.fact("First contact: the oldest value in array form with meta, the others as history")
def test_a_new_signal_is_introduced_by_its_oldest_value(make, settings):
    events = [
        make.event(("t", 2, 60, "°C")),
        make.event(("t", 1, 0, "°C")),
        make.event(("t", 3, 120, "°C")),
    ]
    first, rest = bodies(events, settings)
    assert first["date"] == "2026-05-04T10:00:00.000+0000"
    assert first["signals"] == [
        {"name": "t", "value": 1, "meta": {"description": "t", "tags": ["bridge"], "unit": "°C"}}
    ]
    assert [point["value"] for point in rest["signals"]["t"]["history"]] == [2, 3]


def test_new_and_known_signals_of_one_moment_share_a_push(make, settings):
    (body,) = bodies([make.event(("old", 1), ("new", 2))], settings, known={("d1", "old")})
    assert [("meta" in entry) for entry in body["signals"]] == [True, False]
    assert [entry["name"] for entry in body["signals"]] == ["new", "old"]


def test_what_an_introduction_leaves_of_one_time_is_an_array(make, settings):
    introduction, rest = bodies([make.event(("t", 1)), make.event(("t", 2, 5))], settings)
    assert "date" in introduction
    assert rest["signals"] == [{"name": "t", "value": 2}]


def test_without_meta_a_new_signal_still_comes_in_array_form(make, settings):
    events = [make.event(("t", value, value)) for value in range(3)]
    introduction, history = bodies(events, evolve(settings, meta=False))
    assert introduction["signals"] == [{"name": "t", "value": 0}]
    assert len(history["signals"]["t"]["history"]) == 2


def test_a_unit_that_the_vendor_does_not_name_is_left_out(make, settings):
    (body,) = bodies([make.event(("t", 1))], settings)
    assert body["signals"][0]["meta"] == {"description": "t", "tags": ["bridge"]}


def test_an_event_without_anything_to_send_is_filtered(make, settings):
    events = [make.event(), make.event(("state", "open")), make.event(("t", 1))]
    assert plan(events, tokens(settings), (), settings).filtered == {0, 1}


@pytest.mark.fact("Two values of a signal in one millisecond: the last is kept")
def test_of_two_values_in_one_millisecond_the_last_is_sent(make, settings):
    events = [make.event(("t", 1, 0.0001)), make.event(("t", 2, 0.0009))]
    decided = plan(events, tokens(settings), (), settings)
    assert [point.value for push in decided.pushes for point in push.points] == [2]
    assert decided.filtered == {0}


def test_texts_are_sent_as_they_are_if_asked_for(make, settings):
    (body,) = bodies([make.event(("door", "öffen"))], evolve(settings, texts="send"))
    assert body["signals"][0]["value"] == "öffen"


def test_a_reading_at_the_future_limit_is_sent(make, settings):
    event = make.event(("t", 1, 601), received=START + timedelta(seconds=1))
    assert len(bodies([event], settings)) == 1


def test_a_reading_beyond_the_future_limit_names_both_times(make, settings):
    event = make.event(("t", 1, 602), ("u", 1, 0), received=START + timedelta(seconds=1))
    decided = plan([event], tokens(settings), (), settings)
    assert "2026-05-04T10:10:02+00:00" in decided.dead[0]
    assert "2026-05-04T10:00:01+00:00" in decided.dead[0]
    assert [point.signal for push in decided.pushes for point in push.points] == ["u"]


def test_two_signals_that_become_one_token_do_not_mix(make, settings):
    events = [make.event(("a.b", 1)), make.event(("a/b", 2)), make.event(("a.b", 3, 1))]
    decided = plan(events, tokens(settings), (), settings)
    assert "'a/b' would become the token 'a_b', which stands for 'a.b' already" in decided.dead[1]
    assert [point.value for push in decided.pushes for point in push.points] == [1, 3]


@pytest.mark.fact("One device a request")
def test_each_device_token_has_its_own_pushes(make, settings):
    events = [make.event(("t", 1), source="east"), make.event(("t", 2), source="west")]
    decided = plan(events, tokens(evolve(settings, device="{source}-{device}")), (), settings)
    assert [push.device for push in decided.pushes] == ["east-d1", "west-d1"]


@pytest.mark.fact("Signals a request in array form, 21 are two requests")
@pytest.mark.fact("Mistake 4: off by one in chunking")
@pytest.mark.parametrize(("count", "pushes"), [(20, [20]), (21, [20, 1])])
def test_twenty_signals_are_one_push_and_twenty_one_are_two(make, settings, count, pushes):
    event = make.event(*((f"s{number}", number) for number in range(count)))
    assert [len(body["signals"]) for body in bodies([event], settings)] == pushes


@pytest.mark.fact("Values per signal in history form")
@pytest.mark.parametrize(("count", "pushes"), [(100, [100]), (101, [100, 1])])
def test_a_hundred_values_of_a_signal_are_one_push(make, settings, count, pushes):
    events = [make.event(("t", number, number)) for number in range(count)]
    decided = plan(events, tokens(settings), {("d1", "t")}, settings)
    assert [len(push.points) for push in decided.pushes] == pushes


@pytest.mark.fact("kB a request")
def test_a_push_of_exactly_the_largest_size_is_not_split(make, settings):
    events = [make.event(("t", number, number)) for number in range(30)]
    known = {("d1", "t")}
    (whole,) = plan(events, tokens(settings), known, settings).pushes
    size = len(whole.body)
    fitting = plan(events, tokens(settings), known, evolve(settings, most_bytes=Size(size))).pushes
    too_large = plan(
        events, tokens(settings), known, evolve(settings, most_bytes=Size(size - 1))
    ).pushes
    assert (len(fitting), len(too_large)) == (1, 2)


def test_only_the_value_that_alone_is_too_large_is_refused(make, settings):
    small = evolve(settings, texts="send", most_bytes=Size(1024))
    decided = plan([make.event(("t", "x" * 2000), ("u", 1))], tokens(small), (), small)
    assert "more than most_bytes = 1KiB" in decided.dead[0]
    assert [point.signal for push in decided.pushes for point in push.points] == ["u"]


values = st.one_of(
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(st.characters(codec="utf-8"), max_size=30),
)
readings = st.builds(
    Reading,
    signal=st.sampled_from(["t", "humidity", "metrics/sys/level", "ß" * 70]),
    value=values,
    time=st.integers(0, 20_000).map(lambda number: START + timedelta(microseconds=number * 250)),
    unit=st.sampled_from([None, "°C"]),
)
batches = st.lists(st.lists(readings, max_size=8), min_size=1, max_size=20).map(
    lambda lists: [
        Stored(number, "s", START, Event(f"k{number}", "d1", "kind", START, tuple(items)))
        for number, items in enumerate(lists, 1)
    ]
)


@pytest.mark.fact(
    "One moment goes in array form, several in history form, never mixed in a request",
)
@pytest.mark.fact("History is sorted by date and a signal occurs once in array form")
@pace(deadline=None)
@given(
    batches,
    st.sets(st.sampled_from(["t", "humidity"])),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 5),
)
def test_every_point_is_sent_once_in_order_within_all_limits(
    events, known, most_signals, most_points, per_signal
):
    settings = DataboomSettings(
        token=Secret("x"),
        texts="send",
        most_signals=most_signals,
        most_points=most_points,
        most_points_per_signal=per_signal,
        most_bytes=Size(1024),
    )
    known_signals = {("d1", signal) for signal in known}
    decided = plan(events, tokens(settings), known_signals, settings)
    wanted: dict[tuple[str, str], Any] = {}
    for stored in events:
        for reading in stored.event.readings:
            wanted[reading.signal, sent_date(reading.time)] = sent_value(reading.value, texts=True)
    got: list[tuple[str, str, Any]] = []
    introduced = set()
    for push in decided.pushes:
        assert len(push.body) <= 1024
        body = json.loads(push.body, parse_constant=lambda name: pytest.fail(f"{name} was sent"))
        if push.form == "array":
            assert len(body["signals"]) <= most_signals
            assert len({entry["name"] for entry in body["signals"]}) == len(body["signals"])
            assert len(body["signals"]) == len(push.points)
            introduced |= {entry["name"] for entry in body["signals"] if "meta" in entry}
        else:
            assert (
                sum(len(entry["history"]) for entry in body["signals"].values())
                == len(push.points)
                <= most_points
            )
            assert max(Counter(point.signal for point in push.points).values()) <= per_signal
            assert set(body["signals"]) <= introduced | known
        got += [(point.name, point.date, point.value) for point in push.points]
    assert not decided.dead
    assert len(got) == len(wanted)
    assert {(name, date): value for name, date, value in got} == wanted
    for signal in {name for name, _, _ in got}:
        dates = [date for name, date, _ in got if name == signal]
        assert dates == sorted(dates)
    again = plan(events, tokens(settings), known_signals, settings)
    assert [push.body for push in again.pushes] == [push.body for push in decided.pushes]
    assert decided.filtered == again.filtered


def test_the_halves_of_a_push_hold_all_its_points_in_order(make, settings):
    events = [make.event(("t", number, number)) for number in range(5)]
    (push,) = plan(events, tokens(settings), {("d1", "t")}, settings).pushes
    first, second = push.halves()
    assert isinstance(first, Push)
    assert [point.value for point in (*first.points, *second.points)] == [0, 1, 2, 3, 4]


def test_each_moment_has_its_push_in_array_form(make, settings):
    events = [make.event(("t", value, value), ("u", value, value)) for value in range(3)]
    pushed = bodies(events, evolve(settings, form="array"))
    assert [len(body["signals"]) for body in pushed] == [2, 2, 2]
    assert [["meta" in entry for entry in body["signals"]] for body in pushed] == [
        [True] * 2,
        [False] * 2,
        [False] * 2,
    ]
    assert [body["date"] for body in pushed] == sorted(body["date"] for body in pushed)


@pytest.mark.fact("History form may have a description, and meta is not evidenced there")
def test_history_form_describes_a_new_signal(make, settings):
    (body,) = bodies(
        [make.event(("t", 1), ("u", 2))], evolve(settings, form="history"), known={("d1", "u")}
    )
    assert body == {
        "device": "d1",
        "signals": {
            "t": {
                "history": [{"date": "2026-05-04T10:00:00.000+0000", "value": 1}],
                "description": "t",
            },
            "u": {"history": [{"date": "2026-05-04T10:00:00.000+0000", "value": 2}]},
        },
    }


@pytest.mark.fact(
    "Template form: POST to url/UNIQUE with type, message, template; one entry a request",
)
@pytest.mark.fact("The unique value is percent-encoded and kept to letters, digits, \\_ and -")
def test_template_form_has_the_device_in_the_address(make, settings):
    changed = evolve(settings, form="template", template="tpl")
    pushes = plan(
        [make.event(("t", 1), device="a/b ü"), make.event(("t", 2, 1), device="a/b ü")],
        tokens(changed),
        (),
        changed,
    ).pushes
    assert pushes[0].body == (
        b'{"type":"data","message":[{"template":"tpl","date":"2026-05-04T10:00:00.000+0000",'
        b'"signals":[{"name":"t","value":1}]}]}'
    )
    assert [push.url("https://x/v1/signals/push/") for push in pushes] == [
        "https://x/v1/signals/push/a_b__"
    ] * 2
    assert pushes[0].listed_device() == "tpl-a_b__"


@pytest.mark.fact("Meta has description, type, unit and tags; a type only if a person named it")
def test_meta_has_the_tags_and_the_type_that_people_named(make, settings):
    changed = evolve(settings, tags=("east", "hall"), types={"t": "Temperature"})
    (body,) = bodies([make.event(("t", 1, 0, "°C"), ("u", 2))], changed)
    assert [entry["meta"] for entry in body["signals"]] == [
        {"description": "t", "tags": ["east", "hall"], "unit": "°C", "type": "Temperature"},
        {"description": "u", "tags": ["east", "hall"]},
    ]


@pytest.mark.fact("Z can be chosen instead of +0000")
def test_dates_may_end_in_z(make, settings):
    (body,) = bodies([make.event(("t", 1))], evolve(settings, dates="Z"))
    assert body["date"] == "2026-05-04T10:00:00.000Z"


def test_values_that_are_not_sent_or_not_exact_are_counted(make, settings):
    event = make.event(("door", "open"), ("t", 2**53), ("big", 2**53 + 1), ("door", "shut"))
    decided = plan([event], tokens(settings), (), settings)
    assert (decided.left_out, decided.inexact) == ({"door": 2}, {"big": 1})


def test_devices_in_no_map_are_filtered_or_dead_letters_as_asked(make, settings):
    event = make.event(("t", 1))
    skipped = evolve(settings, unmapped="skip")
    assert plan([event], tokens(skipped), (), skipped).filtered == {0}
    dead = evolve(settings, unmapped="dead")
    decided = plan([event], tokens(dead), (), dead)
    assert (decided.filtered, decided.dead.keys()) == (frozenset(), {0})


def test_a_learned_size_refuses_no_single_value(make, settings):
    events = [make.event(("t", number, number)) for number in range(8)]
    decided = plan(events, tokens(settings), {("d1", "t")}, settings, fitting=10)
    assert [len(push.points) for push in decided.pushes] == [1] * 8
    assert not decided.dead


@pytest.mark.fact("Values per request, in every form all limits hold")
@pytest.mark.parametrize("form", ["array", "history", "template"])
def test_every_form_sends_every_point_once_within_its_limits(make, settings, form):
    changed = evolve(
        settings,
        form=form,
        template="tpl" if form == "template" else "",
        most_points=7,
        most_signals=3,
    )
    events = [make.event(*((f"s{signal}", time, time) for signal in range(5))) for time in range(6)]
    pushes = plan(events, tokens(changed), (), changed).pushes
    got = [(point.signal, point.date) for push in pushes for point in push.points]
    assert len(got) == len(set(got)) == 30
    assert {push.form for push in pushes} == {form}
    assert max(len(push.points) for push in pushes) <= (7 if form == "history" else 3)


def test_nothing_to_send_in_history_form_makes_no_push(make, settings):
    changed = evolve(settings, form="history")
    assert plan([make.event(("door", "open"))], tokens(changed), (), changed).pushes == ()


def test_labels_and_kinds_of_a_device_may_give_different_tokens(make, settings):
    templates = evolve(settings, device="{kind}", signal="{signal}_{label.room}")
    rooms = [make.event(("t", room), labels={"room": str(room)}) for room in (1, 2)]
    kinds = [make.event(("t", kind), kind=f"k{kind}") for kind in (1, 2)]
    assert [point["name"] for body in bodies(rooms, templates) for point in body["signals"]] == [
        "t_1",
        "t_2",
    ]
    assert [body["device"] for body in bodies(kinds, evolve(settings, device="{kind}"))] == [
        "k1",
        "k2",
    ]
