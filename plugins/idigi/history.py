"""What the service has saved, read back: the events of our monitor, and the data points
of streams.

    GET /ws/v1/monitors/history/{id}?start_time&end_time&size&cursor ──▶ events with the keys of the pushed ones
    GET stream_history_path ────────── the same parameters ────────────▶ data points with keys of their own

The first call is documented, for monitors that record (``replay``); the form of its
answer is assumed, so it is read leniently: ``{"list": [...], "cursor": "..."}``, where
an item is the event or holds it. The times compare with those of the server. For
streams the vendor documents no call: its path is a setting, and its answer is read in
the same way.

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
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import orjson
from attrs import define, evolve, field, frozen

from bridge.api import JSON, Event, History, Page, Pause, Reject, SourceContext

from .documents.decode import ENVELOPE, event_of
from .rest.answers import CallRefused
from .rest.monitor_api import HISTORY_PATH, MonitorApi, open_api
from .rest.monitors import REMEMBERED, known_monitor
from .settings import Settings

PAGE = 1000  # items asked for at once
DEEPEST_WRAPPER = 4  # objects around an event, at most

MONITOR = "monitor "
STREAM = "stream "


@asynccontextmanager
async def open_history(settings: Settings, context: SourceContext) -> AsyncIterator[History]:
    """Keep one HTTP client open for reading back.

    :raises Pause: if ``ca_file`` cannot be used.
    """
    async with open_api(settings) as api:
        yield _History(api, settings, context)


@define
class _Walk:
    """The cursors by which the current page was reached, in order."""

    part: str = ""
    cursors: list[str | None] = field(factory=list)

    def goes_on(self, part: str, cursor: str | None, following: str | None) -> bool:
        """Tell whether a page leads to one that was not read on the way to it.

        A page may be read again.
        """
        if part != self.part or cursor not in self.cursors:
            self.part, self.cursors = part, [cursor]
        else:
            del self.cursors[self.cursors.index(cursor) + 1 :]
        if following is None or following in self.cursors:
            return False
        self.cursors.append(following)
        return True


@frozen
class _History:
    api: MonitorApi
    settings: Settings
    context: SourceContext
    walk: _Walk = field(factory=_Walk)

    async def parts(self) -> Sequence[str]:
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
        # Always asked: the walk has to know every page.
        goes_on = self.walk.goes_on(part, cursor, following)
        return Page(events, following if items and goes_on else None)

    def _path(self, part: str) -> str:
        if part.startswith(STREAM) and self.settings.stream_history_path is not None:
            return self.settings.stream_history_path.replace(
                "{stream}", quote(part.removeprefix(STREAM), safe="")
            )
        number = part.removeprefix(MONITOR)
        if not part.startswith(MONITOR) or not (number.isascii() and number.isdigit()):
            raise Reject(
                f"there is no history of {part!r}; expected a monitor, or a stream of the "
                "setting streams"
            )
        return f"{HISTORY_PATH}/{number}"

    def _events(self, part: str, item: JSON) -> list[Event]:
        messages = messages_in(item)
        if part.startswith(STREAM) and not messages and isinstance(item, Mapping):
            return [self._point(part.removeprefix(STREAM), item)]
        return [self._event(message) for message in messages or [item]]

    def _point(self, stream: str, item: Mapping[str, Any]) -> Event:
        """Make the event of a data point that stands in the history by itself."""
        wrapped = item.get("DataPoint")
        found = wrapped if isinstance(wrapped, Mapping) else item
        point = {**found, "streamId": found.get("streamId") or stream}
        message: dict[str, Any] = {"DataPoint": point}
        if isinstance(point.get("timestamp"), str):
            message["timestamp"] = point[
                "timestamp"
            ]  # ISO text, of which the entity's reader wants milliseconds
        return evolve(self._event(message), key=point_key(point))

    def _event(self, message: JSON) -> Event:
        return event_of(
            message,
            self.context.now(),
            file_limit=self.settings.file_limit,
            ignore_service_alerts=self.settings.ignore_service_alerts,
        )


def point_key(point: Mapping[str, Any]) -> str:
    """Derive the key of a data point that came without an envelope, from stream, time
    and value.
    """
    time = point.get("timestamp") or point.get("serverTimestamp")
    identity = ["data point", point["streamId"], time, point.get("data")]
    return sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()


def read_answer(answer: JSON) -> tuple[list[JSON], str | None]:
    """Give the items of an answer, and the cursor of the next page; None: this was the
    last.
    """
    if isinstance(answer, list):
        return answer, None
    if not isinstance(answer, Mapping):
        return [], None
    items, cursor = answer.get("list"), answer.get("cursor")
    following = (
        str(cursor) if isinstance(cursor, str | int) and not isinstance(cursor, bool) else ""
    )
    return items if isinstance(items, list) else [], following or None


def messages_in(item: JSON, depth: int = 0) -> list[Mapping[str, Any]]:
    """Find the events in an item: itself, or in the objects and lists that wrap it.
    Empty if nothing looks like one.
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
    """Write a time as the service does: UTC, milliseconds, ``Z``; at the end of a range
    rounded up.
    """
    later = time + timedelta(microseconds=999) if up else time
    return later.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
