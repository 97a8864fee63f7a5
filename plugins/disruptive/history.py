"""History: reads back from DT's REST API what was not pushed, device by device.

    devices of the project ─▶ parts
    events of a device ─▶ page, sorted ─▶ as a push would bring them ─▶ Event

History holds the event alone; labels and metadata, which a push has beside it, are
taken from the device as it is now. So events are decoded as pushes are and get their
keys: what was pushed already is known once. The key holds ``targetName``, which names
the project: should DT tell the past of a device that was moved to another project under
the new name (unknown), what was pushed under the old one comes in once more.

DT keeps 31 days (an older article says 30), shows an event after at most 10 seconds,
and does not say in which order (vendor documentation).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from operator import attrgetter
from urllib.parse import quote

from attrs import define, field, frozen

from bridge.api import JSON, Event, Page, Pause, Reject, SourceContext
from bridge.api.former import former_digests
from bridge.api.rest import Network

from .events import UNREADABLE, decode_event
from .rest.client import Cloud, open_cloud
from .settings import Settings


@frozen
class _Device:
    """What a push tells of a device beside its event."""

    labels: Mapping[str, str]
    metadata: Mapping[str, str]


@define(eq=False)
class DeviceHistory:
    """The record of a project's devices; a :class:`bridge.api.History`."""

    _cloud: Cloud
    _settings: Settings
    _context: SourceContext
    _devices: dict[str, _Device] = field(factory=dict)

    async def parts(self) -> Sequence[str]:
        """Return the ids of the project's devices."""
        query = [("pageSize", str(self._settings.page_size))]
        try:
            answers = await self._cloud.listing(f"{self._cloud.project}/devices", "devices", query)
        except Reject as refused:
            raise Pause(
                f"the devices cannot be listed: {refused}; check project ({self._settings.project})"
            ) from None
        self._devices = dict(
            read_device(answer, self._settings) for answer in answers if _name(answer)
        )
        return list(self._devices)

    async def page(self, part: str, start: datetime, end: datetime, cursor: str | None) -> Page:
        """Return a page of a device's events."""
        path = f"{self._cloud.project}/devices/{quote(part, safe='')}"
        device = self._devices.get(part)
        if device is None:  # the parts were listed before the bridge was restarted
            _, device = read_device(await self._cloud.call("GET", path), self._settings)
            self._devices[part] = device
        query = [
            ("startTime", rfc3339(start)),
            ("endTime", rfc3339(end)),
            *(("eventTypes", event_type) for event_type in self._settings.events),
            ("pageSize", str(self._settings.page_size)),
        ]
        items, following = await self._cloud.page(f"{path}/events", "events", query, cursor)
        received = self._context.now()
        events = [
            recovered_event(item, part, device.labels, device.metadata, received) for item in items
        ]
        return Page(tuple(sorted(events, key=attrgetter("time"))), following)


@asynccontextmanager
async def open_history(
    settings: Settings, context: SourceContext, *, network: Network | None = None
) -> AsyncIterator[DeviceHistory]:
    """Open the history.

    :param network: makes what carries the requests, instead of the real one.
    :raises Pause: settings are missing, or ``ca_file`` cannot be used.
    """
    if settings.missing_for_rest:
        raise Pause(f"the history needs the settings {', '.join(settings.missing_for_rest)}")
    async with open_cloud(
        settings, now=context.now, random=context.random, network=network
    ) as cloud:
        yield DeviceHistory(cloud, settings, context)


def read_device(answer: Mapping[str, JSON], settings: Settings) -> tuple[str, _Device]:
    """Return the id of a device and what a push tells of it. Members may be missing."""
    name = _name(answer)
    parts = name.split("/")
    labels = answer.get("labels")
    wanted = settings.connector_labels
    metadata = {
        "deviceId": parts[-1],
        "projectId": parts[1] if len(parts) == 4 else settings.project or "",
        "deviceType": _text(answer.get("type")),
        "productNumber": _text(answer.get("productNumber")),
    }
    return parts[-1], _Device(
        {
            key: value
            for key, value in (labels.items() if isinstance(labels, dict) else ())
            if isinstance(value, str) and (not wanted or key in wanted)
        },
        metadata,
    )


def recovered_event(
    item: JSON,
    part: str,
    labels: Mapping[str, str],
    metadata: Mapping[str, str],
    received: datetime,
) -> Event:
    """Decode an event of the history as the push that would have brought it.

    What cannot be read is kept raw.
    """
    try:
        return decode_event(
            {"event": item, "labels": dict(labels), "metadata": dict(metadata)}, received=received
        )
    except ValueError:
        return Event(
            key=unreadable_key(part, item),
            device=part,
            kind=UNREADABLE,
            time=received,
            data=item,
            former_keys=former_digests(item),
        )


def unreadable_key(part: str, item: JSON) -> str:
    """Return the key of what cannot be read: a hash of what it says, for ever the same.

    It is not made of JSON that is written anew, which another version of a library may
    write otherwise, nor of the bytes that came: DT may give members in another order.
    """
    digest = sha256()
    for piece in _pieces([part, item]):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(value: JSON) -> Iterator[bytes]:
    """Yield a value as bytes that no other has: types, lengths, members by name."""
    if isinstance(value, dict):
        yield b"{%d" % len(value)
        for name in sorted(value):
            yield from _pieces(name)
            yield from _pieces(value[name])
    elif isinstance(value, list):
        yield b"[%d" % len(value)
        for item in value:
            yield from _pieces(item)
    else:
        text = (value.hex() if isinstance(value, float) else str(value)).encode()
        yield b"%s%d:%s" % (type(value).__name__.encode(), len(text), text)


def rfc3339(time: datetime) -> str:
    """Return a time as DT writes it: UTC with ``Z``, never with an offset as well."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _name(answer: Mapping[str, JSON]) -> str:
    return _text(answer.get("name")).strip("/")


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else ""
