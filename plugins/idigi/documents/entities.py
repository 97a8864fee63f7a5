"""What an event is about: its topic, its device, its time.

The entity is the vendor's object inside the envelope, such as ``DataPoint`` or
``DeviceCore``. Every field may be missing (vendor documentation, recorded traffic);
nothing here fails, it finds less.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import unquote_plus

from attrs import frozen

from bridge.api import JSON

UNKNOWN_DEVICE = "unknown"

DEVICE_ID = re.compile(r"(?<![0-9A-Za-z-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{8}){3}(?![0-9A-Za-z-])")
"""Four groups of eight hexadecimal digits, the last two mostly the MAC with FFFF in its
middle (recorded traffic).
"""


@frozen
class Topic:
    """The topic of an event, ``{customer id}/{name}/{rest}``."""

    raw: str
    """As the server wrote it; empty if it wrote none."""
    parts: tuple[str, ...]
    """Percent-decoded after splitting (``+`` is a blank: assumed)."""

    @classmethod
    def parse(cls, raw: str) -> Topic:
        """Split a topic, then decode its parts."""
        return cls(raw, tuple(unquote_plus(part) for part in raw.split("/")))

    @property
    def name(self) -> str:
        """The kind of event, such as ``DataPoint``; empty if the topic has none."""
        return self.parts[1] if len(self.parts) > 1 else ""

    @property
    def rest(self) -> str:
        """What follows the name."""
        return "/".join(self.parts[2:])


def kind_of(topic: Topic, name: str) -> str:
    """Return the kind of an event: the name in its topic, else the key of its entity.

    :param name: the key of the entity, which is ``device`` where the topic is
        ``devices`` (vendor documentation).
    """
    return topic.name or ("devices" if name == "device" else name) or "event"


def device_of(kind: str, topic: Topic, entity: JSON) -> str:
    """Return the device that an event is about. The same fields always give the same
    device.

    The first of these that is there: ``devConnectwareId`` of the entity or of its
    ``id``; ``device_name``; the ``id`` of kind ``devices``; a device id anywhere in the
    topic, in the source of an alarm or in the path of a file; the source of an alarm
    itself; the topic itself.
    """
    fields = entity if isinstance(entity, Mapping) else {}
    compound = fields.get("id")
    inner = compound if isinstance(compound, Mapping) else {}
    named = [
        fields.get("devConnectwareId"),
        inner.get("devConnectwareId"),
        fields.get("device_name"),
    ]
    if kind == "devices":
        named.append(compound)
    for candidate in named:
        if isinstance(candidate, str) and candidate:
            return candidate
    source = alarm_source(kind, fields)
    for text in (topic.rest, source, text_of(inner.get("fdPath"))):
        if found := DEVICE_ID.search(text):
            return found[0]
    return source or topic.raw or UNKNOWN_DEVICE


def alarm_source(kind: str, fields: Mapping[str, JSON]) -> str:
    """Return what raised an alarm: a device, a stream path, or the service itself;
    empty for other kinds.
    """
    if kind == "AlarmStatus":
        compound = fields.get("id")
        return text_of(compound.get("almsSourceEntityId")) if isinstance(compound, Mapping) else ""
    return text_of(fields.get("source")) if kind == "alert_status" else ""


def text_of(value: JSON) -> str:
    """Return a text as it is; empty for anything else."""
    return value if isinstance(value, str) else ""


def moment(text: JSON) -> datetime | None:
    """Read an ISO 8601 time, UTC where it names no zone; None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
