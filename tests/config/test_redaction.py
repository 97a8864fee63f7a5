"""The net below what plugins hide themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.redaction import Confidential, Redaction


def redact(sentence: str, *texts: str) -> str:
    return Redaction(tuple(Confidential(text, "(from credential c)") for text in texts))(sentence)


@pytest.mark.parametrize(
    ("sentence", "text", "shown"),
    [
        ("refused: hunter2-S3cr3t!", "hunter2-S3cr3t", "refused: (from credential c)!"),
        ("xhunter2-S3cr3tx", "hunter2-S3cr3t", "x(from credential c)x"),
        ("GET /?token=a%2Fb%26c%3Dd", "a/b&c=d", "GET /?token=(from credential c)"),
        (r"bad 'back\\slash'", "back\\slash", "bad '(from credential c)'"),
        (r'{"said": "pa\"ss\u00fc-123"}', 'pa"ssü-123', '{"said": "(from credential c)"}'),
        ("form=a+b+c+d%26", "a b c d&", "form=(from credential c)"),
        ("line: MIIEvQIBADAN", "-----BEGIN KEY-----\nMIIEvQIBADAN\n", "line: (from credential c)"),
        ("db.example:5432 is away", "https://db.example:5432/v1", "(from credential c) is away"),
        (
            "db.example is not known",
            "https://db.example:5432/v1",
            "(from credential c) is not known",
        ),
        ("the latest test", "test", "the latest (from credential c)"),
        ("all at 100", "at", "all at 100"),
        ("http://[::1 is odd", "http://[::1", "(from credential c) is odd"),
    ],
)
def test_a_text_is_replaced_in_every_form(sentence, text, shown):
    assert redact(sentence, text) == shown


def test_the_longest_of_two_texts_is_replaced():
    assert redact("it is secret-long", "secret", "secret-long") == "it is (from credential c)"


def test_without_texts_a_sentence_stays_as_it_is():
    assert Redaction()("all is well") == "all is well"


def test_the_texts_are_not_in_a_repr():
    assert "hunter2" not in repr(Redaction((Confidential("hunter2-S3cr3t"),)))


@given(st.text(min_size=8), st.text(), st.text())
def test_no_long_text_is_left(text, before, after):
    if text.strip() == text and text not in "(from credential c)":
        assert text not in redact(before + text + after, text).replace("(from credential c)", "")
