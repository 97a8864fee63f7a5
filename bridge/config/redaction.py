"""What no message may show: the secrets of a configuration, and whatever a reference
brought in.

A plugin hides its own secrets in what it says. This is the net below: everything that
leaves the bridge as a sentence, in the log, on the page, in a dead letter or on the
terminal, passes through one :class:`Redaction`, which writes where a text came from in
place of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, urlsplit

from attrs import field, frozen

HIDDEN = "********"
MIN_LENGTH = 4  # characters; a shorter text is in many a sentence by chance
MIN_LENGTH_WITHIN = 8  # characters of a text that is also looked for inside of longer words


@frozen
class Confidential:
    """A text that must not be shown."""

    text: str = field(repr=False)
    instead: str = HIDDEN
    """What is written in its place."""


@frozen
class Redaction:
    """Replaces confidential texts in a sentence."""

    texts: tuple[Confidential, ...] = ()
    _instead: dict[str, str] = field(init=False, repr=False, eq=False)
    _pattern: re.Pattern[str] | None = field(init=False, repr=False, eq=False)

    @_instead.default
    def _all_forms(self) -> dict[str, str]:
        return {form: each.instead for each in reversed(self.texts) for form in _forms(each.text)}

    @_pattern.default
    def _any_form(self) -> re.Pattern[str] | None:
        # The longest first: one text may be the beginning of another.
        forms = sorted(self._instead, key=len, reverse=True)
        return re.compile("|".join(map(_matching, forms))) if forms else None

    def __call__(self, sentence: str) -> str:
        """Return the sentence without what must not be shown."""
        if self._pattern is None:
            return sentence
        return self._pattern.sub(lambda match: self._instead[match[0]], sentence)


def _forms(text: str) -> Iterator[str]:
    """Yield how a text may stand in a sentence: whole or in lines, plain, escaped, and
    in pieces if it is a URL.
    """
    for line in {text, *text.splitlines(), *_pieces(text)}:
        for form in {line, repr(line)[1:-1], quote(line, safe=""), quote(line)}:
            if len(form.strip()) >= MIN_LENGTH:
                yield form


def _pieces(text: str) -> Iterable[str]:
    try:
        parts = urlsplit(text)
        return (parts.netloc, parts.hostname or "", parts.path) if parts.netloc else ()
    except ValueError:
        return ()


def _matching(form: str) -> str:
    pattern = re.escape(form)
    return pattern if len(form) >= MIN_LENGTH_WITHIN else rf"(?<![^\W_]){pattern}(?![^\W_])"
