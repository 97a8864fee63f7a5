"""Answers into bytes: one piece, so that one ``send_all`` and mostly one packet carries
it.

Most answers have no headers and no body; for them everything is ready, and made anew
once a second with the date.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

from bridge.api import Response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset({"connection", "content-length", "date", "transfer-encoding"})
_BODILESS = frozenset({204, 304})


def plain_response(status: int, *headers: tuple[str, str]) -> Response:
    """Return an answer of our own, whose body says the status in words."""
    body = f"{status} {_PHRASES.get(status, 'Refused')}\n".encode("ascii")
    return Response(status, body, (("Content-Type", "text/plain"), *headers))


class ResponseWriter:
    """Writes the answers of a server."""

    __slots__ = ("_clock", "_date", "_ready", "_second")

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        """Seconds since 1970."""
        self._second = -1
        self._date = b""
        self._ready: dict[tuple[int, str], bytes] = {}

    def write(self, answer: Response, *, connection: str = "", without_body: bool = False) -> bytes:
        """Return an answer as it goes over the line.

        :param connection: value of the header of this name; empty for none.
        :param without_body: the request was HEAD: everything but the body.
        :raises ValueError: for a status or a header that cannot be sent, or that the
            server itself decides.
        """
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._date = f"Date: {formatdate(second, usegmt=True)}\r\n".encode("ascii")
            self._ready.clear()
        if answer.headers or answer.body:
            head = self._head(answer, connection)
            return head if without_body or answer.status in _BODILESS else head + answer.body
        key = (answer.status, connection)
        ready = self._ready.get(key)
        if ready is None:
            ready = self._ready[key] = self._head(answer, connection)
        return ready

    def _head(self, answer: Response, connection: str) -> bytes:
        status = answer.status
        if not 200 <= status <= 599:
            raise ValueError(f"an answer with status {status}, expected 200 to 599")
        lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n"]
        for name, value in answer.headers:
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ValueError(
                    f"an answer with a header {name!r} that holds characters HTTP cannot carry"
                )
            if name.lower() in _OURS:
                raise ValueError(f"an answer with the header {name}, which the server decides")
            lines.append(f"{name}: {value}\r\n")
        if status not in _BODILESS:
            lines.append(f"Content-Length: {len(answer.body)}\r\n")
        if connection:
            lines.append(f"Connection: {connection}\r\n")
        return "".join(lines).encode("latin-1") + self._date + b"\r\n"
