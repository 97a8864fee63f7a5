"""What the service has saved, read back: the events of our monitor, and the data points
of streams.

    GET /ws/v1/monitors/history/{id} ──▶ events with the keys of the pushed ones
    GET stream_history_path ───────────▶ data points with keys of their own

Both take ``start_time``, ``end_time``, ``size`` and ``cursor``, and answer an object
with a ``list`` and a ``cursor``. The first is for monitors that record (``replay``) and
counts in time of the server; what an item of its answer looks like is assumed, so it is
read leniently: the item is the event or holds it.

A data point in a stream's history comes without the envelope of the event that was
pushed for it, and the key of an event is made from that envelope. So the key cannot be
the same: it is made from stream, time and value. Read twice from the history, a data
point is known once; pushed and read back, it is delivered twice, with the same device,
signal, time and value. The label ``bridge.recovered``, which the core sets, tells the
two apart. Likewise where the monitor pushes XML: what the history says in JSON may read
differently, and then has another key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from attrs import evolve, frozen

from bridge.api import JSON, Event, History, Page, Pause, Reject, Retry, SourceContext

from .documents.decode import ENVELOPE, event_of
from .documents.keys import former_point_keys, point_key, point_key_time
from .rest.answers import CallRefused
from .rest.ensure import REMEMBERED, known_monitor
from .rest.monitor_api import HISTORY_PATH, MonitorApi, open_api
from .settings import Settings

PAGE = 1000  # items asked for at once
DEEPEST_WRAPPER = 4  # objects around an event, at most

MONITOR = "monitor "
STREAM = "stream "


@asynccontextmanager
async def open_history(settings: Settings, context: SourceContext) -> AsyncIterator[History]:
    """Open the history.

    :raises Pause: if ``ca_file`` cannot be used.
    """
    async with open_api(settings, context.now) as api:
        yield MonitorHistory(api, settings, context)


@frozen
class MonitorHistory:
    """The history of our monitor and of the streams."""

    api: MonitorApi
    settings: Settings
    context: SourceContext

    async def parts(self) -> Sequence[str]:
        """``monitor 178008``, then ``stream`` and its id for each of the settings."""
        streams = [STREAM + stream for stream in self.settings.streams]
        monitor = known_monitor(self.settings, self.context.state.get(REMEMBERED))
        if not self.settings.replay:
            return streams
        if monitor is None and not streams:
            raise Pause(
                "there is no monitor yet whose history could be read; start the bridge, so "
                "that it makes one"
            )
        return streams if monitor is None else [f"{MONITOR}{monitor}", *streams]

    async def page(self, part: str, start: datetime, end: datetime, cursor: str | None) -> Page:
        """Read one page.

        :raises Reject: if the service refuses the history of this part.
        """
        query = {
            "start_time": _time_text(start),
            "end_time": _time_text(end, up=True),
            "size": str(PAGE),
        }
        if cursor is not None:
            query["cursor"] = cursor
        try:
            answer = await self.api.read_history(self._path(part), query)
        except CallRefused as exc:
            if 300 <= exc.status <= 399:
                raise  # the URL leads elsewhere, for every part
            raise Reject(
                f"the history of {part} cannot be read: {exc.why}", status=exc.status
            ) from exc
        items, following = read_answer(answer)
        events = tuple(event for item in items for event in self._events(part, item))
        # The last page may give the cursor that it was asked with, or come empty.
        return Page(events, following if items and following != cursor else None)

    def _path(self, part: str) -> str:
        stream, number = part.removeprefix(STREAM), part.removeprefix(MONITOR)
        if part.startswith(STREAM) and stream in self.settings.streams:
            # Its slashes stay as they are: servers commonly refuse %2F.
            return self.settings.stream_history_path.replace("{stream}", quote(stream))
        if part.startswith(MONITOR) and number.isascii() and number.isdigit():
            return f"{HISTORY_PATH}/{number}"
        raise Reject(
            f"there is no history of {part!r}; expected a monitor, or a stream of the setting "
            "streams"
        )

    def _events(self, part: str, item: JSON) -> list[Event]:
        messages = messages_in(item)
        if part.startswith(STREAM) and not messages and isinstance(item, Mapping):
            return [self._point(part.removeprefix(STREAM), item)]
        return [self._event(message) for message in messages or [item]]

    def _point(self, stream: str, item: Mapping[str, Any]) -> Event:
        """Return the event of a data point that stands in the history by itself.

        The documented names are ``stream_id`` and ``value``, with a time as ISO text;
        pushes say ``streamId`` and ``data``, with milliseconds.
        """
        wrapped = item.get("DataPoint")
        found = wrapped if isinstance(wrapped, Mapping) else item
        name = found.get("streamId") or found.get("stream_id") or stream
        time = found.get("timestamp") or found.get("serverTimestamp")
        point = {**found, "streamId": name}
        if "data" not in found and "value" in found:
            point["data"] = found["value"]
        value = point.get("data")
        message: dict[str, Any] = {"DataPoint": point}
        if isinstance(time, str):
            message["timestamp"] = time  # the entity's reader wants milliseconds
        # Version 1.0 did not know "value": its key of such a point says nothing of it.
        known = "data" in found or "value" not in found
        former = former_point_keys(name, time, value) if known else ()
        return evolve(
            self._event(message),
            key=point_key(name, time, value),
            former_keys=former,
            key_time=point_key_time(time),
        )

    def _event(self, message: JSON) -> Event:
        return event_of(
            message,
            self.context.now(),
            file_limit=self.settings.file_limit,
            ignore_service_alerts=self.settings.ignore_service_alerts,
        )


def read_answer(answer: JSON) -> tuple[list[JSON], str | None]:
    """Return the items of an answer, and the cursor of the next page; None: this was
    the last.

    :raises Retry: for an answer without a list: it says nothing about what there is.
    """
    if isinstance(answer, list):
        return answer, None
    items = answer.get("list") if isinstance(answer, Mapping) else None
    if not isinstance(items, list):
        raise Retry("the server's history has no list of events")
    cursor = answer.get("cursor")
    if isinstance(cursor, str | int) and not isinstance(cursor, bool) and str(cursor):
        return items, str(cursor)
    following = answer.get("next_uri")
    if not isinstance(following, str):
        return items, None
    return items, parse_qs(urlsplit(following).query).get("cursor", [None])[0]


def messages_in(item: JSON, depth: int = 0) -> list[Mapping[str, Any]]:
    """Return the events in an item: itself, or those in the objects and lists that wrap
    it; nothing if nothing looks like one.
    """
    if isinstance(item, list):
        return [message for each in item for message in messages_in(each, depth)]
    if not isinstance(item, Mapping):
        return []
    if "topic" in item and len(ENVELOPE & item.keys()) > 1:
        return [item]
    if depth == DEEPEST_WRAPPER:
        return []
    inner = [value for value in item.values() if isinstance(value, Mapping | list)]
    return [message for value in inner for message in messages_in(value, depth + 1)]


def _time_text(time: datetime, *, up: bool = False) -> str:
    """Return a time as the service writes it: UTC, milliseconds, ``Z``; rounded up at
    the end of a range.
    """
    later = time + timedelta(microseconds=999) if up else time
    return later.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
