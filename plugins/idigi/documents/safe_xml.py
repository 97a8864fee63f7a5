"""XML from outside, read without its traps.

No DOCTYPE, so that there are no entities of its own and nothing is fetched; no deep
nesting; no encodings that only Python has.
"""

from __future__ import annotations

import codecs
import re
from typing import NoReturn
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

MAX_NESTED = 100  # elements; as an object each may need two levels, and an event can store 200

_DECLARED = re.compile(
    rb"""\s*<\?xml\s[^>]*?\bencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,39})["']"""
)
_NO_ENCODINGS = frozenset(
    {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"}
)  # Python's own


class _Careful(TreeBuilder):
    def __init__(self) -> None:
        super().__init__()
        self._level = 0

    def doctype(self, _name: str, _public: str | None, _system: str | None) -> NoReturn:
        # Called before the declarations inside are read, so nothing can be expanded.
        raise ValueError("a DOCTYPE is not accepted")

    def start(self, tag: str, attrs: dict[str, str]) -> Element:
        self._level += 1
        if self._level > MAX_NESTED:
            raise ValueError(f"nested deeper than {MAX_NESTED} elements")
        return super().start(tag, attrs)

    def end(self, tag: str) -> Element:
        self._level -= 1
        return super().end(tag)


def parse_xml(document: bytes) -> Element:
    """Read a document and give its root. The encoding is the one that it declares, else
    UTF-8.

    :raises ValueError: if it is not XML, has a DOCTYPE, or is nested too deep.
    """
    try:
        encoding = _declared(document)
        try:
            return _parse(document)
        except ValueError as exc:
            if not encoding or "multi-byte" not in str(exc):
                raise
            # The parser itself knows UTF-8, UTF-16 and the encodings of one byte for
            # each character.
            return _parse(document.decode(encoding))
    except (ParseError, LookupError) as exc:
        raise ValueError(f"not XML: {exc}") from exc


def _declared(document: bytes) -> str:
    """Return the encoding that a document declares; empty if it declares none that can
    be seen.

    :raises LookupError: if nobody knows it.
    """
    found = _DECLARED.match(document)
    if found is None:
        return ""
    encoding = found[1].decode("ascii")
    if codecs.lookup(encoding).name in _NO_ENCODINGS:
        raise LookupError(f"unknown encoding: {encoding}")
    return encoding


def _parse(document: bytes | str) -> Element:
    parser = XMLParser(target=_Careful())  # noqa: S314  # the traps it warns of are closed above
    parser.feed(document)
    root: Element = parser.close()
    return root
