"""Emulator: ``/ws/Monitor``, the old API. Bodies are XML; answers are XML or JSON, in
which every value is a text.

Written from the vendor documentation and recorded traffic. Assumed: the XML of a list,
the limit's wording, and that a PUT closes the session, merges elements and clears the
record. This emulator's choice: unknown elements and values that are not allowed are
refused with the wording of a bad topic.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs
from xml.etree import ElementTree as Xml

from bridge.api import Request, Response

from ..account import Account, Monitor
from ..content.topics import is_known, topics_of
from ..faults import Faults
from .conditions import OLD, parse_condition

PATH = "/ws/Monitor"
JSON_TYPE = (("Content-Type", "application/json"),)
XML_TYPE = (("Content-Type", "application/xml"),)

_NUMBER = r"\d{1,9}"
ALLOWED = {
    "monTopic": ".+",
    "monTransportType": "tcp|http|polling",
    "monFormatType": "xml|json",
    "monBatchSize": r"[1-9]\d{0,8}",
    "monBatchDuration": _NUMBER,
    "monCompression": "none|zlib|gzip",
    "monAckOption": "off|explicit",
    "monAutoReplayOnConnect": "true|false",
    "monDescription": ".*",
    "monSchemaType": "handlebars",
    "monSchemaData": ".*",
    "monTransportUrl": ".*",
    "monTransportToken": ".*",
    "monTransportMethod": ".*",
    "monTransportHeaders": ".*",
    "monConnectTimeout": _NUMBER,
    "monResponseTimeout": _NUMBER,
}
"""What an element may say."""
READ_ONLY = frozenset(
    {"monId", "cstId", "monStatus", "monLastConnect", "monLastSent", "monLastSentUuid"}
)


class InvalidRequestError(Exception):
    """A request that the service refuses; the text says why."""


async def answer_old_api(account: Account, faults: Faults, request: Request) -> Response:
    """Answer one call."""
    name = request.path.removeprefix(PATH).strip("/")
    as_json = (
        name.endswith(".json") or "application/json" in request.headers.get("accept", ("",))[0]
    )
    name = name.removesuffix(".json")
    try:
        match request.method, bool(name):
            case "POST", False:
                return _create(account, faults, request.body)
            case "GET", False:
                return _list(account, request.query, as_json=as_json)
            case "GET", True:
                return _read(account, faults, name, as_json=as_json)
            case "PUT", _:
                return await _update(account, name, request.body)
            case "DELETE", True:
                return await _delete(account, name)
            case _:
                return Response(405, b"")
    except InvalidRequestError as exc:
        return error(f"{request.method} Monitor error. {exc}")


def _create(account: Account, faults: Faults, body: bytes) -> Response:
    elements = _elements(body)
    changes = checked(elements)
    if "monTopic" not in changes:
        raise InvalidRequestError("Invalid request. Invalid monTopic specified")
    monitor = create(account, faults, changes)
    location = f"Monitor/{monitor.id}"
    return Response(
        201, _result([_leaf("location", location)]), (("Location", location), *XML_TYPE)
    )


def create(account: Account, faults: Faults, elements: Mapping[str, str]) -> Monitor:
    """Add a monitor, if the account may have one more."""
    if len(account.monitors) >= faults.monitor_limit:
        raise InvalidRequestError(
            "Invalid request. The limit of monitors of this account is reached."
        )
    return account.create(elements)


def _elements(body: bytes) -> dict[str, str]:
    try:
        root = Xml.fromstring(body)  # noqa: S314  # the caller is the bridge under test
    except Xml.ParseError as exc:
        raise InvalidRequestError("Invalid request.") from exc
    if root.tag != "Monitor":
        raise InvalidRequestError("Invalid request.")
    return {element.tag: element.text or "" for element in root}


def checked(elements: Mapping[str, str]) -> dict[str, str]:
    """Give the elements that a client may set, as they read back.

    :raises InvalidRequestError: for a bad topic or value.
    """
    changes = {name: text for name, text in elements.items() if name not in READ_ONLY}
    for name, text in changes.items():
        if re.fullmatch(ALLOWED.get(name, "(?!)"), text, re.DOTALL) is None:
            raise InvalidRequestError(f"Invalid request. Invalid {name} specified")
    if not all(is_known(topic) for topic in topics_of(changes.get("monTopic", "DataPoint"))):
        raise InvalidRequestError("Invalid request. Invalid monTopic specified")
    if changes.get("monCompression") == "gzip":
        changes["monCompression"] = "zlib"  # recorded traffic: as the service reads it back
    return changes


def _list(account: Account, query: str, *, as_json: bool) -> Response:
    parameters = {name: values[0] for name, values in parse_qs(query).items()}
    try:
        holds = parse_condition(parameters.get("condition", ""), OLD)
        start, size = int(parameters.get("start", "0")), int(parameters.get("size", "1000"))
    except ValueError as exc:
        raise InvalidRequestError(f"Invalid request. {exc}") from exc
    if start < 0 or size < 0:
        raise InvalidRequestError("Invalid request. start and size cannot be negative")
    rows = [item for item in (monitor.item for monitor in account.monitors.values()) if holds(item)]
    return _rows(rows, start, size, account.options.page_limit, as_json=as_json)


def _read(account: Account, faults: Faults, name: str, *, as_json: bool) -> Response:
    monitor = find(account, name)
    if monitor is not None:
        return _rows([monitor.item], 0, 1000, 1000, as_json=as_json)
    text = f"GET Monitor error. Error reading Monitor entity id='{name}'"
    status = faults.unknown_monitor_status
    if as_json:
        return Response(status, json.dumps({"error": [text]}).encode(), JSON_TYPE)
    return Response(status, _result([_leaf("error", text)]), XML_TYPE)


async def _update(account: Account, name: str, body: bytes) -> Response:
    elements = _elements(body)
    name = name or elements.get("monId", "")
    monitor = find(account, name)
    if monitor is None:
        raise InvalidRequestError(f"Error reading Monitor entity id='{name}'")
    await monitor.reset(checked(elements))
    return Response(200, b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<result/>', XML_TYPE)


async def _delete(account: Account, name: str) -> Response:
    if not (name.isascii() and name.isdigit()):
        raise InvalidRequestError(f'Invalid request. For input string: "{name}"')
    if not await delete(account, name):
        raise InvalidRequestError(f"Error reading Monitor entity id='{name}'")
    return Response(200, _result([_leaf("message", "1 items deleted")]), XML_TYPE)


def find(account: Account, name: str) -> Monitor | None:
    """Look a monitor up by the text of its id."""
    return account.monitors.get(int(name)) if name.isascii() and name.isdigit() else None


async def delete(account: Account, name: str) -> bool:
    """Delete a monitor; tells whether it was there."""
    monitor = find(account, name)
    if monitor is None:
        return False
    del account.monitors[monitor.id]
    await monitor.delete()
    return True


def _rows(
    rows: list[dict[str, str]], start: int, size: int, most: int, *, as_json: bool
) -> Response:
    page = rows[start : start + min(size, most)]
    counters = {
        "resultTotalRows": str(len(rows)),
        "requestedStartRow": str(start),
        "resultSize": str(len(page)),
        "requestedSize": str(size),
        "remainingSize": str(max(len(rows) - start - len(page), 0)),
    }
    if as_json:
        result: dict[str, Any] = {**counters, "items": page}
        return Response(200, json.dumps(result).encode(), JSON_TYPE)
    elements = [_leaf(name, text) for name, text in counters.items()]
    for item in page:
        monitor = Xml.Element("Monitor")
        monitor.extend(_leaf(name, text) for name, text in item.items())
        elements.append(monitor)
    return Response(200, _result(elements), XML_TYPE)


def error(text: str) -> Response:
    """Refuse a call with this text."""
    return Response(400, _result([_leaf("error", text)]), XML_TYPE)


def _leaf(name: str, text: str) -> Xml.Element:
    element = Xml.Element(name)
    element.text = text
    return element


def _result(elements: Iterable[Xml.Element]) -> bytes:
    """Write a ``<result>``: in ISO-8859-1 and over several lines, as recorded."""
    result = Xml.Element("result")
    result.extend(elements)
    Xml.indent(result)
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>\n' + Xml.tostring(
        result, encoding="unicode"
    )
    return text.encode("latin-1", "xmlcharrefreplace")
