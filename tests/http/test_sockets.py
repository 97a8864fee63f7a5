"""The server over real sockets, with real clients."""

import http.client
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import attrs
import httpx
import pytest
import trio
import trustme

from bridge.api import Accepted, Duration, Event, NetworkAddress, Request, Response
from bridge.http.listeners import open_listeners
from bridge.http.routes import Routes
from bridge.http.server import serve
from bridge.http.settings import ListenerSettings
from bridge.http.tls import TlsContext
from bridge.http.webhooks import webhooks

SETTINGS = ListenerSettings(address=NetworkAddress("127.0.0.1", 0))
AUTHORITY = trustme.CA()
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


async def echo(request: Request) -> Response:
    return Response(200, request.body or request.peer.encode(), (("X-Method", request.method),))


@asynccontextmanager
async def serving(handle=echo, *, tls: TlsContext | None = None, **changes) -> AsyncIterator[int]:
    """Serve on a free port of 127.0.0.1, and give it."""
    settings = attrs.evolve(SETTINGS, **changes)
    async with open_listeners(settings.address, {}) as listeners, trio.open_nursery() as nursery:
        await nursery.start(partial(serve, listeners, handle, settings, grace=1.0, tls=tls))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


class Files:
    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "fullchain.pem"
        self.key = folder / "privkey.pem"
        self.renew()

    def renew(self) -> None:
        issued = AUTHORITY.issue_cert("localhost", "127.0.0.1")
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())


@pytest.fixture
def files(tmp_path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


async def test_a_webhook_by_httpx_is_stored_before_it_is_answered(files, trust):
    stored: list[Event] = []

    class Outlet:
        async def emit(self, *events: Event) -> None:
            await trio.lowlevel.checkpoint()
            stored.extend(events)

    def receive(request: Request) -> Accepted:
        return Accepted(
            (Event(request.body.decode(), "device", "test", datetime(2025, 1, 1, tzinfo=UTC)),)
        )

    routes = Routes()
    routes.declare("/hook", "sensors")
    handle = webhooks(routes, commit_timeout=8.0)
    tls = TlsContext(files.certificate, files.key)
    with routes.mounting("sensors", Outlet())("/hook", receive):
        async with serving(handle, tls=tls) as port, httpx.AsyncClient(verify=trust) as client:
            for key in ("one", "two"):
                answer = await client.post(f"https://localhost:{port}/hook", content=key)
                assert answer.status_code == 200
            assert [event.key for event in stored] == ["one", "two"]
            assert (await client.get(f"https://localhost:{port}/hook")).headers["allow"] == "POST"
            assert (await client.post(f"https://localhost:{port}/")).text == "404 Not Found\n"


async def test_httpx_streams_a_chunked_body():
    async def pieces():
        for piece in (b"a" * 70_000, b"b" * 70_000):
            yield piece

    async with serving() as port, httpx.AsyncClient() as client:
        answer = await client.post(f"http://127.0.0.1:{port}/", content=pieces())
        assert answer.content == b"a" * 70_000 + b"b" * 70_000


def call_with_http_client(port: int) -> list[tuple[int, str | None, bytes]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    found = []
    for method, body in (
        ("POST", b"x" * 1000),
        ("HEAD", None),
        ("PUT", iter([b"a", b"b"])),
        ("GET", None),
    ):
        connection.request(method, "/", body=body, encode_chunked=True)
        answer = connection.getresponse()
        found.append((answer.status, answer.getheader("X-Method"), answer.read()))
    connection.close()
    return found


async def test_http_client_of_the_standard_library_is_served():
    async with serving() as port:
        assert await trio.to_thread.run_sync(call_with_http_client, port) == [
            (200, "POST", b"x" * 1000),
            (200, "HEAD", b""),
            (200, "PUT", b"ab"),
            (200, "GET", b"127.0.0.1"),
        ]


def send_far_too_much(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("POST", "/", body=b"x" * (4 << 20))  # sends all of it before it listens
    status = connection.getresponse().status
    connection.close()
    return status


async def test_a_client_that_sends_far_too_much_still_hears_413():
    async with serving() as port:
        assert await trio.to_thread.run_sync(send_far_too_much, port) == 413


async def answered(port: int) -> bool:
    async with httpx.AsyncClient() as client:
        return (await client.post(f"http://127.0.0.1:{port}/", content=b"x")).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"POST /", GET * 50, b"\x16\x03\x01\x00\x00"])
async def test_a_storm_of_reset_connections_leaves_the_server_alive(caplog, sent):
    async with serving() as port:
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", port)) as one:
                one.sendall(sent)
                one.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )  # close() resets
            await trio.lowlevel.checkpoint()
        assert await answered(port)
    assert "Traceback" not in caplog.text


