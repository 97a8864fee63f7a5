"""Documents in JSON: bytes to messages.

Shapes (recorded traffic, except the bare ones, which are assumed because the XML form
of the vendor documentation has them): ``{"Document": {"Msg": ...}}``, ``{"Msg": ...}``,
the message itself, or a list of messages. ``Msg`` is an object for one event and a list
for several. An empty document is a keep-alive.
"""

from __future__ import annotations

import json
import re

from bridge.api import JSON, parse_json

from ..push.protocol import UndecodableError

MIN_INTEGER = -(1 << 63)
GREATEST_INTEGER = (1 << 64) - 1  # what an event can store, from MIN_INTEGER on

_MANY_DIGITS = re.compile(rb"[0-9]{19}")  # a number of fewer digits fits into 64 bits


def read_json(document: bytes) -> list[JSON]:
    """Return the messages of a document, in order.

    :raises UndecodableError: if the document cannot be read.
    """
    try:
        return _messages(parse_exactly(document))
    except ValueError as exc:
        raise UndecodableError(f"the document is not JSON: {exc}") from exc


def parse_exactly(text: bytes) -> JSON:
    """Read a JSON text without rounding an integer. One that needs more than 64 bits
    becomes the text of its digits.

    :raises ValueError: if it is not JSON, or cannot be stored again.
    """
    value = parse_json(text)
    if _MANY_DIGITS.search(text):  # the fast parser makes such a number a float
        value = json.loads(text, parse_int=_integer)
    return value


def _integer(digits: str) -> int | str:
    number = int(digits)  # of a few hundred digits at most: the fast parser has refused the others
    return number if MIN_INTEGER <= number <= GREATEST_INTEGER else digits


def _messages(root: JSON) -> list[JSON]:
    if isinstance(root, list):
        return root
    if isinstance(root, dict):
        if "Document" in root:
            document = root["Document"]
            if document in (None, "", {}):
                return []
            if isinstance(document, dict) and "Msg" in document:
                return _listed(document["Msg"])
        elif "Msg" in root:
            return _listed(root["Msg"])
        elif "topic" in root:
            return [root]
    raise UndecodableError("the document has neither Document nor Msg nor topic at its root")


def _listed(messages: JSON) -> list[JSON]:
    if messages is None:
        return []
    return messages if isinstance(messages, list) else [messages]
