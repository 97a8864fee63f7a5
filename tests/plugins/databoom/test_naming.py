"""Device and signal tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_plugins.databoom import naming
from bridge_plugins.databoom.naming import DEVICE_FIELDS, SIGNAL_FIELDS, Names, Template, Unfit, is_token, token_of


def signal_of(names: Names, stored) -> str:
    return names.signal_of(names.device_of(stored), stored, stored.event.readings[0])


def test_a_template_is_filled_with_source_device_kind_signal_and_label(make):
    names = Names("{source}-{device}", "{label.room}_{kind}_{signal}", {}, {})
    stored = make.event(("t", 1), source="towers", device="d7", kind="value", labels={"room": "hall"})
    assert names.device_of(stored) == "towers-d7"
    assert signal_of(names, stored) == "hall_value_t"


def test_a_table_entry_replaces_the_template(make):
    names = Names("{source}-{device}", "{kind}-{signal}", {"d1": "0f6hbfnqz6"}, {"a/b": "level"})
    stored = make.event(("a/b", 1))
    assert names.device_of(stored) == "0f6hbfnqz6"
    assert signal_of(names, stored) == "level"


def test_two_devices_of_the_table_may_share_a_token(make):
    names = Names("{device}", "{signal}", {"old": "tok", "new": "tok"}, {})
    assert [names.device_of(make.event(("t", 1), device=device)) for device in ("old", "new")] == ["tok", "tok"]


def test_a_missing_label_is_told_with_device_and_label(make):
    names = Names("{label.room}", "{signal}", {}, {})
    with pytest.raises(Unfit, match=r"device 'd1' has no label 'room'"):
        names.device_of(make.event(("t", 1)))


def test_an_empty_token_is_refused(make):
    names = Names("{device}", "{signal}", {}, {})
    with pytest.raises(Unfit, match="table of devices"):
        names.device_of(make.event(("t", 1), device=""))


def test_the_second_of_two_devices_with_one_token_is_refused_and_the_first_goes_on(make):
    names = Names("{device}", "{signal}", {}, {})
    assert names.device_of(make.event(device="a:b")) == "a_b"
    with pytest.raises(Unfit, match=r"'a b' would become the token 'a_b'"):
        names.device_of(make.event(device="a b"))
    assert names.device_of(make.event(device="a:b")) == "a_b"


def test_equal_signals_of_two_devices_are_no_collision(make):
    names = Names("{device}", "{signal}", {}, {})
    assert signal_of(names, make.event(("a.b", 1), device="d1")) == "a_b"
    assert signal_of(names, make.event(("a/b", 1), device="d2")) == "a_b"


def test_the_memory_of_tokens_is_bounded(make, monkeypatch):
    monkeypatch.setattr(naming, "MOST_TOKENS", 2)
    names = Names("{device}", "{signal}", {}, {})
    for device in ("a.b", "c", "d"):
        names.device_of(make.event(device=device))
    assert names.device_of(make.event(device="a/b")) == "a_b"  # 'a.b' was long ago


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not empty"),
        ("{devcie}", r"fields out of \{device\} \{kind\} \{source\} \{label.KEY\}"),
        ("{signal}", "fields out of"),
        ("{label.}", "fields out of"),
        ("{device", "a } for each {"),
        ("device}", "a } for each {"),
        ("{{device}}", "a } for each {"),
    ],
)
def test_a_mistyped_template_is_refused(text, expected):
    with pytest.raises(ValueError, match=expected):
        Template.parse(text, DEVICE_FIELDS)


@given(st.text())
def test_any_text_is_a_template_or_is_refused(text):
    try:
        template = Template.parse(text, SIGNAL_FIELDS)
    except ValueError:
        return
    assert len(template.literals) == len(template.fields) + 1


@given(st.text(min_size=1))
def test_every_text_becomes_a_token(text):
    assert is_token(token_of(text))


@given(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))
def test_a_token_stays_as_it_is(token):
    assert token_of(token) == token


def test_long_texts_that_differ_at_the_end_get_different_tokens():
    assert token_of("x" * 64) == "x" * 64
    assert token_of("x" * 65) != token_of("x" * 66)
    assert len(token_of("x" * 65)) == 64
