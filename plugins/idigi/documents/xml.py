"""Documents in XML: bytes to the messages that the same events have in JSON.

    <Document>
      <Msg topic="7603/DataPoint/x" operation="update" replay="true">
        <DataPoint><streamId>x</streamId><quality>0</quality></DataPoint>
      </Msg>
    </Document>

    {"topic": "7603/DataPoint/x", "operation": "update", "replay": true,
     "DataPoint": {"streamId": "x", "quality": 0}}

The root is ``Document`` with any number of ``Msg``, or one ``Msg`` (vendor
documentation). The envelope is made of attributes, and every value is text: it becomes
a number or a boolean by the name of its field, never by its look. A text that does not
fit its field stays as it is. An element with children becomes an object, a repeated one
a list. What the vendor never showed is kept as such conversions mostly do: an attribute
of an entity as ``@NAME``, text beside children as ``#text``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from xml.etree.ElementTree import Element  # a tree that was parsed with care

from bridge.api import JSON

from ..push.protocol import UndecodableError
from .data_points import number_of
from .json import GREATEST_INTEGER, MIN_INTEGER
from .safe_xml import parse_xml

Convert: TypeAlias = Callable[[str], JSON]


def read_xml(document: bytes) -> list[JSON]:
    """Return the messages of a document, in order.

    :raises UndecodableError: if the document cannot be read.
    """
    try:
        root = parse_xml(document)
    except ValueError as exc:
        raise UndecodableError(f"the document is not XML that can be read: {exc}") from exc
    name = _name(root)
    if name == "Msg":
        return [_message(root)]
    if name == "Document":
        messages = [child for child in root if _name(child) == "Msg"]
        if messages or not (len(root) or _text(root).strip()):
            return [_message(message) for message in messages]
    raise UndecodableError("the document has neither Document with Msg nor Msg at its root")


def _message(element: Element) -> JSON:
    """Read a ``Msg``.

    One that holds nothing but text is no message, and given as that text.
    """
    if not len(element) and not element.attrib and element.text and element.text.strip():
        return element.text
    message: dict[str, Any] = {}
    for name, text in element.attrib.items():
        message[name] = boolean(text) if name == "replay" else text
    for child in element:
        _add(message, _name(child), _entity(child))
    if (rest := _text(element)).strip():
        message["#text"] = rest
    return message


def _entity(element: Element) -> JSON:
    name = _name(element)
    entity = _value(element, CONVERT.get(name, {}))
    if (
        name == "DataPoint"
        and isinstance(entity, dict)
        and isinstance(data := entity.get("data"), str)
    ):
        number = number_of(data, entity.get("streamType"))
        entity["data"] = data if number is None else number
    return entity


def _value(element: Element, convert: Mapping[str, Convert]) -> JSON:
    """Return text or, for an element with children, an object.

    One frame for each level: the depth is bounded.
    """
    if not len(element) and not element.attrib:
        text = element.text or ""
        known = convert.get(_name(element))
        return text if known is None else known(text)
    fields: dict[str, Any] = {}
    for name, text in element.attrib.items():
        fields[f"@{name}"] = text
    for child in element:
        _add(fields, _name(child), _value(child, convert))
    if (rest := _text(element)).strip():
        fields["#text"] = rest
    return fields


def _add(fields: dict[str, Any], name: str, value: JSON) -> None:
    """Add a field; the second of a name makes a list.

    Values are never lists themselves.
    """
    if name not in fields:
        fields[name] = value
    elif isinstance(fields[name], list):
        fields[name].append(value)
    else:
        fields[name] = [fields[name], value]


def _name(element: Element) -> str:
    """The name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def _text(element: Element) -> str:
    """The text that stands in an element itself, around its children."""
    return (element.text or "") + "".join(child.tail or "" for child in element)


def whole(text: str) -> int | str:
    """Read an integer field."""
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,20}\s*", text):
        return text
    number = int(text)
    return number if MIN_INTEGER <= number <= GREATEST_INTEGER else text


def boolean(text: str) -> bool | str:
    """Read a boolean field."""
    return {"true": True, "false": False}.get(text.strip().lower(), text)


def fractional(text: str) -> float | int | str:
    """Read a field that is a number of any kind."""
    number = number_of(text, "DOUBLE")
    return text if number is None else number


def _fields(convert: Convert, names: str) -> dict[str, Convert]:
    return dict.fromkeys(names.split(), convert)


CONVERT: Mapping[str, Mapping[str, Convert]] = {
    "DataPoint": _fields(whole, "cstId timestamp serverTimestamp quality"),
    "FileData": _fields(whole, "cstId fdSize") | _fields(boolean, "fdArchive"),
    "FileDataCore": _fields(whole, "cstId fdSize") | _fields(boolean, "fdArchive"),
    "DeviceCore": _fields(
        whole,
        "devId devVersion cstId grpId "
        "dpConnectionStatus dpFirmwareLevel dpRestrictedStatus dpCapabilities",
    )
    | _fields(boolean, "devTerminated"),
    "AlarmStatus": _fields(whole, "almId cstId almsStatus"),
    "alert_status": _fields(whole, "id"),
    "device": _fields(whole, "vendor_id alerts") | _fields(fractional, "coordinates"),
    "XbeeCore": _fields(whole, "cstId grpId xpNodeType"),
}
"""The fields of each entity that are not text (vendor documentation; for ``alerts`` and
``coordinates`` assumed).
"""
