"""What no message may show: the secrets of a configuration, and whatever a reference
brought in.

A plugin hides its own secrets in what it says. This is the net below: everything that
leaves the bridge as a sentence, in the log, on the page, in a dead letter or on the
terminal, passes through one :class:`Redaction`, which writes where a text came from in
place of the text.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

from attrs import field, frozen

from bridge.api import LOOPBACK, Secret
from bridge.config.diagnostics import listed
from bridge.config.references import MAX_FILE, Reference
from bridge.config.source_files import UnreadableFileError, read_file
from bridge.config.values import has_password, text_of

HIDDEN = "********"
MIN_LENGTH = 4  # characters; a shorter text is in many a sentence by chance
MIN_LENGTH_WITHIN = 8  # characters of a text that is also looked for inside of longer words

_WORD = re.compile(rf"[^\s,;]{{{MIN_LENGTH_WITHIN},}}")
_CUT = re.compile(r"…|\.{3,}")
_ANY_URL = ("https://", "http://")


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
    _short: dict[str, str] = field(init=False, repr=False, eq=False)
    """Forms that are looked for as words, and what is written in their place."""
    _long: dict[str, str] = field(init=False, repr=False, eq=False)
    """Forms that are looked for everywhere and in any case, in lower case: hosts and
    headers are often written so.
    """
    _heads: dict[str, list[str]] = field(init=False, repr=False, eq=False)
    """The long forms, by their first characters."""
    _patterns: tuple[re.Pattern[str], ...] = field(init=False, repr=False, eq=False)

    @_short.default
    def _short_forms(self) -> dict[str, str]:
        return {form: instead for form, instead in self._forms() if len(form) < MIN_LENGTH_WITHIN}

    @_long.default
    def _long_forms(self) -> dict[str, str]:
        return {
            _lower(form): instead
            for form, instead in self._forms()
            if len(form) >= MIN_LENGTH_WITHIN
        }

    def _forms(self) -> Iterator[tuple[str, str]]:
        return (
            (form, each.instead) for each in reversed(self.texts) for form in _all_forms(each.text)
        )

    @_patterns.default
    def _any_form(self) -> tuple[re.Pattern[str], ...]:
        # Two beginnings may overlap, and the first may not be the right one.
        arounds = (
            (self._long, "{}"),
            (self._short, r"(?<![^\W_])(?:{})(?![^\W_])"),
            (self._heads, "(?=({}))"),
        )
        return tuple(_any_of(forms, around) for forms, around in arounds)

    @_heads.default
    def _all_heads(self) -> dict[str, list[str]]:
        heads: dict[str, list[str]] = {}
        for form in self._long:
            if not form.startswith(_ANY_URL):
                heads.setdefault(form[:MIN_LENGTH_WITHIN], []).append(form)
        return heads

    def __call__(self, sentence: str) -> str:
        """Return the sentence without what must not be shown."""
        if not self.texts:
            return sentence
        long, short, _ = self._patterns
        for match in reversed(list(long.finditer(_lower(sentence)))):
            sentence = sentence[: match.start()] + self._long[match[0]] + sentence[match.end() :]
        sentence = short.sub(lambda match: self._short[match[0]], sentence)
        return self._without_beginnings(sentence)

    def _without_beginnings(self, sentence: str) -> str:
        """Replace the beginnings of texts that end where the sentence was cut."""
        low = _lower(sentence)
        for head in reversed(list(self._patterns[2].finditer(low))):
            cut = _CUT.search(low, head.end(1))
            end = len(low) if cut is None else cut.start()
            left = low[head.start() : end]
            if form := next((form for form in self._heads[head[1]] if form.startswith(left)), None):
                sentence = sentence[: head.start()] + self._long[form] + sentence[end:]
        return sentence


def confidential_texts(value: Any, references: tuple[Reference, ...]) -> list[Confidential]:
    """Return what no message may show of a value that was read from a file."""
    brought = [each for each in references if each.content is not None]
    texts = [Confidential(each.content or "", f"({each})") for each in brought]
    if brought:
        # A sentence may quote the value, which is written in another way than the text.
        instead = f"({listed(map(str, brought))})"
        texts += [Confidential(each, instead) for each in _written_anew(value)]
    texts += map(Confidential, _secrets(value, everything=has_password(text_of(value))))
    return texts


def _secrets(value: Any, *, everything: bool) -> Iterator[str]:
    """Yield the texts in a value that must not be shown: secrets, or everything."""
    if isinstance(value, tuple):
        for item in value:
            yield from _secrets(item, everything=everything)
    elif isinstance(value, Secret):
        yield value.reveal()
    elif everything:
        yield str(value)


def _written_anew(value: Any) -> Iterator[str]:
    """Yield how the values that are no texts are written by the bridge."""
    for item in value if isinstance(value, tuple) else (value,):
        if not isinstance(item, str | Secret):
            yield from {text_of(item), str(item)}


def words_behind(value: Any, references: Iterable[Reference]) -> Iterator[Confidential]:
    """Yield the longer words of the credentials that a value is the path of."""
    if not isinstance(value, Path):
        return
    for reference in references:
        if reference.scheme == "credential" and reference.content is None:
            try:
                content, _ = read_file(value, MAX_FILE)
            except UnreadableFileError:
                continue
            for word in set(_WORD.findall(content.decode("utf-8", "replace"))):
                yield Confidential(word, f"({reference})")


def _lower(text: str) -> str:
    """Return a text in lower case, as long as it was: a letter that would become two is
    left.
    """
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(char if len(char.lower()) > 1 else char.lower() for char in text)


def _all_forms(text: str) -> Iterator[str]:
    """Yield how a text may stand in a sentence: whole or in parts, plain, escaped, or
    inside of what is Base64.
    """
    for part in {text, *text.splitlines(), *_pieces(text)}:
        escaped = {quote(part, safe=safe, errors="surrogateescape") for safe in ("", "/")}
        escaped.add(quote_plus(part, errors="surrogateescape"))
        escaped |= {json.dumps(part, ensure_ascii=each)[1:-1] for each in (True, False)}
        for form in {part, repr(part)[1:-1], *escaped}:
            if len(form.strip()) >= MIN_LENGTH:
                yield form
        if len(part) >= MIN_LENGTH_WITHIN:
            yield from _base64(part.encode("utf-8", "surrogateescape"))


def _pieces(text: str) -> Iterator[str]:
    """Yield what stands alone elsewhere: parts of a URL, and what is between the
    {places} of a template.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        return
    if parts.netloc:
        yield from (parts.netloc, parts.path)
        # This machine is in many a sentence, and no secret.
        if parts.hostname and parts.hostname not in LOOPBACK:
            yield parts.hostname
    yield from (piece for piece in re.split(r"\{[^{}]*\}", text) if len(piece) >= MIN_LENGTH_WITHIN)


def _base64(content: bytes) -> Iterator[str]:
    """Yield the characters that a content leads to wherever it begins in what is
    encoded, as ``user:password`` is.
    """
    for before in range(3):
        encoded = b64encode(bytes(before) + content).decode()
        certain = encoded[(0, 2, 3)[before] : (before + len(content)) * 8 // 6]
        if len(certain) >= MIN_LENGTH_WITHIN:
            yield from {certain, certain.replace("+", "-").replace("/", "_")}


def _any_of(forms: Collection[str], around: str) -> re.Pattern[str]:
    """Return a pattern of all forms, which matches nothing if there are none."""
    # One may be the beginning of another.
    longest_first = sorted(forms, key=len, reverse=True)
    return re.compile(around.format("|".join(map(re.escape, longest_first)) or "(?!)"))
