"""Stand-in: the ways in which it can misbehave. Tests set them while it runs."""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import define, field

from bridge.api import Answer

BlockFault: TypeAlias = Literal[
    "raw-deflate",
    "corrupt",
    "truncated",
    "bomb",
    "broken-json",
    "not-an-object",
    "wrong-count",
    "wrong-payload-size",
    "keep-alive",
    "duplicate",
    "oversized",
]


@define
class Faults:
    """Knobs. At their defaults the stand-in behaves."""

    fragment: int = 0
    """Bytes in one write; 0 writes whole frames."""
    coalesce: bool = False
    """Whatever is ready goes in one write: the answer to the login and all blocks, in one TLS record if they fit."""
    unknown_frames: bool = False
    """A frame of an unknown type precedes each block."""
    gzip: bool = False
    """The gzip container instead of zlib."""
    blocks: list[BlockFault] = field(factory=list)
    """One for each of the next blocks, taken from the front. ``keep-alive`` and ``duplicate`` add a block."""
    bomb: int = 4 << 20
    """Bytes to which the block of ``bomb`` inflates."""
    login: Literal["answered", "silent", "short"] = "answered"
    login_delay: float = 0.0
    """Seconds before the answer to a login."""
    refuse: int | None = None
    """Status that every login is answered with."""
    drop: Literal["before-ack", "after-ack"] | None = None
    """Close the connection once: after the next block without listening to its ack, or after the next ack."""
    rest: list[Answer] = field(factory=list)
    """Given to the next REST calls instead of the real answer."""
    monitor_limit: int = 100
    """Monitors that the account may have."""
    unknown_monitor_status: int = 400
    """HTTP status of a read of an unknown monitor."""


def throttled(retry_after: str | None = None) -> Answer:
    """Answer as the service does to too many calls."""
    headers = () if retry_after is None else (("Retry-After", retry_after),)
    return Answer(429, b"", headers)


def gateway_error(status: int = 503) -> Answer:
    """Answer as the gateways in front of the service do."""
    page = f"<html><head><title>{status}</title></head><body><h1>Service Unavailable</h1></body></html>"
    return Answer(status, page.encode(), (("Content-Type", "text/html"),))
