"""How the service writes answers of REST: errors, and lists as JSON or XML.

In a list every value is a text (recorded traffic). Assumed: the XML of a list.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as Xml

from attrs import frozen

from bridge.api import Request, Response

from ..content.documents import json_text

JSON_TYPE = (("Content-Type", "application/json"),)
XML_TYPE = (("Content-Type", "application/xml"),)


class InvalidRequestError(Exception):
    """A request that the service refuses; the text says why."""


@frozen
class Span:
    """Which rows of a list are asked for."""

    start: int = 0
    size: int = 1000

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Span:
        """Read the query of a call."""
        try:
            span = cls(int(parameters.get("start", "0")), int(parameters.get("size", "1000")))
        except ValueError as exc:
            raise InvalidRequestError(f"Invalid request. {exc}") from exc
        if span.start < 0 or span.size < 0:
            raise InvalidRequestError("Invalid request. start and size cannot be negative")
        return span


def wants_json(request: Request) -> bool:
    """Whether a list is to be JSON: by ``Accept``, or the end of the path."""
    return (
        request.path.endswith(".json")
        or "application/json" in request.headers.get("accept", ("",))[0]
    )


def listed(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    span: Span = Span(),
    page_limit: int = 1000,
    *,
    as_json: bool,
) -> Response:
    """Write a page of a list.

    :param name: of a row in XML, such as ``Monitor``.
    :param rows: all there are.
    """
    page = [_texts(row) for row in rows[span.start :][: min(span.size, page_limit)]]
    counters = {
        "resultTotalRows": str(len(rows)),
        "requestedStartRow": str(span.start),
        "resultSize": str(len(page)),
        "requestedSize": str(span.size),
        "remainingSize": str(max(len(rows) - span.start - len(page), 0)),
    }
    if as_json:
        return Response(200, json.dumps({**counters, "items": page}).encode(), JSON_TYPE)
    elements = [leaf(counter, text) for counter, text in counters.items()]
    return Response(200, result([*elements, *(_element(name, row) for row in page)]), XML_TYPE)


def json_answer(value: Any, status: int = 200) -> Response:
    """Write JSON as the v1 API does."""
    return Response(status, json_text(value).encode(), JSON_TYPE)


def error(text: str) -> Response:
    """Refuse a call of the old API with this text."""
    return Response(400, result([leaf("error", text)]), XML_TYPE)


def leaf(name: str, text: str) -> Xml.Element:
    """An element that holds a text."""
    element = Xml.Element(name)
    element.text = text
    return element


def result(elements: Iterable[Xml.Element]) -> bytes:
    """Write a ``<result>``: in ISO-8859-1 and over several lines, as recorded."""
    root = Xml.Element("result")
    root.extend(elements)
    Xml.indent(root)
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>\n' + Xml.tostring(root, encoding="unicode")
    return text.encode("latin-1", "xmlcharrefreplace")


def _texts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _texts(item) for name, item in value.items()}
    return str(value).lower() if isinstance(value, bool) else str(value)


def _element(name: str, value: Any) -> Xml.Element:
    if not isinstance(value, Mapping):
        return leaf(name, value)
    element = Xml.Element(name)
    element.extend(_element(inner, item) for inner, item in value.items())
    return element
