"""From a block to events.

    Block ── unpack ──▶ document ── by its format ──▶ messages ──▶ an Event each
      │                    └── of a templated monitor ──▶ one Event, "templated"
      └── what makes no sense ──▶ one Event, "undecodable"

A message is what the vendor calls ``Msg``: an envelope (topic, operation, timestamp,
group, replay) around one entity. Every object passes through, whatever is missing or
unknown; the whole object is kept in ``data``. What cannot be read is kept too, as
base64, so that it is stored and acknowledged: a server that waits for explicit acks
would otherwise send it again for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson
from attrs import evolve, field, frozen

from bridge.api import JSON, Event, raw_data

from ..push import protocol
from ..push.protocol import Block, Content, UndecodableError, unpack
from ..settings import FILE_LIMIT
from .entities import UNKNOWN_DEVICE, Topic, kind_of, moment, text_of
from .entity_view import view_of
from .json import parse_exactly, read_json
from .keys import event_key, event_key_time, former_event_keys, former_item_keys, item_key
from .xml import read_xml

UNDECODABLE = "undecodable"
TEMPLATED = "templated"

ENVELOPE = frozenset({"topic", "operation", "timestamp", "group", "replay"})

# The words differ between JSON and XML documents (recorded traffic); the labels do not.
OPERATIONS = {
    "INSERTION": "create",
    "INSERT": "create",
    "CREATE": "create",
    "UPDATE": "update",
} | dict.fromkeys(("DELETION", "DELETE"), "delete")


@frozen
class Decoded:
    """What was in a block."""

    events: tuple[Event, ...]
    """In the order of the block."""
    remarks: tuple[str, ...] = field(default=())
    """What was wrong with it, for the log."""
    poison: str | None = None
    """Why the block as a whole cannot be read; None: it can."""


def decode(
    block: Block,
    received: datetime,
    *,
    inflate_limit: int,
    templated: bool = False,
    file_limit: int = FILE_LIMIT,
    ignore_service_alerts: bool = False,
) -> Decoded:
    """Read a block. Never fails: what makes no sense becomes an event of kind
    ``undecodable``.

    :param received: stands in for a time that the server did not send.
    :param templated: the monitor has a template, so that a document may be anything:
        see :func:`templated_event`.
    :param file_limit: most bytes of a file's content that stay in its event.
    :param ignore_service_alerts: alerts of the service about itself give no readings.
    """
    try:
        content = unpack(block, inflate_limit)
        if templated:
            return Decoded((templated_event(block, content, received),))
        messages = (
            read_json(content.document)
            if content.format == protocol.JSON
            else read_xml(content.document)
        )
    except UndecodableError as exc:
        return keep_block(block, str(exc), received)
    remarks = []
    if content.count != len(messages):
        remarks.append(
            f"the block says that it holds {content.count} events, but it holds {len(messages)}"
        )
    if strange := sum(not isinstance(message, Mapping) for message in messages):
        remarks.append(f"events of the block that are no objects, kept as they are: {strange}")
    events = [
        event_of(
            message, received, file_limit=file_limit, ignore_service_alerts=ignore_service_alerts
        )
        for message in messages
    ]
    return Decoded(tuple(events), tuple(remarks))


def keep_block(block: Block, why: str, received: datetime) -> Decoded:
    """Keep a block that cannot be read: the frame as received, in one event.

    Its key leaves out the block id, which differs when the server sends the same
    content on another connection.
    """
    key = sha256(b"undecodable\0" + block.body[2:]).hexdigest()
    event = _undecodable(block.frame, key, why, received)
    return Decoded((event,), (f"the block is kept as it is: {why}",), why)


def templated_event(block: Block, content: Content, received: datetime) -> Event:
    """Keep a document that a template printed, whole, with what the block says about
    it.

    ``data`` is the parsed document where it is JSON, else its bytes as base64: a
    template easily prints a comma too many, so that is no mistake. Nothing in it names
    the event, and two equal documents can be two events. Therefore it has no key:
    delivery is at least once, and what the server sends again after a lost ack comes
    twice.
    """
    try:
        data = parse_exactly(content.document)
    except ValueError:
        data = raw_data(content.document)
    return Event(
        key=None,
        device=UNKNOWN_DEVICE,
        kind=TEMPLATED,
        time=received,
        labels={
            "block": str(block.id),
            "count": str(content.count),
            "format": "json" if content.format == protocol.JSON else "xml",
        },
        data=data,
    )


def event_of(
    message: JSON,
    received: datetime,
    *,
    file_limit: int = FILE_LIMIT,
    ignore_service_alerts: bool = False,
) -> Event:
    """Return the event of a message, with one key however it came: pushed, replayed, or
    read from a history.

    Never fails: a message that is not an object becomes an event of kind
    ``undecodable``.

    :param message: read by ``parse_exactly``, so that its integers are exact.
    :param received: stands in for a time that the server did not send.
    :param file_limit: most bytes of a file's content that stay in its event.
    :param ignore_service_alerts: alerts of the service about itself give no readings.
    """
    if not isinstance(message, Mapping):
        event = _undecodable(
            orjson.dumps(message), item_key(message), "an event is not an object", received
        )
        return evolve(event, former_keys=former_item_keys(message))
    topic = Topic.parse(text_of(message.get("topic")))
    name, entity = _entity(message, topic)
    kind = kind_of(topic, name)
    view = view_of(
        kind if name else "",  # several keys that may be anything are not one entity's fields
        topic,
        entity,
        moment(message.get("timestamp")),
        received,
        file_limit=file_limit,
        ignore_service_alerts=ignore_service_alerts,
    )
    labels = {
        "topic": topic.raw,
        "operation": _operation(text_of(message.get("operation"))),
        "group": text_of(message.get("group")),
        "replay": "true" if message.get("replay") is True else "",
        **view.labels,
    }
    return Event(
        key=event_key(message, entity),
        device=view.device,
        kind=kind,
        time=view.time,
        readings=view.readings,
        labels={label: text for label, text in labels.items() if text},
        data=message if view.entity is entity else {**message, name: view.entity},
        former_keys=former_event_keys(message, entity),
        key_time=event_key_time(message, entity),
    )


def _undecodable(raw: bytes, key: str, why: str, received: datetime) -> Event:
    return Event(
        key=key,
        device=UNKNOWN_DEVICE,
        kind=UNDECODABLE,
        time=received,
        labels={"reason": why},
        data=raw_data(raw),
    )


def _entity(message: Mapping[str, Any], topic: Topic) -> tuple[str, JSON]:
    """Return the entity and its name: the key that is not of the envelope; among
    several the one that the topic names, else all of them without a name.
    """
    others = {key: value for key, value in message.items() if key not in ENVELOPE}
    if len(others) == 1:
        return next(iter(others.items()))
    name = "device" if topic.name == "devices" and "devices" not in others else topic.name
    if name in others:
        return name, others[name]
    return "", others or None


def _operation(word: str) -> str:
    return OPERATIONS.get(word.upper(), word)
