"""History: values that the webhook did not bring, read back from the REST API.

part (a device, or one property of it)
  └─ windows of at most a day ─▶ pages, by their links ─▶ items ─▶ events.py, as for the webhook

An item of the history has the names of a value of the webhook (vendor documentation),
and may lack ``deviceId`` and ``property``: they are filled from the request. Decoder
and keys are those of the webhook, so what was received already is known once. Events
and alarms are not in the history. How far back it reaches is not published.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import blake2b
from urllib.parse import quote, unquote

import orjson
from attrs import evolve, frozen

from bridge.api import JSON, Event, History, Page, Pause, Reject, SourceContext

from .messages.events import value_event
from .messages.values import EPOCH, MILLISECOND
from .rest.client import RestClient, open_rest
from .rest.signature import query_of
from .settings import Settings

DAY = 86_400_000  # milliseconds, the longest time asked for in one request
MAX_PAGES = 1000  # of one window, or of a list: more is a service that never ends


@frozen
class Place:
    """How far the reading of a part has come: a window, in milliseconds since the
    epoch, and a page in it.
    """

    since: int
    until: int
    target: str | None = None
    """Path and query of the page to read; None: the first of the window."""
    seen: tuple[str, ...] = ()
    """Digests of the targets in this window, up to the page to read."""

    def cursor(self) -> str:
        """Write it."""
        return orjson.dumps([self.since, self.until, self.target, *self.seen]).decode()

    def check(self) -> None:
        """Check that the list comes to an end.

        :raises Reject: if the page was read already, or is one of too many.
        """
        _check_end(self.seen[:-1], *self.seen[-1:])


def place_of(cursor: str | None, start: int, end: int) -> Place:
    """Read a cursor.

    None, or one that is not ours, begins at the start: reading twice does no harm.
    """
    first = Place(start, min(start + DAY, end))
    try:
        since, until, target, *seen = orjson.loads(cursor or "")
    except (ValueError, TypeError):
        return first
    usable = (
        isinstance(since, int)
        and isinstance(until, int)
        and all(isinstance(text, str) for text in seen)
    )
    usable = usable and (target is None or isinstance(target, str))
    return Place(since, until, target, tuple(seen)) if usable else first


def next_place(place: Place, target: str, following: str | None, end: int) -> Place | None:
    """Decide what comes after a page; None: nothing.

    :param target: of the page that was read.
    :param following: its link.
    """
    if following is None:
        return Place(place.until, min(place.until + DAY, end)) if place.until < end else None
    seen = place.seen or (_digest(target),)
    return Place(place.since, place.until, following, (*seen, _digest(following)))


def _digest(target: str) -> str:
    """Shorten a target, so that a cursor with many is small; 64 bits tell a few hundred
    apart.
    """
    return blake2b(target.encode(), digest_size=8).hexdigest()


def _check_end(seen: Sequence[str], following: str | None = None) -> None:
    if following in seen:
        raise Reject(
            "the REST API names as next page one that was read already; the rest of the list "
            "is not read"
        )
    if len(seen) >= MAX_PAGES:
        raise Reject(
            f"the REST API names more than {MAX_PAGES} pages; the rest of the list is not read"
        )


@frozen
class PropertyHistory:
    """The history of all properties of an account."""

    rest: RestClient
    settings: Settings
    """With the unit of the REST API's timestamps."""
    now: Callable[[], datetime]

    async def parts(self) -> Sequence[str]:
        """Name the devices, percent-encoded; with ``rest_parts = points`` each with a
        property after a slash.
        """
        devices = self.settings.rest_devices or await self._names(
            "/v1/devices", "deviceId", configuration=True
        )
        if self.settings.rest_parts == "devices":
            return [_quoted(device) for device in dict.fromkeys(devices)]
        parts: list[str] = []
        for device in dict.fromkeys(devices):
            try:
                points = await self._names(f"/v1/devices/{_quoted(device)}/properties", "property")
            except _Unknown:
                parts.append(_quoted(device))  # reading it will say so, and the others go on
            else:
                parts += [f"{_quoted(device)}/{_quoted(point)}" for point in points]
        return parts

    async def page(self, part: str, start: datetime, end: datetime, cursor: str | None) -> Page:
        """Read a page of what was measured from ``start`` to ``end``."""
        first, last = (start - EPOCH) // MILLISECOND, -((EPOCH - end) // MILLISECOND)
        place = place_of(cursor, first, max(first, last))
        device, _, point = part.partition("/")
        place.check()
        target = place.target or self._first_target(device, point, place)
        answer = await self.rest.get(target)
        following = next_place(place, target, answer.next, last)
        filling = {"deviceId": unquote(device)} | ({"property": unquote(point)} if point else {})
        events = [self._event(item, filling) for item in answer.items]
        events.sort(key=_time)
        return Page(tuple(events), None if following is None else following.cursor())

    def _first_target(self, device: str, point: str, place: Place) -> str:
        asked: list[tuple[str, str | int]] = [("since", place.since), ("until", place.until)]
        if point:
            asked.append(("property", unquote(point)))
        asked.append(("size", self.settings.page_size))
        return self.rest.target(f"/v1/devices/{device}/properties", query_of(*asked))

    def _event(self, item: JSON, filling: dict[str, str]) -> Event:
        if isinstance(item, dict):
            item = item | {name: value for name, value in filling.items() if item.get(name) is None}
        return value_event(item, self.settings, self.now())

    async def _names(self, path: str, member: str, *, configuration: bool = False) -> list[str]:
        """Read a list to its end, and give one member of each item, each text once.

        :raises _Unknown: if the service does not know what is listed.
        :raises Pause: if the list cannot be read for another reason that lasts.
        """
        names: dict[str, None] = {}
        target: str | None = self.rest.target(path)
        seen: list[str] = []
        try:
            while target is not None:
                seen.append(target)
                answer = await self.rest.get(target, configuration=configuration)
                names |= dict.fromkeys(_texts(answer.items, member))
                target = answer.next
                if target is not None:
                    _check_end(seen, target)
        except Reject as reject:
            if reject.status == 404 and not configuration:
                raise _Unknown from reject
            raise Pause(f"the list {path} cannot be read: {reject.why}; check url") from reject
        return list(names)


class _Unknown(Exception):
    """The service does not know a device."""


def _texts(items: Sequence[JSON], member: str) -> list[str]:
    found = [item.get(member) for item in items if isinstance(item, dict)]
    return [text for text in found if isinstance(text, str) and text]


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _time(event: Event) -> datetime:
    return event.time


@asynccontextmanager
async def open_history(settings: Settings, context: SourceContext) -> AsyncIterator[History]:
    """Open the history of the account that the settings name."""
    async with open_rest(settings, context.now) as rest:
        yield PropertyHistory(rest, evolve(settings, timestamp_unit="ms"), context.now)
