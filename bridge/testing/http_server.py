"""A small HTTP server on h11, for emulators:

not the bridge's own, so that the two cannot share a mistake.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import h11
import trio

from bridge.api import Request, Response


class HangUp(Exception):
    """Raised by an emulator's handler:

    close the connection without (the rest of) an answer.
    """


Handler = Callable[[Request], Awaitable[Response]]


@asynccontextmanager
async def serve_http(
    handler: Handler, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve HTTP/1.1 on 127.0.0.1 while the block is entered; gives the base URL
    without a trailing slash.

    Keep-alive and chunked bodies are understood. The handler may sleep, and may raise
    :class:`HangUp`.
    """
    async with trio.open_nursery() as connections:
        listeners: list[trio.SocketListener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
        serve = partial(_serve_connection, handler, tls)
        await connections.start(partial(trio.serve_listeners, serve, listeners))
        bound = listeners[0].socket.getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{bound}"
        connections.cancel_scope.cancel()


async def _serve_connection(
    handler: Handler, tls: ssl.SSLContext | None, stream: trio.SocketStream
) -> None:
    transport: trio.abc.Stream = stream
    if tls is not None:
        transport = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
    try:
        await _serve_requests(handler, transport, _address(stream))
    except (
        h11.RemoteProtocolError,
        trio.BrokenResourceError,
        trio.ClosedResourceError,
        HangUp,
        ssl.SSLError,
    ):
        pass  # the caller went away, or was hung up on
    finally:
        await trio.aclose_forcefully(transport)


def _address(stream: trio.SocketStream) -> str:
    """Return the address of the caller; empty if it has gone already."""
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return ""


async def _serve_requests(handler: Handler, stream: trio.abc.Stream, peer: str) -> None:
    connection = h11.Connection(h11.SERVER)
    while True:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(65536)))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return  # closed between requests
        assert head is not None
        answer = await handler(_request(head, bytes(body), peer))
        headers = [*answer.headers, ("content-length", str(len(answer.body)))]
        out = (
            connection.send(h11.Response(status_code=answer.status, headers=headers, reason=b"-"))
            or b""
        )
        if head.method != b"HEAD":
            out += connection.send(h11.Data(data=answer.body)) or b""
        out += connection.send(h11.EndOfMessage()) or b""
        await stream.send_all(out)
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            return
        connection.start_next_cycle()


def _request(head: h11.Request, body: bytes, peer: str) -> Request:
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in head.headers:
        key = name.decode("latin-1")
        headers[key] = (*headers.get(key, ()), value.decode("latin-1"))
    path, _, query = head.target.decode("latin-1").partition("?")
    return Request(head.method.decode("ascii"), path, query, headers, body, peer)
