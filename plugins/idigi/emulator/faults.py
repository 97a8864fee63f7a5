"""The ways in which the emulator can misbehave. Tests set them while it runs.

``Emulator.faults`` holds for every session; ``faults.sessions`` has one for each of the
next logins; the ``faults`` of an attachment (``monitor.attachments[0].faults``) hold
for that session; ``blocks`` has one for each of the next blocks, ``rest`` an answer for
each of the next calls.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import define, field

from bridge.api import Response
from bridge.testing.http_server import HangUp

BlockFault: TypeAlias = Literal[
    # how the payload is packed; these compress even where the monitor does not
    "gzip",
    "raw-deflate",
    "corrupt",
    "truncated",
    "trailing",
    "bomb",
    # documents that cannot be read
    "broken-json",
    "broken-xml",
    "doctype",
    "not-utf8",
    "deep",
    "long-number",
    "no-document",
    # documents of another shape; JSON only
    "not-an-object",
    "bare-msg",
    "bare-event",
    # numbers of the frame
    "wrong-count",
    "wrong-payload-size",
    "unknown-compression",
    "unknown-format",
    "oversized",
    "short-size",
    "no-block-id",
    "same-id",
    "odd-id",
    # frames beside it
    "repeated",
    "duplicate",
    "unknown-frame",
    "oversized-unknown",
    "second-answer",
    "keep-alive",
    "keep-alive-text",
    "keep-alive-object",
    "keep-alive-list",
]

LoginFault: TypeAlias = Literal[
    "answered",
    "silent",
    "short",
    "long",
    "twice",
    "other-version",
    "block-first",
    "unknown-first",
    "closed",
]


@define
class Faults:
    """Knobs. At their defaults the emulator behaves."""

    fragment: int = 0
    """Bytes in one write; 0 writes whole frames."""
    coalesce: bool = False
    """Whatever is ready goes in one write: the answer to the login and all blocks, in
    one TLS record if they fit.
    """
    unknown_frames: bool = False
    """A frame of an unknown type precedes each block."""
    gzip: bool = False
    """The gzip container instead of zlib."""
    blocks: list[BlockFault] = field(factory=list)
    """One for each of the next blocks, taken from the front. Keep-alives,
    ``unknown-frame``, ``oversized-unknown`` and ``second-answer`` come before the
    block; ``duplicate`` (as a new block) and ``repeated`` (the same frame) after.
    """
    bomb: int = 4 << 20
    """Bytes to which the block of ``bomb`` inflates."""
    login: LoginFault = "answered"
    """What follows a login. ``long`` has more than four bytes, ``twice`` is two
    answers, ``block-first`` a block before the answer, ``closed`` no answer.
    """
    login_delay: float = 0.0
    """Seconds before the answer to a login."""
    refuse: int | None = None
    """Status that every login is answered with."""
    keep_refused: bool = False
    """The connection stays open after a refusal."""
    drop: Literal["before-ack", "after-ack", "mid-frame"] | None = None
    """End the session once: after the next block without listening to its ack, after
    the next ack, or in a frame.
    """
    drop_how: Literal["close", "reset", "hold", "mute"] = "close"
    """How ``drop`` ends it: FIN, RST, or half-open, which the service has noticed
    (``hold``) or not (``mute``).
    """
    strict_acks: bool = False
    """Close at an ack of six bytes, and at one for a block that is not under way."""
    sessions: list[Faults] = field(factory=list)
    """One for each of the next logins, taken from the front, instead of these."""
    rest: list[Response | HangUp] = field(factory=list)
    """Given to the next REST calls instead of the real answer."""
    rest_delay: float = 0.0
    """Seconds before each answer to a REST call."""
    monitor_limit: int = 100
    """Monitors that the account may have."""
    unknown_monitor_status: int = 400
    """HTTP status of a read of an unknown monitor: 400, 404, or 200, always with a JSON
    list of errors.
    """

    def of_next_login(self) -> Faults:
        """The faults of a session that begins."""
        return self.sessions.pop(0) if self.sessions else self


def throttled(retry_after: str | None = None) -> Response:
    """Answer as the service does to too many calls."""
    headers = () if retry_after is None else (("Retry-After", retry_after),)
    return Response(429, b"", headers)


def gateway_error(status: int = 503) -> Response:
    """Answer as the gateways in front of the service do."""
    page = (
        f"<html><head><title>{status}</title></head><body><h1>Service "
        "Unavailable</h1></body></html>"
    )
    return Response(status, page.encode(), (("Content-Type", "text/html"),))
