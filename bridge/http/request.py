"""Requests out of bytes: where each begins and ends, and what is refused. Sans-IO.

    receive_data(bytes) ─▶ buffer ─▶ head ─▶ body ─▶ next_event()
                                           ─▶ Request | BadRequestError | Need

The same bytes give the same requests however they are cut. What follows a request stays
for the next one. After a bad request nothing more is read, because nobody knows where
the next one would begin.

The head is counted from its first byte to the empty line; a body is refused as soon as
its length is known to be too large, before it has arrived.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from bridge.api import Request
from bridge.http.chunked import ChunkedBody
from bridge.http.head import BadRequestError, Head, check_characters, parse_head
from bridge.http.settings import ListenerSettings


class Need(Enum):
    """What a reader needs before there can be a request."""

    DATA = "bytes from the peer"
    CONTINUE = "that the peer is sent 100 Continue: it waits with the body"


Incoming: TypeAlias = Request | BadRequestError | Need

_EMPTY_LINE = (b"", b"\r", b"\r\n")


class RequestReader:
    """The requests of one connection, one after the other."""

    __slots__ = (
        "_broken",
        "_buffer",
        "_chunks",
        "_head",
        "_peer",
        "_searched",
        "_settings",
        "keep_alive",
        "old",
    )

    def __init__(self, settings: ListenerSettings, peer: str = "") -> None:
        self._settings = settings
        self._peer = peer
        self._buffer = bytearray()
        self._searched = 0
        """Bytes of the buffer in which there is no end of a head."""
        self._head: Head | None = None
        self._chunks: ChunkedBody | None = None
        self._broken: BadRequestError | None = None
        self.keep_alive = False
        """Whether the peer wants to use the connection after the last request given."""
        self.old = False
        """Whether the last request given was HTTP/1.0."""

    @property
    def begun(self) -> bool:
        """Whether there is a part of a request that was not given yet."""
        return self._head is not None or self._buffer not in _EMPTY_LINE

    def receive_data(self, data: bytes | bytearray) -> None:
        if self._broken is None:
            self._buffer += data

    def next_event(self) -> Incoming:
        """Return the next request, or what is needed or wrong. Never raises."""
        if self._broken is not None:
            return self._broken
        try:
            return self._read()
        except BadRequestError as broken:
            # A new one, without the frames that led to this one.
            self._broken = BadRequestError(broken.status, broken.reason)
            self._buffer.clear()
            return self._broken

    def _read(self) -> Request | Need:
        head = self._head
        if head is None:
            raw = self._take_head()
            if raw is None:
                return Need.DATA
            head = parse_head(raw)
            self._begin_body(head)
            if head.expects_continue and not self._buffer and head.length != 0:
                self._head = head
                return Need.CONTINUE
        body = self._take_body(head)
        if body is None:
            self._head = head
            return Need.DATA
        self._head = self._chunks = None
        self.keep_alive = head.keep_alive
        self.old = head.old
        return Request(
            head.method,
            head.path,
            head.query,
            head.headers,
            body,
            self._peer,
            self._settings.content_limit,
        )

    def _take_head(self) -> bytes | None:
        buffer = self._buffer
        if not buffer:
            return None
        limit = self._settings.head_limit
        # One empty line before a request is forgiven: old clients send it after a body
        # (RFC 9112, 2.2).
        start = 2 if buffer.startswith(b"\r\n") else 0
        end = buffer.find(b"\r\n\r\n", max(start, self._searched - 3), limit)
        if end < 0:
            held = min(len(buffer), limit)
            check_characters(buffer, max(0, self._searched - 1), held)
            if held == limit:
                raise BadRequestError(431, f"a request line with headers larger than {limit} bytes")
            self._searched = held
            return None
        raw = bytes(buffer[start : end + 4])
        del buffer[: end + 4]
        self._searched = 0
        return raw

    def _begin_body(self, head: Head) -> None:
        limit = self._settings.body_limit
        if head.length is None:
            self._chunks = ChunkedBody(limit)
        elif head.length > limit:
            raise BadRequestError(
                413, f"a body of {head.length} bytes was announced, the limit is {limit}"
            )

    def _take_body(self, head: Head) -> bytes | None:
        buffer = self._buffer
        if self._chunks is not None:
            return bytes(self._chunks.body) if self._chunks.take(buffer) else None
        length = head.length
        if not length:
            return b""
        if len(buffer) < length:
            return None
        body = bytes(buffer[:length])
        del buffer[:length]
        return body
