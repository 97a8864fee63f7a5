"""The HTTP server under the emulators: as faithful as a vendor's, and as hard to bring
down.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
import trustme

from bridge.api import Request, Response
from bridge.testing.http_server import Handler, HangUp, serve_http


async def echo(request: Request) -> Response:
    return Response(
        200, request.body or b"nothing", (("Content-Type", "text/plain"), ("X-Path", request.path))
    )


async def talk(url: str, *pieces: bytes) -> bytes:
    """Send bytes as they are, say that nothing follows; return all that comes back."""
    host, _, port = url.removeprefix("http://").partition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        for piece in pieces:
            await stream.send_all(piece)
        await stream.send_eof()
        return b"".join([bytes(part) async for part in stream])


@asynccontextmanager
async def serving(handler: Handler, **options: Any) -> AsyncIterator[str]:
    """Serve for a time that no test needs: what hangs must not hold up the others."""
    async with serve_http(handler, **options) as url:
        with trio.fail_after(10):
            yield url


async def test_a_request_reaches_the_handler_as_it_was_sent():
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response(204)

    async with serving(handler) as url, httpx.AsyncClient() as client:
        headers = [("X-Twice", "a"), ("x-twice", "b"), ("X-Odd", "caf\xe9".encode("latin-1"))]
        answer = await client.put(f"{url}/a%20b?c=%2F&d", content=b"body", headers=headers)  # type: ignore[arg-type]
    (request,) = seen
    assert answer.status_code == 204
    assert (request.method, request.path, request.query, request.body) == (
        "PUT",
        "/a%20b",
        "c=%2F&d",
        b"body",
    )
    assert request.headers["x-twice"] == ("a", "b")
    assert request.headers["x-odd"] == ("caf\xe9",)
    assert request.peer == "127.0.0.1"


async def test_a_connection_serves_one_request_after_the_other():
    async with serving(echo) as url:
        requests = [
            b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d" % (n, n)
            for n in range(3)
        ]
        answers = await talk(url, *requests)
        pipelined = await talk(url, b"".join(requests))
    for text in (answers, pipelined):
        assert text.count(b"HTTP/1.1 200") == 3
        assert [text.find(b"X-Path: /%d" % number) >= 0 for number in range(3)] == [True] * 3


async def test_a_chunked_body_is_put_together():
    async with serving(echo) as url:
        answer = await talk(
            url,
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            b"lo\r\n6;ext=1\r\n world\r\n0\r\nTrailer: t\r\n\r\n",
        )
    assert answer.endswith(b"\r\n\r\nhello world")


async def test_an_answer_to_head_has_the_length_but_no_body():
    async with serving(echo) as url:
        head = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
        answers = await talk(url, head, head)
    assert answers.count(b"content-length: 7\r\n") == 2
    assert b"nothing" not in answers


async def test_a_caller_that_asks_for_it_gets_its_connection_closed():
    async with serving(echo) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b"".join(
                [bytes(part) async for part in stream]
            )  # ends, although we never say so
    assert answer.endswith(b"nothing")


async def test_a_handler_that_hangs_up_concerns_its_caller_only():
    async def handler(request: Request) -> Response:
        if request.path == "/hang-up":
            raise HangUp
        return Response(200)

    async with serving(handler) as url, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await client.get(f"{url}/hang-up")
        assert (await client.get(url)).status_code == 200


async def test_a_caller_that_went_away_meanwhile_harms_nobody():
    gone = trio.Event()

    async def handler(request: Request) -> Response:
        if request.path == "/slow":
            await gone.wait()
            return Response(200, bytes(10_000_000))
        return Response(200)

    async with serving(handler) as url, httpx.AsyncClient() as client:
        reset_after(url, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        gone.set()
        assert (await client.get(url)).status_code == 200


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTT", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n12"]
)
async def test_a_connection_that_is_reset_harms_nobody(sent: bytes):
    async with serving(echo) as url, httpx.AsyncClient() as client:
        for _ in range(5):
            reset_after(url, sent)
        assert (await client.get(url)).status_code == 200


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n"]
)
async def test_what_is_no_request_ends_its_connection_and_no_other(sent: bytes):
    async with serving(echo) as url, httpx.AsyncClient() as client:
        assert await talk(url, sent) == b""
        assert (await client.get(url)).status_code == 200


def reset_after(url: str, sent: bytes) -> None:
    """Connect, send, and reset the connection instead of closing it."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(sent)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def test_slow_handlers_do_not_hold_each_other_up():
    both = trio.Event()
    waiting = 0

    async def handler(request: Request) -> Response:
        nonlocal waiting
        waiting += 1
        if waiting == 2:
            both.set()
        await both.wait()
        return Response(200)

    async with (
        serving(handler) as url,
        httpx.AsyncClient() as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(client.get, url)
        nursery.start_soon(client.get, url)
    assert waiting == 2


async def test_it_ends_with_its_block_although_a_caller_is_connected():
    async with serving(echo) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        assert await stream.receive_some() == b""
    with pytest.raises(OSError):
        await trio.open_tcp_stream(host, int(port))


async def test_over_tls_a_client_without_trust_harms_nobody():
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serving(echo, tls=context) as url:
        assert url.startswith("https://127.0.0.1:")
        async with httpx.AsyncClient() as stranger:
            with pytest.raises(httpx.ConnectError):
                await stranger.get(url)
        with pytest.raises(httpx.RemoteProtocolError):
            async with httpx.AsyncClient() as plain:
                await plain.get(url.replace("https", "http"))
        async with httpx.AsyncClient(verify=trusting) as client:
            assert [(await client.post(url, content=b"hello")).content for _ in range(2)] == [
                b"hello",
                b"hello",
            ]
