"""``/ws/v1``: the histories of monitors and of data streams.

From vendor documentation: paths, parameters, names of fields, the form of a stream's
history. Assumed: the form of a monitor's. The emulator's own choice: statuses and form
of errors, and that start and end of a span are both included. Of a slash written as
``%2F`` in a stream's id the service is assumed to say what servlet servers commonly do:
400.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

from bridge.api import Request, Response

from ..account import Account, iso
from ..faults import Faults
from ..options import Options
from ..push.monitor import Waiting
from .answers import InvalidRequestError, json_answer
from .old_api import find

MONITORS = "/ws/v1/monitors/history/"
STREAMS = "/ws/v1/streams/history/"


def answer_history(account: Account, faults: Faults, request: Request) -> Response:
    """Answer one call."""
    if request.method != "GET":
        return Response(405, b"")
    parameters = {name: values[0] for name, values in parse_qs(request.query).items()}
    monitor = re.fullmatch(f"{MONITORS}([^/]+)", request.path)
    try:
        if monitor is not None:
            return _of_monitor(account, faults, monitor[1], parameters)
        if request.path.startswith(STREAMS) and request.path != STREAMS:
            return _of_stream(account, request.path, parameters)
    except InvalidRequestError as exc:
        return json_answer({"error": [f"{request.method} error. {exc}"]}, 400)
    return Response(404, b"")


def _of_monitor(
    account: Account, faults: Faults, name: str, parameters: Mapping[str, str]
) -> Response:
    """The saved events, by the time of the server."""
    monitor = find(account, name)
    if monitor is None:
        text = f"Error reading Monitor entity id='{name}'"
        return json_answer({"error": [text]}, faults.unknown_monitor_status)
    if not monitor.replays:
        raise InvalidRequestError("Invalid request. The monitor is not persistent")
    page, cursor = _page(account.options, monitor.saved, parameters, lambda event: event.at)
    wrapped = account.options.history_items == "wrapped"
    items = [{"event": event.message} if wrapped else event.message for event in page]
    following = {} if cursor is None else {"cursor": cursor}
    return json_answer({"count": len(page), "list": items, **following})


def _of_stream(account: Account, path: str, parameters: Mapping[str, str]) -> Response:
    """The data points, by the time at which they were measured."""
    if "%2f" in path.lower():
        raise InvalidRequestError("Invalid request. Invalid stream_id specified")
    stream = unquote(path.removeprefix(STREAMS))
    options = account.options
    page, cursor = _page(options, account.streams.get(stream, ()), parameters, _measured)
    following = {}
    if cursor is not None:
        following = {
            "cursor": cursor,
            "next_uri": f"{path}?{urlencode({**parameters, 'cursor': cursor})}",
        }
    return json_answer(
        {
            "count": len(page),
            "size": _size(options, parameters),
            "list": [_point(stream, event) for event in page],
            **following,
        }
    )


def _point(stream: str, event: Waiting) -> dict[str, Any]:
    """A data point, by the names that a history gives to its fields."""
    point = event.message["DataPoint"]
    return {
        "id": point.get("id", str(event.id)),
        "stream_id": stream,
        "timestamp": iso(_measured(event)),
        "server_timestamp": iso(event.at),
        "value": point.get("data"),
        "quality": point.get("quality", 0),
    }


def _measured(event: Waiting) -> datetime:
    stamp = event.message["DataPoint"].get("timestamp")
    return event.at if stamp is None else datetime.fromtimestamp(int(stamp) / 1000, UTC)


def _page(
    options: Options,
    events: Iterable[Waiting],
    parameters: Mapping[str, str],
    time_of: Callable[[Waiting], datetime],
) -> tuple[list[Waiting], str | None]:
    """Return one page of a history, and the cursor of the next.

    A cursor is the id of the last event that was given.
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
    return page, following


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
