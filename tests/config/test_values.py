"""Texts to values and back."""

from __future__ import annotations

import math
from enum import Enum, IntEnum, StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Duration, NetworkAddress, Secret, Size, Url
from bridge.config.references import BadReferenceError, References
from bridge.config.values import Reader, UnfitTextError, split_list, text_of, words


class Mode(StrEnum):
    ARRAY = "array"
    HISTORY = "old-form"


class Number(IntEnum):
    ONE = 1


class Colour(Enum):
    RED = (255, 0, 0)


READER = Reader(References({"LIST": "a, b", "SECRET": "one, two"}, None))


def read(text, wanted):
    return READER.read(text, wanted)[0]


@pytest.mark.parametrize(
    ("text", "wanted", "value"),
    [
        ("a # b", str, "a # b"),
        ("", str, ""),
        ("-12", int, -12),
        ("1e3", float, 1000.0),
        (".5", float, 0.5),
        ("YES", bool, True),
        ("off", bool, False),
        ("1h30m", Duration, Duration(5400)),
        ("10MiB", Size, Size(10 << 20)),
        ("https://a/b?c", Url, Url("https://a/b?c")),
        ("s3cret", Secret, Secret("s3cret")),
        ("/etc/a b", Path, Path("/etc/a b")),
        ("[::]:80", NetworkAddress, NetworkAddress("::", 80)),
        ("10.0.0.0/8", IPv4Network, IPv4Network("10.0.0.0/8")),
        ("2001:db8::/32", IPv4Network | IPv6Network, IPv6Network("2001:db8::/32")),
        ("10.1.2.3", IPv4Network | IPv6Network, IPv4Network("10.1.2.3/32")),
        ("b", Literal["a", "b"], "b"),
        ("2", Literal[1, 2], 2),
        ("old-form", Mode, Mode.HISTORY),
        ("one", Number, Number.ONE),
        ("red", Colour, Colour.RED),
        ("", int | None, None),
        ("", Optional[Url], None),  # noqa: UP045  # as some still write it
        ("5", int | None, 5),
        ("a, b", tuple[str, ...], ("a", "b")),
        ("a,\nb\nc,", tuple[str, ...], ("a", "b", "c")),
        ("[g=a,b]x, y", tuple[str, ...], ("[g=a,b]x", "y")),
        ("", tuple[str, ...], ()),
        ("", tuple[int, ...] | None, None),
        ("1, 2", tuple[int, ...] | None, (1, 2)),
        ("${env:LIST:-x, y}, c", tuple[str, ...], ("a, b", "c")),
        ("${env:SECRET}", tuple[Secret, ...], (Secret("one, two"),)),
    ],
)
def test_a_text_becomes_a_value_of_its_type(text, wanted, value):
    got = read(text, wanted)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("text", "wanted", "why"),
    [
        ("1_000", int, "expected a whole number, got '1_000'"),
        ("٣", int, "expected a whole number, got '٣'"),
        ("9" * 19, int, f"expected a whole number, got '{'9' * 19}'"),
        ("inf", float, "expected a number, got 'inf'"),
        ("1e999", float, "expected a number, got '1e999'"),
        ("1", bool, "expected yes or no, got '1'"),
        ("", Path, "expected a path, got ''"),
        ("10.0.0.1/8", IPv4Network, "expected a network such as 10.0.0.0/8, got '10.0.0.1/8'"),
        ("1, x", tuple[int, ...], "expected a whole number, got 'x'"),
        ("ARRAY", Mode, "expected array or old-form, got 'ARRAY'"),
        ("a]", tuple[str, ...], "expected a list in which each '[' has its ']'"),
        ("user:hunter2@a", Url, "got one with a password in it (not shown)"),
        ("y" * 100, bool, f"expected yes or no, got '{'y' * 80}...'"),
    ],
)
def test_a_text_that_does_not_fit_is_refused_with_what_was_expected(text, wanted, why):
    with pytest.raises(UnfitTextError) as caught:
        read(text, wanted)
    assert why in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (tuple[Path, ...], "a list, with commas or in lines, each a path"),
        (Duration | None, "a duration with a unit, such as 500ms, 30s, 5m, 1h30m"),
        (Literal["a", "b", "c"], "a, b or c"),
        (bytes, "a value of type bytes"),
    ],
)
def test_a_type_is_said_in_words(wanted, said):
    assert words(wanted) == said


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"])).map(str.strip)
items = texts.filter(lambda text: text and not set(text) & set(",[]{}"))
SANE = {
    str: texts,
    int: st.integers(-(10**17), 10**17),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    Duration: st.integers(0, 10**11).map(lambda millis: Duration(millis / 1000)),
    Size: st.integers(0, 10**14).map(Size),
    Url: st.sampled_from(["https://a", "http://a.example:8080/x?y=$z"]).map(Url),
    Path: texts.filter(bool).map(Path),
    NetworkAddress: st.one_of(
        st.builds(
            NetworkAddress,
            st.sampled_from(["a.example", "::1", "127.0.0.1"]),
            st.integers(0, 65535),
        ),
        st.just(NetworkAddress("", 0, "webhook")),
    ),
    IPv4Network: st.ip_addresses(v=4).map(IPv4Network),
    IPv4Network | IPv6Network: st.ip_addresses(v=6).map(IPv6Network),
    Mode: st.sampled_from(Mode),
    Colour: st.sampled_from(Colour),
    Literal["a", "b"]: st.sampled_from(["a", "b"]),
    int | None: st.none() | st.integers(0, 9),
    tuple[str, ...]: st.lists(items).map(tuple),
    tuple[Size, ...]: st.lists(st.integers(0, 10**14).map(Size)).map(tuple),
}


@given(st.sampled_from(list(SANE)).flatmap(lambda wanted: st.tuples(st.just(wanted), SANE[wanted])))
def test_a_value_is_read_back_from_its_text(pair):
    wanted, value = pair
    back = read(text_of(value), wanted)
    if wanted in (float, Duration):
        assert math.isclose(back, value, rel_tol=1e-12)
    else:
        assert back == value
    assert text_of(back) == text_of(value)


def test_a_duration_finer_than_milliseconds_is_written_in_full():
    assert text_of(Duration.parse("0.5ms")) == "0.0005s"
    assert read("0.0005s", Duration) == Duration.parse("0.5ms")


def test_a_secret_is_written_as_asterisks():
    assert text_of((Secret("one"), Secret("two"))) == "********, ********"


@given(st.sampled_from([*SANE, Secret, tuple[Secret, ...]]), st.text())
def test_any_text_is_read_or_refused(wanted, text):
    try:
        read(text, wanted)
    except UnfitTextError:
        assert wanted is not str or "\n" in text
    except BadReferenceError:
        assert "${" in text


@given(st.text("ab,[]\n ${}"))
def test_a_list_loses_nothing_but_blanks_and_separators(text):
    try:
        parts = split_list(text)
    except UnfitTextError:
        return
    kept = "".join(parts)
    assert (
        sorted(kept.replace(",", "").replace(" ", ""))
        == sorted(text.replace(",", "").replace(" ", "").replace("\n", ""))
        or "${" in text
    )
