"""What can go wrong with the emulator, and the log of what it was asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import orjson
from attrs import define, field, frozen

from bridge.api import HIDDEN, JSON, Request, Value


@frozen
class Fault:
    """What goes wrong with one request."""

    delay: float = 0.0
    """Seconds before anything happens."""
    cut: Literal["before", "after"] | None = None
    """Close the connection without an answer, before or after the values are stored."""
    status: int | None = None
    """Answer this and store nothing."""
    retry_after: int | datetime | None = None
    """Seconds, or a time that is sent as HTTP date."""
    location: str | None = None
    """Where a redirect leads."""
    body: bytes | None = None
    """This body instead of the usual one."""


@define
class Faults:
    """What goes wrong. Nothing, at first; may be changed at any time."""

    next: deque[Fault] = field(factory=deque)
    """One for each of the next pushes."""
    always: Fault | None = None
    """For every push that has none of its own."""
    reading: Fault | None = None
    """For every request that is no push."""
    poison: set[Value] = field(factory=set)
    """A push with such a value, or for such a signal, is refused with 400."""
    clock_skew: timedelta = timedelta(0)
    """How far the ``Date`` of answers is ahead."""

    def due(self, *, push: bool) -> Fault:
        """Return the fault of the next request; one of ``next`` is used up."""
        if not push:
            return self.reading or Fault()
        if self.next:
            return self.next.popleft()
        return self.always or Fault()


@frozen
class Logged:
    """A request as it came in. No token and no key is in it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int | None
    """What was answered; None if the connection was closed instead."""

    @property
    def json(self) -> JSON:
        """The body, parsed."""
        return orjson.loads(self.body)

    @classmethod
    def of(cls, request: Request, status: int | None) -> Logged:
        """Keep a request without its credentials."""
        headers = {name: ", ".join(values) for name, values in request.headers.items()}
        if "authorization" in headers:
            headers["authorization"] = f"Bearer {HIDDEN}"
        if "apikey" in headers:
            headers["apikey"] = HIDDEN
        return cls(request.method, request.path, headers, request.body, status)
