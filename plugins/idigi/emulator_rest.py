"""Stand-in: the REST calls on monitors that a client needs. Every value is a text, as in the service.

Written from the vendor documentation and recorded traffic. Not here: changing a monitor (PUT), which resets it and
which a careful client never does; documents as XML.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any
from urllib.parse import parse_qs
from xml.etree import ElementTree as Xml
from xml.sax.saxutils import escape

from bridge.api import Answer, Request
from bridge_plugins.idigi.emulator_account import CUSTOMER, Account, Monitor, topics_of
from bridge_plugins.idigi.emulator_faults import Faults

PATH = "/ws/Monitor"
JSON_TYPE = (("Content-Type", "application/json"),)
XML_TYPE = (("Content-Type", "application/xml"),)

TOPICS = frozenset(
    {
        "alert_status",
        "devices",
        "jobs",
        "Alarm",
        "AlarmStatus",
        "DataPoint",
        "DataStream",
        "DeviceCore",
        "FileData",
        "FileDataCore",
        "Job",
        "JobResult",
        "XbeeCore",
        "Group",
        "CLIEvent",
        "DiaChannelDataFull",
        "XbeeAttributeDataCore",
        "XbeeEventDataCore",
    }
)


async def answer_call(account: Account, faults: Faults, request: Request) -> Answer:
    """Answer one call."""
    account.books.calls.append(f"{request.method} {request.path}")
    if request.body:
        account.books.bodies.append(request.body)
    account.books.changed()
    if faults.rest:
        return faults.rest.pop(0)
    if not _authorized(account, request):
        return Answer(401, b"", (("WWW-Authenticate", 'Basic realm="stand-in"'),))
    if request.method == "POST" and request.path == PATH:
        return _create(account, faults, request.body)
    if request.method == "GET" and request.path == PATH:
        return _list(account, request.query)
    match = re.fullmatch(rf"{PATH}/([^/]+)", request.path)
    if match and request.method == "GET":
        return _read(account, faults, match[1])
    if match and request.method == "DELETE":
        return await _delete(account, match[1])
    return Answer(405, b"")


def _authorized(account: Account, request: Request) -> bool:
    scheme, _, encoded = request.headers.get("authorization", ("",))[0].partition(" ")
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    username, _, password = text.partition(":")  # a password may hold colons
    return scheme == "Basic" and (username, password) == (account.username, account.password)


def _create(account: Account, faults: Faults, body: bytes) -> Answer:
    try:
        root = Xml.fromstring(body)  # noqa: S314  # the caller is the bridge under test
    except Xml.ParseError:
        return _error("POST Monitor error. Invalid request.")
    elements = {element.tag: element.text or "" for element in root}
    if not all(_known(topic) for topic in topics_of(elements.get("monTopic", ""))):
        return _error("POST Monitor error. Invalid request. Invalid monTopic specified")
    if len(account.monitors) >= faults.monitor_limit:
        return _error("POST Monitor error. The limit of monitors of this account is reached.")  # wording assumed
    if elements.get("monCompression") == "gzip":
        elements["monCompression"] = "zlib"  # as the service reads it back
    monitor = account.create(elements)
    location = f"Monitor/{monitor.id}"
    return Answer(201, _xml(f"\n  <location>{location}</location>\n"), (("Location", location), *XML_TYPE))


def _known(topic: str) -> bool:
    return re.sub(r"\[[^\]]*\]", "", topic).partition("/")[0] in TOPICS


def _list(account: Account, query: str) -> Answer:
    parameters = {name: values[0] for name, values in parse_qs(query).items()}
    terms = _condition(parameters.get("condition", ""))
    if terms is None:
        return _error("GET Monitor error. Invalid request. The condition is not understood by this stand-in")
    start, size = int(parameters.get("start", "0")), int(parameters.get("size", "1000"))
    rows = [item for item in map(_item, account.monitors.values()) if all(item.get(k) == v for k, v in terms.items())]
    return _rows(rows, start, size)


def _condition(text: str) -> dict[str, str] | None:
    """Read ``name='value' and name='value'``."""
    terms: dict[str, str] = {}
    for term in filter(None, re.split(r" and (?=\w+=)", text)):
        match = re.fullmatch(r"(\w+)='([^']*)'", term)
        if match is None:
            return None
        terms[match[1]] = match[2]
    return terms


def _read(account: Account, faults: Faults, name: str) -> Answer:
    monitor = account.monitors.get(int(name)) if name.isascii() and name.isdigit() else None
    if monitor is None:
        text = f"GET Monitor error. Error reading Monitor entity id='{name}'"
        return Answer(faults.unknown_monitor_status, json.dumps({"error": [text]}).encode(), JSON_TYPE)
    return _rows([_item(monitor)], 0, 1000)


async def _delete(account: Account, name: str) -> Answer:
    if not (name.isascii() and name.isdigit()):
        return _error(f'DELETE Monitor error. Invalid request. For input string: "{name}"')
    monitor = account.monitors.pop(int(name), None)
    if monitor is None:
        return _error(f"DELETE Monitor error. Error reading Monitor entity id='{name}'")
    await monitor.cut_off()
    return Answer(200, _xml("<message>1 items deleted</message>"), XML_TYPE)


def _item(monitor: Monitor) -> dict[str, str]:
    return {"monId": str(monitor.id), "cstId": CUSTOMER, **monitor.elements, "monStatus": monitor.status}


def _rows(rows: list[dict[str, str]], start: int, size: int) -> Answer:
    page = rows[start : start + size]
    result: dict[str, Any] = {
        "resultTotalRows": str(len(rows)),
        "requestedStartRow": str(start),
        "resultSize": str(len(page)),
        "requestedSize": str(size),
        "remainingSize": str(len(rows) - start - len(page)),
        "items": page,
    }
    return Answer(200, json.dumps(result).encode(), JSON_TYPE)


def _error(text: str) -> Answer:
    return Answer(400, _xml(f"<error>{escape(text)}</error>"), XML_TYPE)


def _xml(inner: str) -> bytes:
    return f'<?xml version="1.0" encoding="ISO-8859-1"?>\n<result>{inner}</result>'.encode("latin-1")
