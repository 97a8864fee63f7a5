"""Frames: bytes that are sent, right and wrong ones, and how the bytes of a client are
read.

    u16 type, u32 size of what follows, body

Every number is big-endian (vendor documentation).
"""

from __future__ import annotations

import zlib
from typing import Any

import trio
from attrs import define, field, frozen

from ..content.documents import block_document, json_document
from ..faults import BlockFault, Faults
from ..options import Options
from .monitor import Monitor, Waiting

KEEP_ALIVES: dict[BlockFault, bytes] = {
    "keep-alive": b'{"Document":null}',
    "keep-alive-text": b'{"Document":""}',
    "keep-alive-object": b'{"Document":{}}',
    "keep-alive-list": b'{"Document":{"Msg":[]}}',
}
XML_KEEP_ALIVE = b"<Document/>"
PACKING = {
    "gzip": 31,
    "raw-deflate": -15,
    "corrupt": 15,
    "truncated": 15,
    "trailing": 15,
    "bomb": 15,
}
UNKNOWN_TYPE = 0x0999
NEVER = 0xFFFFFFFF
"""A Size that nobody sends."""


class BadFrameError(Exception):
    """The client does not keep to the protocol."""


class GoneAwayError(Exception):
    """The client closed its end."""


def frame(kind: int, body: bytes, *, size: int | None = None) -> bytes:
    """Write a frame; ``size`` is what it says of itself, if that is not true."""
    return kind.to_bytes(2, "big") + (len(body) if size is None else size).to_bytes(4, "big") + body


def connect_response(status: int, *, version: int = 1, more: bytes = b"") -> bytes:
    """Write the answer to a login."""
    return frame(2, status.to_bytes(2, "big") + version.to_bytes(2, "big") + more)


def publish_message(
    block_id: int, count: int, payload: bytes, *, compression: int, is_json: bool
) -> bytes:
    """Write a block without faults, the payload as it is sent."""
    head = block_id.to_bytes(2, "big") + count.to_bytes(2, "big") + bytes((compression, is_json))
    return frame(3, head + len(payload).to_bytes(4, "big") + payload)


def keep_alive(block_id: int, monitor: Monitor, document: BlockFault = "keep-alive") -> bytes:
    """Write a block without events."""
    text = KEEP_ALIVES[document] if monitor.is_json else XML_KEEP_ALIVE
    payload = zlib.compress(text) if monitor.compressed else text
    return publish_message(
        block_id, 0, payload, compression=monitor.compressed, is_json=monitor.is_json
    )


def block_frame(
    block_id: int,
    block: list[Waiting],
    monitor: Monitor,
    options: Options,
    faults: Faults,
    fault: BlockFault | None = None,
) -> bytes:
    """Write the frame of a block, with one fault."""
    document, is_json = _document(block, monitor, options, fault)
    compression = int(monitor.compressed or fault in PACKING)
    payload = packed(document, fault, faults) if compression else document
    number = len(block) + (fault == "wrong-count")
    size = len(payload) + (fault == "wrong-payload-size")
    how = 7 if fault == "unknown-compression" else compression
    form = 9 if fault == "unknown-format" else is_json
    body = block_id.to_bytes(2, "big") + number.to_bytes(2, "big") + bytes((how, form))
    body += size.to_bytes(4, "big") + payload
    if fault == "short-size":
        body = body[:4]
    if fault == "no-block-id":
        body = body[:1]
    return frame(3, body, size=NEVER if fault == "oversized" else None)


def _document(
    block: list[Waiting], monitor: Monitor, options: Options, fault: BlockFault | None
) -> tuple[bytes, bool]:
    """Write the document of a block, and tell whether the frame calls it JSON."""
    messages: list[Any] = [_message(event) for event in block]
    if fault == "not-an-object" and monitor.kind == "json":
        messages.append(17)
    document, is_json = block_document(messages, options, kind=monitor.kind), monitor.is_json
    match fault:
        case "broken-json":
            return document[:-1], True
        case "broken-xml":
            return document[:-1], False
        case "doctype":
            declared = b'<!DOCTYPE Document [<!ENTITY lol "lol">]>'
            return declared + (b"<Document>&lol;</Document>" if is_json else document), False
        case "not-utf8":
            return document + b"\xff", is_json
        case "deep":
            return b"[" * 100_000 + b"]" * 100_000, True
        case "long-number":
            return b'{"Document":{"Msg":' + b"9" * 5000 + b"}}", True
        case "no-document":
            return b'{"Dokument":{"Nachricht":{}}}', True
        case "bare-msg":
            return json_document(messages, "Msg"), True
        case "bare-event":
            return json_document(messages, "event"), True
        case _:
            return document, is_json


def _message(event: Waiting) -> dict[str, Any]:
    return {**event.message, "replay": True} if event.replayed else dict(event.message)


def packed(document: bytes, fault: BlockFault | None, faults: Faults) -> bytes:
    """Compress a document as the service does, a zlib stream; or do it wrong."""
    if fault == "bomb":
        document = b" " * faults.bomb
    wbits = PACKING.get(fault or "", 31 if faults.gzip else 15)
    stream = zlib.compressobj(wbits=wbits)
    payload = stream.compress(document) + stream.flush()
    if fault == "corrupt":
        middle = len(payload) // 2
        return payload[:middle] + bytes((payload[middle] ^ 0xFF,)) + payload[middle + 1 :]
    if fault == "trailing":
        return payload + b"more"
    return payload[:-5] if fault == "truncated" else payload


@frozen
class Login:
    """What a client logs in with."""

    username: bytes
    password: bytes
    monitor_id: int


@frozen
class Ack:
    """What a client acknowledges."""

    block_id: int
    short: bool
    """Six bytes long, the Size left out, as old clients send it."""


@define
class Inlet:
    """Reads exact numbers of bytes."""

    stream: trio.abc.Stream
    buffer: bytearray = field(factory=bytearray)

    async def take(self, size: int) -> bytes:
        """Read so many bytes.

        :raises GoneAwayError: if they do not come any more.
        """
        while len(self.buffer) < size:
            data = await self.stream.receive_some(65536)
            if not data:
                raise GoneAwayError
            self.buffer += data
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    async def number(self, size: int) -> int:
        """Read a number of so many bytes."""
        return int.from_bytes(await self.take(size), "big")


async def read_login(inlet: Inlet) -> Login:
    """Read the first frame of a client.

    :raises BadFrameError: if it is not a login of version 1, whole and consistent.
    """
    if await inlet.number(2) != 1:
        raise BadFrameError
    size = await inlet.number(4)
    version = await inlet.number(2)
    username = await inlet.take(await inlet.number(2))
    password = await inlet.take(await inlet.number(2))
    monitor_id = await inlet.number(4)
    if version != 1 or size != 10 + len(username) + len(password):
        raise BadFrameError
    return Login(username, password, monitor_id)


async def read_ack(inlet: Inlet) -> Ack:
    """Read a frame after the login: an ack of ten bytes, or one of six.

    :raises BadFrameError: for everything else.
    """
    if await inlet.number(2) != 4:
        raise BadFrameError
    number = await inlet.number(4)
    if number == 4:
        ack, status = Ack(await inlet.number(2), short=False), await inlet.number(2)
    else:
        ack, status = Ack(number >> 16, short=True), number & 0xFFFF
    if status != 200:
        raise BadFrameError
    return ack
