"""What the emulator says beside proper values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeAlias

import httpx

Item: TypeAlias = Mapping[str, Any]

HOUR = 3_600_000  # milliseconds


def framed(framing: str, items: Sequence[Item]) -> Any:
    """Return items in one of the framings that a values message may have (assumed);
    ``object`` takes one.
    """
    if framing == "object":
        return items[0]
    return {"data": items} if framing == "data" else items


def unwanted_items(milliseconds: int) -> list[Any]:
    """Return items that may be sent and that nobody should take for a live number; the
    last three are no values at all.

    :param milliseconds: now, since the epoch.
    """
    item = {"deviceId": "unwanted", "property": "unwanted", "timestamp": milliseconds}
    return [
        {**item, "payload": 21.5, "isOutOfService": True},
        {**item, "payload": 21.5, "timestamp": milliseconds + HOUR},
        {**item, "payload": "2026-01-01"},
        {**item, "payload": {"monday": [{"start": "08:00", "value": 1}]}},
        {**item, "payload": [1, 2]},
        {**item, "payload": None, "scaledPayload": None, "tags": None},
        {"property": "unwanted", "timestamp": milliseconds, "payload": 1},
        {**item, "payload": 1, "timestamp": None},
        "not an object",
    ]


def other_messages(milliseconds: int) -> dict[str, Any]:
    """Return an event, an alarm and a message of an unknown kind, by cause; made up,
    since no body is published.

    :param milliseconds: now, since the epoch.
    """
    return {
        "events": {
            "deviceId": "tower-1",
            "type": "DEVICE_STATUS",
            "status": "OFFLINE",
            "timestamp": milliseconds,
        },
        "alarms": [
            {
                "alertId": f"alert-{milliseconds}",
                "deviceId": "tower-1",
                "status": "open",
                "severity": "critical",
                "timestamp": milliseconds,
            }
        ],
        "unknown": {"kind": "heartbeat", "timestamp": milliseconds},
    }


class Body(httpx.AsyncByteStream):
    """The body of one request, in three pieces, so that a chunked one has several
    chunks.

    httpx's own is an async generator. A request that is cancelled while it is being
    sent leaves that half-way, and trio warns of it; the cloud is closed in the middle
    of requests as a matter of course.
    """

    def __init__(self, content: bytes) -> None:
        third = len(content) // 3 + 1
        self._pieces = iter(
            [content[start : start + third] for start in range(0, len(content), third)]
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


def oversized(size: int) -> bytes:
    """Return a JSON text of so many bytes that says nothing."""
    return b"[" + b" " * (size - 2) + b"]"
