"""History: values that the webhook did not bring, read back from the REST API.

    part (a device, or one property of it)
      └─ windows of at most a day ─▶ pages, by their links ─▶ items ─▶ events

An item of the history has the names of a value of the webhook (vendor documentation),
and may lack ``deviceId`` and ``property``: they are filled from the request. Decoder
and keys are those of the webhook, so what was received already is known once. Events
and alarms are not in the history. How far back it reaches is not published.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from urllib.parse import quote, unquote

import orjson
from attrs import evolve, frozen

from bridge.api import JSON, Event, History, Page, Pause, Reject, SourceContext
from bridge.api.rest import read_pages

from .messages.events import value_event
from .messages.values import EPOCH, MILLISECOND, ValuePolicy
from .rest.client import AccountApi, open_account
from .rest.signature import query_of
from .settings import Settings

DAY = 86_400_000  # milliseconds, the longest time asked for in one request


@frozen
class Position:
    """How far the reading of a part has come: a window, in milliseconds since the
    epoch, and a page in it.
    """

    since: int
    until: int
    target: str | None = None
    """Path and query of the page to read; None: the first of the window."""

    def cursor(self) -> str:
        """Return it as text. The core ends a list in which one comes again."""
        return orjson.dumps([self.since, self.until, self.target]).decode()


def position_of(cursor: str | None, start: int, end: int) -> Position:
    """Return the position of a cursor.

    None, or one that is not ours, begins at the start: reading twice does no harm.
    """
    try:
        since, until, target = orjson.loads(cursor or "")
    except (ValueError, TypeError):
        since = until = target = None
    if isinstance(since, int) and isinstance(until, int) and isinstance(target, str | None):
        return Position(since, until, target)
    return Position(start, min(start + DAY, end))


def next_position(position: Position, following: str | None, end: int) -> Position | None:
    """Return what comes after a page; None: nothing.

    :param following: the link to the next page, if there is one.
    """
    if following is not None:
        return evolve(position, target=following)
    if position.until >= end:
        return None
    return Position(position.until, min(position.until + DAY, end))


@frozen
class PropertyHistory:
    """The history of all properties of an account."""

    account: AccountApi
    policy: ValuePolicy
    """With the unit of the REST API's timestamps."""
    devices: Sequence[str]
    """What is read; empty: all devices of the account."""
    by_property: bool
    """Whether each property is a part of its own."""
    page_size: int
    now: Callable[[], datetime]

    async def parts(self) -> Sequence[str]:
        """Return the devices, percent-encoded; with ``by_property`` each followed by a
        slash and a property.
        """
        devices = self.devices or await self._names("/v1/devices", "deviceId", configuration=True)
        if not self.by_property:
            return [_quoted(device) for device in dict.fromkeys(devices)]
        parts: list[str] = []
        for device in dict.fromkeys(devices):
            try:
                points = await self._names(f"/v1/devices/{_quoted(device)}/properties", "property")
            except _UnknownDeviceError:
                parts.append(_quoted(device))  # reading it will say so, and the others go on
            else:
                parts += [f"{_quoted(device)}/{_quoted(point)}" for point in points]
        return parts

    async def page(self, part: str, start: datetime, end: datetime, cursor: str | None) -> Page:
        """Read a page of what was measured from ``start`` to ``end``."""
        first, last = (start - EPOCH) // MILLISECOND, -((EPOCH - end) // MILLISECOND)
        position = position_of(cursor, first, max(first, last))
        device, _, point = part.partition("/")
        answer = await self.account.get(
            position.target or self._first_target(device, point, position)
        )
        following = next_position(position, answer.next, last)
        filling = {"deviceId": unquote(device)} | ({"property": unquote(point)} if point else {})
        events = [self._event(item, filling) for item in answer.items]
        events.sort(key=_time)
        return Page(tuple(events), None if following is None else following.cursor())

    def _first_target(self, device: str, point: str, position: Position) -> str:
        asked: list[tuple[str, str | int]] = [("since", position.since), ("until", position.until)]
        if point:
            asked.append(("property", unquote(point)))
        asked.append(("size", self.page_size))
        return self.account.target(f"/v1/devices/{device}/properties", query_of(*asked))

    def _event(self, item: JSON, filling: dict[str, str]) -> Event:
        if isinstance(item, dict):
            item = item | {name: value for name, value in filling.items() if item.get(name) is None}
        return value_event(item, self.policy, self.now())

    async def _names(self, path: str, member: str, *, configuration: bool = False) -> list[str]:
        """Read a list to its end and return one member of each item, each text once.

        :raises _UnknownDeviceError: if the service does not know what is listed.
        :raises Pause: if the list cannot be read for another reason that lasts.
        """

        async def read_page(target: str | None) -> tuple[Sequence[JSON], str | None]:
            page = await self.account.get(
                target or self.account.target(path), configuration=configuration
            )
            return page.items, page.next

        try:
            items = await read_pages(read_page, f"the list {path}")
        except Reject as reject:
            if reject.status == 404 and not configuration:
                raise _UnknownDeviceError from reject
            raise Pause(f"the list {path} cannot be read: {reject.why}; check url") from reject
        return list(dict.fromkeys(_texts(items, member)))


class _UnknownDeviceError(Exception):
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
    access = settings.rest_access()
    assert access is not None  # else `lacks` has said so, and nobody asks for it
    async with open_account(access, context.now) as account:
        yield PropertyHistory(
            account,
            evolve(settings.value_policy(), timestamp_unit="ms"),
            settings.rest_devices,
            settings.rest_parts == "points",
            settings.page_size,
            context.now,
        )