async def test_a_renewed_certificate_is_served_to_new_connections(files, trust):
    tls = TlsContext(files.certificate, files.key)

    async def connect() -> trio.SSLStream:
        return await trio.open_ssl_over_tcp_stream(
            "localhost", port, https_compatible=True, ssl_context=trust
        )

    async def ask(stream: trio.SSLStream) -> bytes:
        await stream.send_all(GET)
        answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 200 ")
        return stream.getpeercert(binary_form=True)

    async with (
        open_listeners(NetworkAddress("localhost", 0), {}) as listeners,
        trio.open_nursery() as nursery,
    ):
        del listeners[1:]
        port = listeners[0].socket.getsockname()[1]
        await nursery.start(partial(serve, listeners, echo, SETTINGS, grace=1.0, tls=tls))
        async with await connect() as old:
            first = await ask(old)
            files.renew()
            tls.reload()
            async with await connect() as new:
                assert await ask(new) != first
            assert await ask(old) == first
        nursery.cancel_scope.cancel()


async def test_whoever_does_not_speak_tls_is_let_go_others_are_served(files, trust, caplog):
    caplog.set_level("INFO")
    async with serving(tls=TlsContext(files.certificate, files.key)) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as plain:
            await plain.send_all(GET)
            async for _alert in plain:
                pass
        async with httpx.AsyncClient(verify=trust) as client:
            assert (await client.post(f"https://127.0.0.1:{port}/", content=b"x")).text == "x"
    assert "no TLS connection with 127.0.0.1" in caplog.text


async def test_a_handshake_that_stalls_is_cut_off(files):
    tls = TlsContext(files.certificate, files.key)
    async with serving(tls=tls, handshake_timeout=Duration(0.1)) as port:
        silent = await trio.open_tcp_stream("127.0.0.1", port)
        with trio.fail_after(5):
            assert await silent.receive_some() == b""
        await silent.aclose()


async def test_a_request_over_tls_that_stalls_is_answered_408(files, trust):
    async with serving(
        tls=TlsContext(files.certificate, files.key), request_timeout=Duration(0.2)
    ) as port:
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", port, https_compatible=True, ssl_context=trust
        )
        async with stream:
            await stream.send_all(GET[:-1])
            with trio.fail_after(5):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 408 ")
                assert await stream.receive_some() == b""


async def test_above_the_limit_there_is_no_handshake(files):
    tls = TlsContext(files.certificate, files.key)
    async with serving(tls=tls, connections=1) as port:
        first, second = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
        with trio.fail_after(5):
            assert await second.receive_some() == b""
        await first.aclose()
        await second.aclose()


async def test_a_caller_over_a_unix_socket_has_no_address(tmp_path):
    with socket.socket(socket.AF_UNIX) as raw:
        raw.bind(str(tmp_path / "bridge.sock"))
        raw.listen()
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(raw))
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, [listener], echo, SETTINGS, grace=1.0))
            transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "bridge.sock"))
            async with httpx.AsyncClient(transport=transport) as client:
                assert (await client.get("http://bridge/")).content == b""
            nursery.cancel_scope.cancel()
