"""Foreign text, made fit for a log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import BoundedDict, printable, redacted, shortened


@given(st.text())
def test_a_printable_text_has_no_control_characters(text):
    assert printable(text).isprintable()


@given(st.text(), st.integers(1, 50))
def test_a_shortened_text_is_one_short_line(text, most):
    line = shortened(text, most)
    assert line.isprintable()
    assert len(line) <= most + 3


@pytest.mark.parametrize(
    ("text", "line"),
    [(" a\n\tb ", "a b"), ("abcdef", "abcd..."), ("abcd", "abcd"), ("\x1b[2J", "[2J")],
)
def test_a_text_is_cut_where_it_is_too_long(text, line):
    assert shortened(text, 4) == line


def test_secrets_are_hidden_before_a_text_is_cut():
    assert redacted("abc hunter2", ["hunter2", "", "hunter"], 6) == "abc **..."


def test_a_bounded_dict_forgets_what_was_set_longest_ago():
    memory: BoundedDict[str, int] = BoundedDict(2)
    memory["a"] = 1
    memory["b"] = 2
    memory["a"] = 3
    memory["c"] = 4
    assert dict(memory) == {"a": 3, "c": 4}
