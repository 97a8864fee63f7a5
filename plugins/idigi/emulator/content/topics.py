"""Topics, and which events a subscription asks for.

    [group=a,b]DataPoint/*/metrics/cellular,DeviceCore[U]     a subscription
    7603/DataPoint/00000000-.../metrics/cellular/1/rssi       the topic of an event

A subscription is topics with filters, split at commas.

From vendor documentation: names, paths, ``*``, ``%2F`` for a slash inside one part,
both kinds of filter. Assumed: a path asks for everything below it, ``*`` also stands
for slashes, ``+`` is a blank, ``C`` and ``D`` beside ``U``.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_plus

from attrs import frozen

CUSTOMER = "7603"
"""Number of the account, in front of every topic."""

TOPICS = frozenset(
    {
        "alert_status",
        "devices",
        "jobs",
        "Alarm",
        "AlarmStatus",
        "DataPoint",
        "DataStream",
        "DeviceCore",
        "FileData",
        "FileDataCore",
        "Job",
        "JobResult",
        "XbeeCore",
        "Group",
        "CLIEvent",
        "DiaChannelDataFull",
        "XbeeAttributeDataCore",
        "XbeeEventDataCore",
    }
)

_OPERATIONS = {
    "c": "create",
    "insertion": "create",
    "insert": "create",
    "u": "update",
    "d": "delete",
    "deletion": "delete",
}
_FILTER = re.compile(r"\[(?:(\w+)=)?([^\[\]]*)\]")


@frozen
class Occurrence:
    """Something that happened in the account."""

    topic: str
    """Without the customer id: ``DataPoint/00000000-.../metrics/level``."""
    entity_key: str
    """Key of the entity in the envelope, such as ``DataPoint``."""
    entity: Any
    operation: str = "UPDATE"
    group: str = "*"


def operation_of(word: str) -> str:
    """Return ``create``, ``update`` or ``delete`` for every way of writing it; other
    words in lower case.
    """
    return _OPERATIONS.get(word.lower(), word.lower())


def topics_of(text: str) -> list[str]:
    """Split a subscription at the commas outside of ``[...]``."""
    topics, depth = [""], 0
    for char in text:
        depth += (char == "[") - (char == "]")
        if char == "," and depth == 0:
            topics.append("")
        else:
            topics[-1] += char
    return [topic.strip() for topic in topics]


def is_known(topic: str) -> bool:
    """Whether the service would accept one topic of a subscription."""
    filters = _FILTER.findall(topic)
    if any(name not in ("", "group", "operation") or not value for name, value in filters):
        return False
    path = _FILTER.sub("", topic)
    return "[" not in path and "]" not in path and path.partition("/")[0] in TOPICS


def topic_fits(topic: str, occurrence: Occurrence) -> bool:
    """Whether one topic of a subscription, with its filters, asks for an event."""
    for name, value in _FILTER.findall(topic):
        asked = value.split(",")
        if name == "group":
            if occurrence.group not in asked:
                return False
        elif operation_of(occurrence.operation) not in map(operation_of, asked):
            return False
    pattern = re.escape(_decoded(_FILTER.sub("", topic))).replace(r"\*", ".*")
    return re.fullmatch(f"{pattern}(?:/.*)?", _decoded(occurrence.topic), re.DOTALL) is not None


def _decoded(path: str) -> str:
    """Decode each part of a path.

    A slash inside a part becomes a character that no path has.
    """
    return "/".join(unquote_plus(part).replace("/", "\0") for part in path.split("/"))
