"""From a block to events.

    Block -- unpack --> document -- by its format --> messages -- one each --> Event
      \\------- what makes no sense -------------------------\\--> Event of kind "undecodable"

A message is what the vendor calls ``Msg``: an envelope (topic, operation, timestamp, group, replay) around one entity.
``Msg`` is an object for one event and a list for several (recorded traffic). Every object passes through, whatever is
missing or unknown; the whole object is kept in ``data``. What cannot be read is kept too, as base64, so that it is
stored and acknowledged: a server that waits for explicit acks would otherwise send it again for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson
from attrs import field, frozen

from bridge.api import JSON, Event, parse_json, raw_data
from bridge_plugins.idigi import protocol
from bridge_plugins.idigi.entities import UNKNOWN_DEVICE, Topic, device_of, measured, moment, readings_of, stream_of
from bridge_plugins.idigi.protocol import Block, Undecodable, unpack

UNDECODABLE = "undecodable"

ENVELOPE = frozenset({"topic", "operation", "timestamp", "group", "replay"})

# The words differ between JSON and XML documents (recorded traffic); the labels do not.
OPERATIONS = {"INSERTION": "create", "INSERT": "create", "CREATE": "create", "UPDATE": "update"} | dict.fromkeys(
    ("DELETION", "DELETE"), "delete"
)


@frozen
class Decoded:
    """What was in a block."""

    events: tuple[Event, ...]
    """In the order of the block."""
    remarks: tuple[str, ...] = field(default=())
    """What was wrong with it, for the log."""


def decode(block: Block, received: datetime, *, inflate_limit: int) -> Decoded:
    """Read a block. Never fails: what makes no sense becomes an event of kind ``undecodable``.

    :param received: stands in for a time that the server did not send.
    """
    try:
        content = unpack(block, inflate_limit)
        messages = read_messages(content.format, content.document)
    except Undecodable as exc:
        return keep_block(block, str(exc), received)
    remarks = []
    if content.count != len(messages):
        remarks.append(f"the block says that it holds {content.count} events, but it holds {len(messages)}")
    events = []
    for message in messages:
        if isinstance(message, Mapping):
            events.append(_event(message, received))
        else:
            remarks.append("an event of the block is not an object; it is kept as it is")
            events.append(_undecodable(orjson.dumps(message), orjson.dumps(message), remarks[-1], received))
    return Decoded(tuple(events), tuple(remarks))


def keep_block(block: Block, why: str, received: datetime) -> Decoded:
    """Keep a block that cannot be read: the frame as received, in one event.

    Its key leaves out the block id, which differs when the server sends the same content on another connection.
    """
    return Decoded((_undecodable(block.frame, block.body[2:], why, received),), (f"the block is kept as it is: {why}",))


def _undecodable(raw: bytes, identity: bytes, why: str, received: datetime) -> Event:
    return Event(
        key=sha256(b"undecodable\0" + identity).hexdigest(),
        device=UNKNOWN_DEVICE,
        kind=UNDECODABLE,
        time=received,
        labels={"reason": why},
        data=raw_data(raw),
    )


def read_messages(format_: int, document: bytes) -> list[JSON]:
    """Give the messages of a document, in order.

    :raises Undecodable: if the document cannot be read.
    """
    if format_ != protocol.JSON:
        raise Undecodable(f"the document has format {format_}, expected 1 (JSON) as the monitor was created for")
    try:
        root = parse_json(document)
    except ValueError as exc:
        raise Undecodable(f"the document is not JSON: {exc}") from exc
    return _messages(root)


def _messages(root: JSON) -> list[JSON]:
    """Find the messages: below ``Document``, below a bare ``Msg``, or the root itself (the bare forms are assumed).

    An empty document is a keep-alive: seen with monitors of transport HTTP.
    """
    if isinstance(root, list):
        return root
    if isinstance(root, dict):
        if "Document" in root:
            document = root["Document"]
            if document in (None, "", {}):
                return []
            if isinstance(document, dict) and "Msg" in document:
                return _listed(document["Msg"])
        elif "Msg" in root:
            return _listed(root["Msg"])
        elif "topic" in root:
            return [root]
    raise Undecodable("the document has neither Document nor Msg nor topic at its root")


def _listed(messages: JSON) -> list[JSON]:
    if messages is None:
        return []
    return messages if isinstance(messages, list) else [messages]


def _event(message: Mapping[str, Any], received: datetime) -> Event:
    topic = Topic.parse(_text(message.get("topic")))
    name, entity = _entity(message, topic)
    kind = topic.name or name or "event"
    stamped = moment(message.get("timestamp"))
    labels = {
        "topic": topic.raw,
        "operation": _operation(_text(message.get("operation"))),
        "group": _text(message.get("group")),
        "replay": "true" if message.get("replay") is True else "",
    }
    if kind == "DataPoint" and isinstance(entity, Mapping):
        stream = stream_of(topic, entity)
        device = stream.device
        stamped = stamped or measured(entity) or received
        readings = readings_of(stream, entity, stamped)
        labels["stream"] = stream.path
    else:
        device = device_of(topic, entity)
        readings = ()
    return Event(
        key=event_key(message, entity),
        device=device,
        kind=kind,
        time=stamped or received,
        readings=readings,
        labels={label: text for label, text in labels.items() if text},
        data=message,
    )


def _entity(message: Mapping[str, Any], topic: Topic) -> tuple[str, JSON]:
    """Find the entity: the key that is not of the envelope. Among several the one named like the topic, else all."""
    others = {key: value for key, value in message.items() if key not in ENVELOPE}
    if len(others) == 1:
        return next(iter(others.items()))
    if topic.name in others:
        return topic.name, others[topic.name]
    return "", others or None


def event_key(message: Mapping[str, Any], entity: JSON) -> str:
    """Derive the key of an event: the vendor sends none.

    Two equal events have one key, and so has an event that is sent again with ``replay``.
    """
    identity = {name: message.get(name) for name in ("topic", "operation", "timestamp")} | {"entity": entity}
    return sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _operation(word: str) -> str:
    return OPERATIONS.get(word.upper(), word)


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else ""
