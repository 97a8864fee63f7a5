"""Device and signal tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Reading
from bridge.testing.fakes import START, FakeState
from bridge_plugins.databoom.ledger import Ledger
from bridge_plugins.databoom.tokens import (
    DEVICE_FIELDS,
    SIGNAL_FIELDS,
    Target,
    Template,
    Tokens,
    UndeliverableError,
    UnmappedError,
    is_token,
    token_of,
)


def tokens_of(device="{device}", signal="{signal}", devices=None, signals=None, **more) -> Tokens:
    claims = Ledger(FakeState(), "tokens", edition="", pages=2)
    given = {"targets": {}, "unmapped": "send", "reserved": "", "claims": claims} | more
    return Tokens(
        device=Template.parse(device, DEVICE_FIELDS),
        signal=Template.parse(signal, SIGNAL_FIELDS),
        devices=devices or {},
        signals=signals or {},
        **given,
    )


def taken(tokens: Tokens, stored) -> tuple[str, str]:
    reading = stored.event.readings[0] if stored.event.readings else Reading("t", 1, START)
    return tokens.claim(stored.source, stored.event, reading)


def device_of(tokens: Tokens, stored) -> str:
    return taken(tokens, stored)[0]


def signal_of(tokens: Tokens, stored) -> str:
    return taken(tokens, stored)[1]


def test_a_template_is_filled_with_all_its_fields(make):
    tokens = tokens_of("{source}-{device}", "{label.room}_{kind}_{signal}")
    stored = make.event(
        ("t", 1), source="towers", device="d7", kind="value", labels={"room": "hall"}
    )
    assert device_of(tokens, stored) == "towers-d7"
    assert signal_of(tokens, stored) == "hall_value_t"


def test_a_table_entry_replaces_the_template(make):
    tokens = tokens_of(
        "{source}-{device}", "{kind}-{signal}", {"d1": "0f6hbfnqz6"}, {"a/b": "level"}
    )
    stored = make.event(("a/b", 1))
    assert device_of(tokens, stored) == "0f6hbfnqz6"
    assert signal_of(tokens, stored) == "level"


def test_two_devices_of_the_table_may_share_a_token(make):
    tokens = tokens_of(devices={"old": "tok", "new": "tok"})
    assert [
        device_of(tokens, make.event(("t", 1), device=device)) for device in ("old", "new")
    ] == [
        "tok",
        "tok",
    ]


def test_a_missing_label_is_told_with_device_and_label(make):
    tokens = tokens_of("{label.room}")
    with pytest.raises(UndeliverableError, match=r"device 'd1' has no label 'room'"):
        device_of(tokens, make.event(("t", 1)))


def test_an_empty_token_is_refused(make):
    tokens = tokens_of()
    with pytest.raises(UndeliverableError, match="table of devices"):
        device_of(tokens, make.event(("t", 1), device=""))


@pytest.mark.fact("The second of two sources whose tokens collide is refused")
def test_the_second_of_two_devices_with_one_token_is_refused(make):
    tokens = tokens_of()
    assert device_of(tokens, make.event(device="a:b")) == "a_b"
    with pytest.raises(UndeliverableError, match=r"'a b' would become the token 'a_b'"):
        device_of(tokens, make.event(device="a b"))
    assert device_of(tokens, make.event(device="a:b")) == "a_b"


def test_equal_signals_of_two_devices_are_no_collision(make):
    tokens = tokens_of()
    assert signal_of(tokens, make.event(("a.b", 1), device="d1")) == "a_b"
    assert signal_of(tokens, make.event(("a/b", 1), device="d2")) == "a_b"


async def test_two_devices_with_one_token_differ_after_a_restart(make):
    state = FakeState()
    claims = Ledger(state, "tokens", edition="a", pages=2)
    device_of(tokens_of(claims=claims), make.event(device="a:b"))
    await claims.save()
    again = tokens_of(claims=Ledger(state, "tokens", edition="a", pages=2))
    with pytest.raises(UndeliverableError, match="stands for 'a:b' already"):
        device_of(again, make.event(device="a b"))
    changed = tokens_of(claims=Ledger(state, "tokens", edition="changed maps", pages=2))
    assert device_of(changed, make.event(device="a b")) == "a_b"


def test_looking_at_a_token_does_not_claim_it(make):
    tokens = tokens_of()
    stored = make.event(("t", 1), device="a:b")
    found = tokens.find("s", stored.event, stored.event.readings[0])
    assert (found.device, found.signal, found.how) == ("a_b", "t", "template")
    assert device_of(tokens, make.event(device="a b")) == "a_b"


def test_a_row_for_a_signal_goes_before_everything_else(make):
    targets = {("d1", ""): Target("whole", ""), ("d1", "t"): Target("other", "outdoor")}
    tokens = tokens_of(targets=targets, signals={"t": "table", "u": "level"})
    assert taken(tokens, make.event(("t", 1))) == ("other", "outdoor")
    assert taken(tokens, make.event(("u", 1))) == ("whole", "level")
    assert taken(tokens, make.event(("v", 1))) == ("whole", "v")


def test_a_device_in_no_map_is_sent_left_out_or_dead(make):
    maps = {"devices": {"d1": "one"}, "targets": {("d2", ""): Target("two", "")}}
    for unmapped in ("send", "dead", "skip"):
        tokens = tokens_of(unmapped=unmapped, **maps)
        assert [device_of(tokens, make.event(device=device)) for device in ("d1", "d2")] == [
            "one",
            "two",
        ]
    assert device_of(tokens_of(unmapped="send", **maps), make.event(device="d3")) == "d3"
    with pytest.raises(UndeliverableError, match="device 'd3' is in no map"):
        device_of(tokens_of(unmapped="dead", **maps), make.event(device="d3"))
    with pytest.raises(UnmappedError):
        device_of(tokens_of(unmapped="skip", **maps), make.event(device="d3"))


def test_no_reading_gets_the_signal_of_the_heartbeat(make):
    with pytest.raises(UndeliverableError, match="signal of the heartbeat"):
        taken(tokens_of(reserved="t"), make.event(("t", 1)))


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


@pytest.mark.fact(
    "Tokens are letters, digits, \\_ and - (assumed), case kept; others are replaced, never . or $",
)
@given(st.text(min_size=1))
def test_every_text_becomes_a_token(text):
    assert is_token(token_of(text))


@given(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))
def test_a_token_stays_as_it_is(token):
    assert token_of(token) == token


@pytest.mark.fact("Tokens have at most 64 characters (assumed)")
def test_long_texts_that_differ_at_the_end_get_different_tokens():
    assert token_of("x" * 64) == "x" * 64
    assert token_of("x" * 65) != token_of("x" * 66)
    assert len(token_of("x" * 65)) == 64
