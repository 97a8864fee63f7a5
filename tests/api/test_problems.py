"""A problem has a name that stays, and says what it means and how it is mended."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.api import Problem, SinkKind, SourceKind, SpoolKind

MELTED = Problem("acme-melted", meaning="It is too warm.", remedy="Open a window.")


@pytest.mark.parametrize("name", ["", "Acme", "acme_melted", "acme--melted", "-acme", "2-acme"])
def test_a_name_that_no_rule_of_an_alert_could_use_is_refused(name: str):
    with pytest.raises(ValueError, match="expected small letters and digits, words joined by -"):
        Problem(name, meaning="It is too warm.", remedy="Open a window.")


@pytest.mark.parametrize("text", ["", "It is too warm", "It is\ntoo warm.", "It is  too warm."])
def test_texts_are_sentences_in_one_line(text: str):
    with pytest.raises(ValueError, match="the meaning of the problem acme-melted is"):
        Problem("acme-melted", meaning=text, remedy="Open a window.")
    with pytest.raises(ValueError, match="the remedy of the problem acme-melted is"):
        Problem("acme-melted", meaning="It is too warm.", remedy=text)


@pytest.mark.parametrize("kind", [SourceKind, SinkKind, SpoolKind])
def test_the_problems_of_a_kind_are_called_after_it(kind: Any):
    assert kind("acme", object, None, problems=(MELTED,)).problems == (MELTED,)
    for name in ("acm", "melted", "acme-me"):
        with pytest.raises(ValueError, match=f"expected a name that begins with '{name}-'"):
            kind(name, object, None, problems=(MELTED,))
