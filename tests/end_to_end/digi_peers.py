"""What stands around a Digi session in tests: certificates, another client, and ports
that are not what they seem.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import trio
import trustme
from attrs import define, frozen

from bridge_plugins.idigi.emulator.push.server import serve_push
from bridge_plugins.idigi.emulator.server import Emulator


@frozen
class Authority:
    """Who signs the certificates of a test."""

    ca: trustme.CA
    file: Path

    @classmethod
    def made(cls, folder: Path) -> Self:
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        return cls(ca, folder / "ca.pem")

    def tls(self, *names: str) -> ssl.SSLContext:
        """Give a server's context, with a certificate for these names."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.file)


@asynccontextmanager
async def serving_push(digi: Emulator, tls: ssl.SSLContext, *, port: int = 0) -> AsyncIterator[int]:
    """Serve the push port of an emulator once more, with another certificate; gives the
    port.
    """
    async with serve_push(digi.account, digi.faults, port=port, tls=tls) as bound:
        yield bound


@frozen
class Rival:
    """Another client at our monitor. It acknowledges nothing."""

    stream: trio.SSLStream[trio.SocketStream]

    @classmethod
    @asynccontextmanager
    async def connected(
        cls, digi: Emulator, tls: ssl.SSLContext, monitor: int
    ) -> AsyncIterator[Self]:
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", digi.push_port, ssl_context=tls, https_compatible=True
        )
        async with stream:
            await stream.send_all(b"\0\1\0\0\0\x12\0\1\0\4user\0\4pass" + monitor.to_bytes(4))
            yield cls(stream)

    async def status(self) -> int:
        answer = b""
        while len(answer) < 10:
            answer += await self.stream.receive_some(10 - len(answer))
        return int.from_bytes(answer[6:8])


@define(eq=False)
class Listener:
    """A port without TLS, and what it heard."""

    port: int
    heard: bytes = b""


@asynccontextmanager
async def listening(says: bytes) -> AsyncIterator[Listener]:
    """Listen in clear text; says this to whoever has spoken, and then listens on."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            listener.heard += await stream.receive_some(10_000)
            await stream.send_all(says)
            while more := await stream.receive_some(10_000):
                listener.heard += more
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as connections:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener = Listener(listeners[0].socket.getsockname()[1])
        await connections.start(trio.serve_listeners, serve, listeners)
        yield listener
        connections.cancel_scope.cancel()
