"""``/ws/Monitor`` and ``/ws/DeviceCore``, the old API. Bodies are XML; answers are XML
or JSON.

Written from the vendor documentation and recorded traffic. Assumed: the limit's
wording, and that a PUT closes the session, merges elements and clears the record. The
emulator's own choice: unknown elements and values that are not allowed are refused with
the wording of a bad topic.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import parse_qs
from xml.etree import ElementTree as Xml

from bridge.api import Request, Response

from ..account import Account
from ..content.topics import is_known, topics_of
from ..faults import Faults
from ..push.monitor import Monitor
from .answers import (
    JSON_TYPE,
    XML_TYPE,
    InvalidRequestError,
    Span,
    error,
    leaf,
    listed,
    result,
    wants_json,
)
from .conditions import parse_condition

PATH = "/ws/Monitor"
DEVICES = "/ws/DeviceCore"

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


async def answer_old_api(account: Account, faults: Faults, request: Request) -> Response:
    """Answer one call."""
    as_json = wants_json(request)
    name = request.path.removeprefix(PATH).strip("/").removesuffix(".json")
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


def answer_devices(account: Account, request: Request) -> Response:
    """Answer a read of the devices, by which clients test their credentials."""
    if request.method != "GET":
        return Response(405, b"")
    parameters = {name: values[0] for name, values in parse_qs(request.query).items()}
    try:
        span = Span.of(parameters)
    except InvalidRequestError as exc:
        return error(f"GET DeviceCore error. {exc}")
    rows = list(account.devices.values())
    limit = account.options.page_limit
    return listed("DeviceCore", rows, span, limit, as_json=wants_json(request))


def _create(account: Account, faults: Faults, body: bytes) -> Response:
    elements = _elements(body)
    changes = _checked(elements)
    if "monTopic" not in changes:
        raise InvalidRequestError("Invalid request. Invalid monTopic specified")
    if len(account.monitors) >= faults.monitor_limit:
        raise InvalidRequestError(
            "Invalid request. The limit of monitors of this account is reached."
        )
    location = f"Monitor/{account.create(changes).id}"
    return Response(201, result([leaf("location", location)]), (("Location", location), *XML_TYPE))


def _elements(body: bytes) -> dict[str, str]:
    try:
        root = Xml.fromstring(body)  # noqa: S314  # the caller is the bridge under test
    except Xml.ParseError as exc:
        raise InvalidRequestError("Invalid request.") from exc
    if root.tag != "Monitor":
        raise InvalidRequestError("Invalid request.")
    return {element.tag: element.text or "" for element in root}


def _checked(elements: Mapping[str, str]) -> dict[str, str]:
    """Return the elements that a client may set, as they read back.

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
        holds = parse_condition(parameters.get("condition", ""))
    except ValueError as exc:
        raise InvalidRequestError(f"Invalid request. {exc}") from exc
    rows = [item for item in (monitor.item for monitor in account.monitors.values()) if holds(item)]
    limit = account.options.page_limit
    return listed("Monitor", rows, Span.of(parameters), limit, as_json=as_json)


def _read(account: Account, faults: Faults, name: str, *, as_json: bool) -> Response:
    monitor = find(account, name)
    if monitor is not None:
        return listed("Monitor", [monitor.item], as_json=as_json)
    text = f"GET Monitor error. Error reading Monitor entity id='{name}'"
    status = faults.unknown_monitor_status
    if as_json:
        return Response(status, json.dumps({"error": [text]}).encode(), JSON_TYPE)
    return Response(status, result([leaf("error", text)]), XML_TYPE)


async def _update(account: Account, name: str, body: bytes) -> Response:
    elements = _elements(body)
    name = name or elements.get("monId", "")
    monitor = find(account, name)
    if monitor is None:
        raise InvalidRequestError(f"Error reading Monitor entity id='{name}'")
    await monitor.reset(_checked(elements))
    return Response(200, b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<result/>', XML_TYPE)


async def _delete(account: Account, name: str) -> Response:
    if not (name.isascii() and name.isdigit()):
        raise InvalidRequestError(f'Invalid request. For input string: "{name}"')
    monitor = find(account, name)
    if monitor is None:
        raise InvalidRequestError(f"Error reading Monitor entity id='{name}'")
    del account.monitors[monitor.id]
    await monitor.delete()
    return Response(200, result([leaf("message", "1 items deleted")]), XML_TYPE)


def find(account: Account, name: str) -> Monitor | None:
    """Look a monitor up by the text of its id."""
    return account.monitors.get(int(name)) if name.isascii() and name.isdigit() else None
