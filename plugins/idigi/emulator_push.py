"""Stand-in: the push port.

    login ─▶ answer ─▶ ┌ send blocks as they fill or fall due
                       └ read acks, of ten bytes or six          one task each, for one connection

Written from the vendor documentation, not from the client of this plugin.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio
from attrs import define, field, frozen

from bridge_plugins.idigi.emulator_account import Account, Monitor, Waiting
from bridge_plugins.idigi.emulator_faults import BlockFault, Faults

KEEP_ALIVE = b'{"Document":null}'


class BadFrame(Exception):
    """The client does not keep to the protocol."""


class GoneAway(Exception):
    """The connection is to be closed now."""


@frozen
class Login:
    """What a client logs in with."""

    username: bytes
    password: bytes
    monitor_id: int


@asynccontextmanager
async def serve_push(
    account: Account, faults: Faults, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve the push protocol on 127.0.0.1 while the block is entered; gives the port."""
    async with trio.open_nursery() as connections:
        listeners: list[trio.SocketListener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
        serve = partial(_serve_connection, account, faults, tls)
        await connections.start(partial(trio.serve_listeners, serve, listeners))
        yield int(listeners[0].socket.getsockname()[1])
        connections.cancel_scope.cancel()


async def _serve_connection(
    account: Account, faults: Faults, tls: ssl.SSLContext | None, connection: trio.SocketStream
) -> None:
    stream: trio.abc.Stream = connection
    if tls is not None:
        stream = trio.SSLStream(connection, tls, server_side=True, https_compatible=True)
    try:
        await _log_in_and_serve(account, faults, stream)
    except* BadFrame:
        account.books.protocol_errors += 1
    except* (trio.BrokenResourceError, trio.ClosedResourceError, GoneAway):
        pass  # clients come and go, and are killed
    finally:
        await trio.aclose_forcefully(stream)
        account.books.changed()


async def _log_in_and_serve(account: Account, faults: Faults, stream: trio.abc.Stream) -> None:
    inlet = _Inlet(stream)
    login = await _read_login(inlet)
    account.books.logins += 1
    account.books.changed()
    if faults.login_delay:
        await trio.sleep(faults.login_delay)
    if faults.login == "silent":
        await trio.sleep_forever()
    if faults.login == "short":
        await stream.send_all(_frame(2, (200).to_bytes(2, "big")))
        raise GoneAway
    status = _status(account, faults, login)
    answer = _frame(2, status.to_bytes(2, "big") + (1).to_bytes(2, "big"))
    if status != 200:
        account.books.refusals += 1
        await stream.send_all(answer)
        raise GoneAway
    monitor = account.monitors[login.monitor_id]
    await monitor.cut_off()  # a new session replaces the old one (assumed)
    await _Session(monitor, faults, stream, inlet, answer).serve()


def _status(account: Account, faults: Faults, login: Login) -> int:
    if faults.refuse is not None:
        return faults.refuse
    if (login.username, login.password) != (account.username.encode(), account.password.encode()):
        return 403
    monitor = account.monitors.get(login.monitor_id)
    return 200 if monitor is not None and monitor.elements.get("monTransportType") == "tcp" else 400


@define
class _Inlet:
    """Reads exact numbers of bytes."""

    stream: trio.abc.Stream
    buffer: bytearray = field(factory=bytearray)

    async def take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            data = await self.stream.receive_some(65536)
            if not data:
                raise GoneAway
            self.buffer += data
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    async def number(self, size: int) -> int:
        return int.from_bytes(await self.take(size), "big")


async def _read_login(inlet: _Inlet) -> Login:
    if await inlet.number(2) != 1:
        raise BadFrame
    size = await inlet.number(4)
    version = await inlet.number(2)
    username = await inlet.take(await inlet.number(2))
    password = await inlet.take(await inlet.number(2))
    monitor_id = await inlet.number(4)
    if version != 1 or size != 10 + len(username) + len(password):
        raise BadFrame
    return Login(username, password, monitor_id)


@define(eq=False)
class _Session:
    monitor: Monitor
    faults: Faults
    stream: trio.abc.Stream
    inlet: _Inlet
    answer: bytes
    unacked: dict[int, list[Waiting]] = field(factory=dict)
    sent_blocks: int = 0

    async def serve(self) -> None:
        books = self.monitor.books
        try:
            async with trio.open_nursery() as halves:
                self.monitor.attach(halves.cancel_scope.cancel)
                books.changed()
                halves.start_soon(self._send_blocks)
                halves.start_soon(self._read_acks)
        finally:
            self.monitor.detach(event for block in self.unacked.values() for event in block)
            books.changed()

    async def _send_blocks(self) -> None:
        held = self.answer
        if not (self.faults.coalesce and self.monitor.queue):
            await self._write(held)
            held = b""
        while True:
            block = await self.monitor.next_block()
            out = held + self._frames(block)
            held = b""
            while self.faults.coalesce and self.monitor.ready():
                out += self._frames(self.monitor.take())
            await self._write(out)
            self.monitor.books.changed()
            if self.faults.drop == "before-ack":
                self.faults.drop = None
                raise GoneAway

    async def _write(self, data: bytes) -> None:
        step = self.faults.fragment or len(data)
        for start in range(0, len(data), step):
            await self.stream.send_all(data[start : start + step])

    def _frames(self, block: list[Waiting]) -> bytes:
        """Write the frames of a block, and note that it was sent."""
        fault = self.faults.blocks.pop(0) if self.faults.blocks else None
        out = _frame(0x0999, b"nobody knows this") if self.faults.unknown_frames else b""
        if fault == "keep-alive":
            out += self._frame_of([], KEEP_ALIVE, None)
        out += self._frame_of(block, document_of(block, fault), fault)
        if fault == "duplicate":
            out += self._frame_of(block, document_of(block, None), None)
        return out

    def _frame_of(self, block: list[Waiting], document: bytes, fault: BlockFault | None) -> bytes:
        block_id = self.sent_blocks & 0xFFFF
        self.sent_blocks += 1
        books = self.monitor.books
        books.blocks += 1
        books.sent.update(event.id for event in block)
        books.replayed.update(event.id for event in block if event.replayed)
        if self.monitor.explicit:
            self.unacked[block_id] = block
        compressed = self.monitor.elements.get("monCompression", "none") != "none"
        payload = packed(document, fault, self.faults) if compressed else document
        number = len(block) + (fault == "wrong-count")
        size = len(payload) + (fault == "wrong-payload-size")
        head = block_id.to_bytes(2, "big") + number.to_bytes(2, "big") + bytes((compressed, 1))
        frame = _frame(3, head + size.to_bytes(4, "big") + payload)
        return frame[:2] + b"\xff\xff\xff\xff" + frame[6:] if fault == "oversized" else frame

    async def _read_acks(self) -> None:
        books = self.monitor.books
        while True:
            if await self.inlet.number(2) != 4:
                raise BadFrame
            number = await self.inlet.number(4)
            if number == 4:
                block_id, status = await self.inlet.number(2), await self.inlet.number(2)
                books.full_acks += 1
            else:
                block_id, status = number >> 16, number & 0xFFFF
                books.short_acks += 1
            if status != 200:
                raise BadFrame
            block = self.unacked.pop(block_id, None)
            if block is None:
                books.stray_acks += self.monitor.explicit
            else:
                books.acked.update(event.id for event in block)
            books.changed()
            if self.faults.drop == "after-ack":
                self.faults.drop = None
                raise GoneAway


def _frame(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(body).to_bytes(4, "big") + body


def document_of(block: list[Waiting], fault: BlockFault | None) -> bytes:
    """Write the document of a block: ``Msg`` is an object for one event, a list for several."""
    messages = [event.message for event in block]
    if fault == "not-an-object":
        messages.append("17")
    inner = messages[0] if len(messages) == 1 else f"[{','.join(messages)}]"
    text = f'{{"Document":{{"Msg":{inner}}}}}'
    return (text[:-1] if fault == "broken-json" else text).encode()


def packed(document: bytes, fault: BlockFault | None, faults: Faults) -> bytes:
    """Compress a document, or do it wrong."""
    if fault == "bomb":
        document = b" " * faults.bomb
    wbits = -15 if fault == "raw-deflate" else 31 if faults.gzip else 15
    stream = zlib.compressobj(wbits=wbits)
    payload = stream.compress(document) + stream.flush()
    if fault == "corrupt":
        middle = len(payload) // 2
        return payload[:middle] + bytes((payload[middle] ^ 0xFF,)) + payload[middle + 1 :]
    return payload[:-5] if fault == "truncated" else payload
