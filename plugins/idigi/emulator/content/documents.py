"""The events of a block as JSON, as XML, or as a template prints them.

``Msg`` is an object for one event and a list for several (recorded traffic). In XML the
envelope is attributes and the entity is elements named like the JSON keys (assumed: no
recorded sample exists).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias
from xml.etree import ElementTree as Xml

from ..options import Options
from .topics import operation_of

Message: TypeAlias = Mapping[str, Any]
"""A ``Msg`` as JSON says it."""
Root: TypeAlias = Literal["Document", "Msg", "event"]
"""What stands at the root: the usual, ``Msg`` by itself, or (JSON only) the event
itself.
"""

ATTRIBUTES = ("topic", "operation", "timestamp", "group", "replay")
NO_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # XML cannot say them


def json_text(value: Any) -> str:
    """Write JSON as the service does: without blanks, not escaped to ASCII."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def json_document(
    messages: Sequence[Any], root: Root = "Document", *, escaped_slashes: bool = False
) -> bytes:
    """Write the document of a block."""
    inner = messages[0] if len(messages) == 1 else list(messages)
    document = (
        inner
        if root == "event"
        else {"Msg": inner}
        if root == "Msg"
        else {"Document": {"Msg": inner}}
    )
    text = json_text(document)
    return (text.replace("/", "\\/") if escaped_slashes else text).encode()


def xml_document(
    messages: Sequence[Message], root: Root = "Document", *, encoding: str = ""
) -> bytes:
    """Write the document of a block. ``Msg`` can be the root of a single event only."""
    elements = [_xml_message(message) for message in messages]
    if root == "Document" or len(elements) != 1:
        document = Xml.Element("Document")
        document.extend(elements)
    else:
        (document,) = elements
    declaration = f'<?xml version="1.0" encoding="{encoding}"?>' if encoding else ""
    text = declaration + Xml.tostring(document, encoding="unicode")
    return text.encode(encoding or "utf-8", "xmlcharrefreplace")


def _xml_message(message: Message) -> Xml.Element:
    element = Xml.Element("Msg")
    for name in ATTRIBUTES:
        if name in message:
            word = operation_of(message[name]) if name == "operation" else message[name]
            element.set(name, _xml_text(word))
    for name, value in message.items():
        if name not in ATTRIBUTES:
            _append_xml(element, name, value)
    return element


def _append_xml(parent: Xml.Element, name: str, value: Any) -> None:
    """Append a value: an object has elements, a list repeats its own."""
    if isinstance(value, list):
        for item in value:
            _append_xml(parent, name, item)
        return
    element = Xml.SubElement(parent, name)
    if isinstance(value, Mapping):
        for key, item in value.items():
            _append_xml(element, key, item)
    else:
        element.text = _xml_text(value)


def _xml_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return NO_CHARACTERS.sub("", str(value))


def templated_document(messages: Sequence[Message], template: str) -> bytes:
    """Print what a template of the vendor's demos prints: a JSON list of the entities,
    see :attr:`Options.template`.
    """
    if template not in ("list", "broken"):
        return template.encode()
    entities = [
        json_text(value)
        for message in messages
        for key, value in message.items()
        if key not in ATTRIBUTES
    ]
    items = "".join(f"{entity}," for entity in entities)
    return f"[{items}]".encode() if template == "broken" else f'[{items}{{"end":1}}]'.encode()


def block_document(
    messages: Sequence[Any], options: Options, *, kind: Literal["json", "xml", "template"]
) -> bytes:
    """Write the document of a block for a monitor of this kind."""
    root: Root = "Msg" if options.single_root and len(messages) == 1 else "Document"
    if kind == "template":
        return templated_document(messages, options.template)
    if kind == "xml":
        return xml_document(messages, root, encoding=options.xml_encoding)
    return json_document(messages, root, escaped_slashes=options.escaped_slashes)
