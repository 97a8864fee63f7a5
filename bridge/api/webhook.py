"""Webhooks: what a source that is called by its vendor receives, and how it accepts.

A receive function is pure: it gets a :class:`Request`, verifies and decodes it, and
returns :class:`Accepted` or raises :class:`~bridge.api.errors.HttpRejection`. The core
stores the events and answers afterwards; if they cannot be stored the answer is 503
with ``Retry-After``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

from attrs import frozen

from bridge.api.errors import HttpRejection
from bridge.api.events import Event
from bridge.api.former import warn_of_former_name


@frozen
class Request:
    """One HTTP request, complete."""

    method: str
    """Upper case."""
    path: str
    """As sent, without the query, still percent-encoded."""
    query: str
    """As sent, without the ``?``."""
    headers: Mapping[str, tuple[str, ...]]
    """Lower-case name to all values in the order sent, decoded as Latin-1."""
    body: bytes
    """As received: after the transfer encoding, before the content encoding."""
    peer: str = ""
    """Address of the caller, for the log."""
    max_content: int = 8 << 20
    """Bytes that :meth:`content` may return at most."""

    @property
    def most_content(self) -> int:
        """What ``max_content`` was called in version 1.0."""
        warn_of_former_name("bridge.api.Request.most_content", "max_content")
        return self.max_content

    def content(self) -> bytes:
        """Return the body after its ``Content-Encoding``: none, ``identity``, ``gzip``
        or ``deflate``.

        :raises HttpRejection: 415 for another encoding, 400 for broken data, 413 above
            ``max_content``.
        """
        encodings = self.headers.get("content-encoding", ())
        encoding = encodings[0].strip().lower() if encodings else "identity"
        if encoding == "identity" or not encoding:
            if len(self.body) > self.max_content:
                raise HttpRejection(413, f"the body is larger than {self.max_content} bytes")
            return self.body
        if len(encodings) > 1 or encoding not in ("gzip", "x-gzip", "deflate"):
            raise HttpRejection(415, "a Content-Encoding that is neither gzip nor deflate")
        inflate = zlib.decompressobj(wbits=47)  # gzip or zlib, told apart by their first bytes
        try:
            content = inflate.decompress(self.body, self.max_content + 1)
        except zlib.error as exc:
            raise HttpRejection(400, f"the {encoding} body cannot be decompressed: {exc}") from exc
        if len(content) > self.max_content:
            raise HttpRejection(
                413, f"the body is larger than {self.max_content} bytes when decompressed"
            )
        if not inflate.eof or inflate.unused_data:
            raise HttpRejection(400, f"the {encoding} body is cut off or followed by other bytes")
        return content


@frozen
class Response:
    """What is sent back."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    """``Content-Length`` and ``Date`` are added by the server."""


@frozen
class Accepted:
    """A request was verified and decoded: store these events, then answer."""

    events: tuple[Event, ...] = ()
    answer: Response = Response()


Receive: TypeAlias = Callable[[Request], Accepted]


class Mount(Protocol):
    """Put a receive function on a path of the source's listener, for as long as the
    block is entered.
    """

    def __call__(
        self, path: str, receive: Receive, *, methods: tuple[str, ...] = ("POST",)
    ) -> AbstractContextManager[None]:
        """Mount. The path must be one of those that the kind's ``paths`` named for
        these settings.

        ``GET`` implies ``HEAD``; other methods are answered 405 with ``Allow``.
        """
        ...
