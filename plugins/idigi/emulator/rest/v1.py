"""Emulator: ``/ws/v1``, the JSON API. Inventory and history of monitors, and the
history of data streams.

From vendor documentation: paths, parameters and names of fields. Assumed: values of
``acknowledgement`` and ``compression`` in a POST, the form of history answers. This
emulator's choices: statuses and form of errors, the call that reads a data stream, and
that start and end of a span are both included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from bridge.api import Request, Response

from ..account import Account
from ..content.documents import json_text
from ..faults import Faults
from ..options import Options
from ..push.monitor import Monitor, Waiting
from .conditions import V1, parse_condition
from .old_api import JSON_TYPE, InvalidRequestError, checked, create, delete, find

INVENTORY = "/ws/v1/monitors/inventory"
HISTORY = "/ws/v1/monitors/history"
NAMES = {
    "type": "monTransportType",
    "description": "monDescription",
    "format": "monFormatType",
    "acknowledgement": "monAckOption",
    "compression": "monCompression",
    "schema_type": "monSchemaType",
    "schema": "monSchemaData",
    "url": "monTransportUrl",
    "auth_token": "monTransportToken",
    "method": "monTransportMethod",
    "headers": "monTransportHeaders",
    "last_connect": "monLastConnect",
    "last_sent": "monLastSent",
    "last_sent_uuid": "monLastSentUuid",
}
"""Texts, by their names here and in the old API."""
NUMBERS = {
    "id": "monId",
    "customer_id": "cstId",
    "batch_duration": "monBatchDuration",
    "batch_size": "monBatchSize",
    "connect_timeout": "monConnectTimeout",
    "response_timeout": "monResponseTimeout",
}


async def answer_v1(account: Account, faults: Faults, request: Request) -> Response:
    """Answer one call."""
    parameters = {name: values[0] for name, values in parse_qs(request.query).items()}
    try:
        if request.path.rstrip("/") == INVENTORY:
            if request.method == "POST":
                return _json(v1_item(create(account, faults, _created(request.body))), 201)
            if request.method == "GET":
                return _json(_inventory(account, parameters))
        elif match := re.fullmatch(rf"{INVENTORY}/([^/]+)", request.path):
            return await _one(account, faults, request.method, match[1])
        elif request.method == "GET":
            return _history(account, faults, request.path, parameters)
    except InvalidRequestError as exc:
        return _json({"error": [f"{request.method} error. {exc}"]}, 400)
    return Response(405, b"")


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, json_text(value).encode(), JSON_TYPE)


def _unknown(faults: Faults, name: str) -> Response:
    return _json(
        {"error": [f"Error reading Monitor entity id='{name}'"]}, faults.unknown_monitor_status
    )


def _created(body: bytes) -> dict[str, str]:
    """Give the elements of a POST."""
    try:
        fields = json.loads(body)
        topics = ",".join(fields["topics"])
    except (ValueError, KeyError, TypeError) as exc:
        raise InvalidRequestError(
            "Invalid request. Expected an object with a list of topics"
        ) from exc
    elements = {"monTopic": topics}
    for name, value in fields.items():
        if name in NAMES and isinstance(value, str):
            elements[NAMES[name]] = value
        elif name in NUMBERS and type(value) is int:
            elements[NUMBERS[name]] = str(value)
        elif name == "persistent" and isinstance(value, bool):
            elements["monAutoReplayOnConnect"] = str(value).lower()
        elif name != "topics":
            raise InvalidRequestError(f"Invalid request. Invalid {name} specified")
    return checked(elements)


def v1_item(monitor: Monitor) -> dict[str, Any]:
    """Give a monitor as this API reads it: numbers and booleans of their own, the
    status in lower case.
    """
    item = monitor.item
    fields: dict[str, Any] = {name: int(item[old]) for name, old in NUMBERS.items() if old in item}
    fields |= {name: item[old] for name, old in NAMES.items() if old in item}
    return fields | {
        "topics": monitor.topics,
        "persistent": monitor.replays,
        "status": monitor.status.lower(),
    }


def _inventory(account: Account, parameters: Mapping[str, str]) -> dict[str, Any]:
    try:
        holds = parse_condition(parameters.get("query", ""), V1)
        first = int(parameters.get("cursor", "0"))
    except ValueError as exc:
        raise InvalidRequestError(f"Invalid request. {exc}") from exc
    found = [item for item in map(v1_item, account.monitors.values()) if holds(item)]
    name, _, direction = parameters.get("orderby", "id").partition(" ")
    found.sort(
        key=lambda item: (item.get(name) is not None, item.get(name)), reverse=direction == "desc"
    )
    page = found[first : first + _size(account.options, parameters)]
    more = first + len(page) < len(found)
    return {
        "count": len(page),
        "list": page,
        **({"cursor": str(first + len(page))} if more else {}),
    }


async def _one(account: Account, faults: Faults, method: str, name: str) -> Response:
    monitor = find(account, name)
    if monitor is None:
        return _unknown(faults, name)
    if method == "DELETE":
        await delete(account, name)
        return Response(204, b"")
    return _json(v1_item(monitor)) if method == "GET" else Response(405, b"")


def _history(
    account: Account, faults: Faults, path: str, parameters: Mapping[str, str]
) -> Response:
    """Answer a call for the history of a monitor, by server time, or of a data stream,
    by the time of the points.
    """
    before, _, after = account.options.streams_path.partition("{stream}")
    if match := re.fullmatch(rf"{HISTORY}/([^/]+)", path):
        monitor = find(account, match[1])
        if monitor is None:
            return _unknown(faults, match[1])
        if not monitor.replays:
            raise InvalidRequestError("Invalid request. The monitor is not persistent")
        return _json(
            _page(
                account.options,
                monitor.saved,
                parameters,
                lambda event: event.at,
                _event(account.options),
            )
        )
    if path.startswith(before) and path.endswith(after) and len(path) > len(before) + len(after):
        stream = unquote(path[len(before) : len(path) - len(after)])
        points = account.streams.get(stream, ())
        return _json(
            _page(
                account.options,
                points,
                parameters,
                _measured,
                lambda event: event.message["DataPoint"],
            )
        )
    return Response(404, b"")


def _event(options: Options) -> Callable[[Waiting], Any]:
    return lambda event: (
        {"event": event.message} if options.history_items == "wrapped" else event.message
    )


def _measured(event: Waiting) -> datetime:
    stamp = event.message["DataPoint"].get("timestamp")
    return event.at if stamp is None else datetime.fromtimestamp(int(stamp) / 1000, UTC)


def _page(
    options: Options,
    events: Iterable[Waiting],
    parameters: Mapping[str, str],
    time_of: Callable[[Waiting], datetime],
    item_of: Callable[[Waiting], Any],
) -> dict[str, Any]:
    """Give one page of a history.

    The cursor is the id of the last event that was given.
    """
    start, end = _time(parameters, "start_time"), _time(parameters, "end_time")
    asked = parameters.get("cursor")
    try:
        last = -1 if asked is None else int(asked)
    except ValueError as exc:
        raise InvalidRequestError("Invalid request. Invalid cursor specified") from exc
    found = [
        event
        for event in events
        if event.id > last
        and (start is None or time_of(event) >= start)
        and (end is None or time_of(event) <= end)
    ]
    page = found[: _size(options, parameters)]
    following = str(page[-1].id) if page else None
    if len(page) == len(found):
        if options.last_cursor == "absent":
            following = None
        elif options.last_cursor == "repeats":
            following = asked or following
    result = {"count": len(page), "list": [item_of(event) for event in page]}
    return result if following is None else {**result, "cursor": following}


def _size(options: Options, parameters: Mapping[str, str]) -> int:
    try:
        size = int(parameters.get("size", "1000"))
    except ValueError as exc:
        raise InvalidRequestError("Invalid request. Invalid size specified") from exc
    if size < 1:
        raise InvalidRequestError("Invalid request. Invalid size specified")
    return min(size, options.page_limit)


def _time(parameters: Mapping[str, str], name: str) -> datetime | None:
    """Read a time: ISO 8601, or milliseconds since 1970."""
    text = parameters.get(name)
    if text is None:
        return None
    try:
        if text.isdigit():
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as exc:
        raise InvalidRequestError(f"Invalid request. Invalid {name} specified") from exc
    return time if time.tzinfo else time.replace(tzinfo=UTC)
