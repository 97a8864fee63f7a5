"""A far side that refuses everything, and repeats in its refusal whatever it was sent.

    /s400-...   answers this status to everything below this path
    /nice-...   makes and forgets monitors, and hands out access tokens, so that a
                client goes on to what comes next
    /...        answers one status after the other

The push port reads a login, repeats it in one form after the other, and hangs up.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import orjson
import trio
from attrs import define, field

from bridge.api import Request, Response
from bridge.testing.http_server import serve_http

STATUSES = (400, 500, 401, 302, 200, 429, 404, 413, 403)
LONGEST_EXCERPT = 200  # characters: where most clients cut what they were answered

_HEADER = struct.Struct(">HI")
_CONNECT_RESPONSE, _PUBLISH, _UNKNOWN = 2, 3, 9


@define(eq=False)
class FarSide:
    """Where everything ends up."""

    url: str = ""
    push_port: int = 0
    heard: list[str] = field(factory=list)
    """Requests and logins, whole."""
    requests: Counter[str] = field(factory=Counter)
    """By the first part of their path."""
    logins: int = 0
    changed: trio.Event = field(factory=trio.Event)
    _pads: Iterator[int] = field(factory=lambda: count(0, 7))

    def note(self, text: str) -> None:
        self.heard.append(text)
        self.changed.set()
        self.changed = trio.Event()

    async def handle(self, request: Request) -> Response:
        """Answer an HTTP request."""
        lines = [f"{request.method} {request.path}?{request.query}"]
        lines += [
            f"{name}: {value}" for name, values in request.headers.items() for value in values
        ]
        path = re.sub(r"^http://[^/]*", "", request.path)  # whole where it is the proxy
        begin = path.partition("/")[2].partition("/")[0]  # nothing in a CONNECT
        self.requests[begin] += 1
        self.note("\n".join([*lines, request.body.decode("utf-8", "replace")]))
        if begin.startswith("nice"):
            return _nice(request)
        match = re.match(r"s(\d+)", begin)
        status = int(match[1]) if match else STATUSES[self.requests[begin] % len(STATUSES)]
        if request.method == "CONNECT":
            status = 407
        # What is secret comes first; on every second try it begins where clients cut
        # the text, so that a part is left.
        secret = [line.partition(": ")[2] for line in lines if re.match("auth|apikey|x-", line)]
        pad = LONGEST_EXCERPT - 10 - next(self._pads) % 40 if self.requests[begin] % 2 else 0
        echo = "." * pad + " ".join([*secret, *lines, *re.findall(r"[!-~]+", self.heard[-1])])
        body = orjson.dumps({"message": echo, "error": echo, "error_description": echo})
        headers = (
            ("Location", f"http://127.0.0.1:1/{'/'.join(secret)}"),
            ("Link", f'<http://127.0.0.1:1/{"/".join(secret)}>; rel="next"'),
            ("Retry-After", "0"),
        )
        return Response(status, body, tuple((name, value[:2000]) for name, value in headers))

    async def serve_push(self, stream: trio.SocketStream) -> None:
        """Answer a login of the push port."""
        received = b""
        try:
            while (
                len(received) < _HEADER.size
                or len(received) < _HEADER.size + _HEADER.unpack_from(received)[1]
            ):
                received += (piece := await stream.receive_some(65536))
                if not piece:
                    return
            text = received[_HEADER.size :].decode("latin-1")
            echo = f"refused: {text}".encode()
            self.logins += 1
            self.note(text)
            attached = _frame(_CONNECT_RESPONSE, struct.pack(">HH", 200, 1) + echo)
            forms = (
                _frame(_UNKNOWN, echo),
                b"HTTP/1.1 400 Bad Request\r\n\r\n" + echo,
                attached + _frame(_PUBLISH, struct.pack(">HHBBI", 7, 1, 1, 1, len(echo)) + echo),
                attached + _frame(_PUBLISH, struct.pack(">HHBBI", 8, 1, 0, 1, len(echo)) + echo),
                _frame(_CONNECT_RESPONSE, struct.pack(">HH", 403, 1) + echo),
            )
            await stream.send_all(forms[self.logins % len(forms)])
        except trio.BrokenResourceError:
            pass
        finally:
            await stream.aclose()


def _frame(kind: int, body: bytes) -> bytes:
    return _HEADER.pack(kind, len(body)) + body


def _nice(request: Request) -> Response:
    if request.method == "POST" and request.path.endswith("/ws/Monitor"):
        return Response(201, b"", (("Location", "/ws/Monitor/178008"),))
    token = {"access_token": "a-token-of-the-far-side", "token_type": "Bearer", "expires_in": 3600}
    return Response(
        200, orjson.dumps({"items": [], "resultSize": "0", "remainingSize": "0", **token})
    )


@asynccontextmanager
async def hostile_far_side() -> AsyncIterator[FarSide]:
    """Serve HTTP and the push port on loopback while the block is entered."""
    far_side = FarSide()
    async with serve_http(far_side.handle) as far_side.url, trio.open_nursery() as pushing:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        far_side.push_port = listeners[0].socket.getsockname()[1]
        await pushing.start(trio.serve_listeners, far_side.serve_push, listeners)
        yield far_side
        pushing.cancel_scope.cancel()
