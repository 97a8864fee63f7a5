"""XML from outside, read without its traps: no DOCTYPE, so no entities of its own and nothing fetched."""

from __future__ import annotations

from typing import NoReturn
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser


class _NoDoctype(TreeBuilder):
    def doctype(self, _name: str, _public: str | None, _system: str | None) -> NoReturn:
        # Called before the declarations inside are read, so nothing can be expanded.
        raise ValueError("a DOCTYPE is not accepted")


def parse_xml(document: bytes) -> Element:
    """Read a document and give its root. The encoding is the one that it declares, else UTF-8.

    :raises ValueError: if it is not XML, or has a DOCTYPE.
    """
    parser = XMLParser(target=_NoDoctype())  # noqa: S314  # the trap it warns of is closed above
    try:
        parser.feed(document)
        root: Element = parser.close()
    except (ParseError, LookupError) as exc:
        raise ValueError(f"not XML: {exc}") from exc
    return root
