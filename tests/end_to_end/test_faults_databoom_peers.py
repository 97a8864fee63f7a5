"""What may be behind the address of Databoom instead of it, against the whole bridge:
silence, noise, half an answer.

The table of ``test_faults_databoom.py`` holds what Databoom itself may answer.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.end_to_end.databoom_world import SINK, TOKEN, World, open_world

D1, D2 = ("d1", "t", 1), ("d1", "t", 2)

pytestmark = [
    pytest.mark.slow,
    # httpx leaves the body of a request behind, where its connection breaks
    pytest.mark.filterwarnings("ignore:Async generator 'httpx._content.ByteStream:ResourceWarning"),
]


async def silent(stream: trio.SocketStream) -> None:
    async for _ in stream:
        pass


async def close(stream: trio.SocketStream) -> None:
    await trio.lowlevel.checkpoint()


async def reset(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half(answer: bytes) -> Callable[[trio.SocketStream], Awaitable[None]]:
    """Say this much and nothing more, but go on listening."""

    async def say(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.send_eof()
        await silent(stream)

    return say


def open_ended(answer: bytes, again: bytes = b"") -> Callable[[trio.SocketStream], Awaitable[None]]:
    """Say this much, and then ``again`` for ever, or nothing."""

    async def say(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        while again:
            await stream.send_all(again)
        await silent(stream)

    return say


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKE = "Databoom cannot be reached"
LONG = "no answer of Databoom within 5 s (request_timeout)"
PEERS = [
    ("silent", silent, LONG),
    ("closes", close, BROKE),
    ("resets", reset, BROKE),
    ("half-closed-in-status", half(b"HTTP/1.1 20"), BROKE),
    ("half-closed-in-body", half(HEAD + b'{"mess'), BROKE),
    ("half-open-in-status", open_ended(b"HTTP/1.1 20"), LONG),
    ("half-open-in-body", open_ended(HEAD + b'{"mess'), LONG),
    ("other-protocol", half(b"SSH-2.0-OpenSSH_9.6\r\n"), BROKE),
    ("endless-head", open_ended(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000), BROKE),
    ("endless-body", open_ended(CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n"), LONG),
]


class Relay:
    """A port behind which something else is, until it is mended: then Databoom."""

    def __init__(self, broken: Callable[[trio.SocketStream], Awaitable[None]]) -> None:
        self.begun = 0
        self.world: World | None = None
        self._broken = broken

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            self.begun += 1
            try:
                if self.world is None:
                    await self._broken(stream)
                else:
                    await self._pass_on(stream, self.world)
            except trio.BrokenResourceError:
                pass

    async def _pass_on(self, stream: trio.SocketStream, world: World) -> None:
        port = int(world.emulator.url.split(":")[2].split("/")[0])
        async with (
            await trio.open_tcp_stream("127.0.0.1", port) as databoom,
            trio.open_nursery() as ways,
        ):

            async def pipe(source: trio.SocketStream, target: trio.SocketStream) -> None:
                async for piece in source:
                    await target.send_all(piece)
                ways.cancel_scope.cancel()

            ways.start_soon(pipe, stream, databoom)
            ways.start_soon(pipe, databoom, stream)


@asynccontextmanager
async def open_relay(relay: Relay) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, relay.serve, listeners)
        yield f"http://127.0.0.1:{port}/v1/signals/push"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("peer", "says"), [peer[1:] for peer in PEERS], ids=[peer[0] for peer in PEERS]
)
async def test_what_is_no_databoom_is_tried_again_until_it_is_one(
    tmp_path: Path, mock_clock: MockClock, peer: Any, says: str
):
    relay = Relay(peer)
    async with (
        open_relay(relay) as url,
        open_world(tmp_path, mock_clock, url=url, settings="request_timeout = 5s") as world,
    ):
        await world.emit(D1, D2)
        while SINK not in world.board.problems:
            await wait_all_tasks_blocked(0.01) if says == BROKE else await pass_a_timeout(world)
        await world.says(SINK, f"fails: {says}", problem=True)
        await world.account(pending=2)
        relay.world = world
        world.pass_time(6)
        await world.account(delivered=2)
        await world.clean()
        assert set(world.recorded.items()) == {(D1, 1), (D2, 1)}
    world.audited(delivered=2)


async def pass_a_timeout(world: World) -> None:
    with trio.move_on_after(0.05):
        await world.board.changed.wait()
    world.pass_time(6)


async def test_nobody_listening_is_tried_again(tmp_path: Path, mock_clock: MockClock):
    async with open_world(tmp_path, mock_clock, run=False) as world:
        with socket.socket() as bound:  # and nobody listens
            bound.bind(("127.0.0.1", 0))
            world.configure(
                f"url = http://127.0.0.1:{bound.getsockname()[1]}/v1/signals/push\ntoken = {TOKEN}"
            )
            async with world.running():
                await world.emit(D1, D2)
                await world.says(SINK, "fails: Databoom cannot be reached", problem=True)
        world.audited(pending=2)
        world.configure(f"url = {world.emulator.url}\ntoken = {TOKEN}")
        async with world.running():
            await world.account(delivered=2)
            await world.clean()
    world.audited(delivered=2)


async def test_a_certificate_is_refused_until_ca_file_is_right(
    tmp_path: Path, mock_clock: MockClock
):
    right, wrong = trustme.CA(), trustme.CA()
    tls = server_tls(right)
    for name, authority in (("right", right), ("wrong", wrong)):
        authority.cert_pem.write_to_path(str(tmp_path / f"{name}.pem"))
    async with open_world(tmp_path, mock_clock, tls=tls, run=False) as world:
        sink = f"url = {world.emulator.url}\ntoken = {TOKEN}\nca_file = {tmp_path}"
        world.configure(f"{sink}/wrong.pem")
        async with world.running():
            await world.emit(D1)
            await world.says(SINK, "paused: the certificate of Databoom is refused", problem=True)
        assert world.emulator.requests == []
        world.configure(f"{sink}/right.pem")
        async with world.running():
            await world.account(delivered=1)
            await world.clean()
    world.audited(delivered=1)


def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context
