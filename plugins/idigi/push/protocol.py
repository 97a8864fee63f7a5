"""The push protocol of the Device Cloud, without input or output.

    bytes ── Reader.feed, Reader.next_frame ──▶ ConnectResponse | Block | Skipped
    Block ── unpack ──▶ Content
    encode_connect_request, encode_ack ──▶ bytes

Every frame is a type (two bytes), a size (four bytes, not counting these six) and a
body; integers are unsigned and big-endian (vendor documentation, recorded traffic).
Frames have no relation to what one read returns.

Broken framing is a :class:`ProtocolError`: nothing that follows can be trusted, close
the connection. A block whose content makes no sense is :class:`UndecodableError`: the
frames around it are fine, the session goes on. Every limit is checked before the bytes
it limits are stored.
"""

from __future__ import annotations

import struct
import zlib
from typing import TypeAlias

from attrs import field, frozen

HEADER = struct.Struct(">HI")
CONNECT_REQUEST = 0x0001
CONNECT_RESPONSE = 0x0002
PUBLISH = 0x0003
ACK = 0x0004

PROTOCOL_VERSION = 1
HANDLED = 200

XML = 0
JSON = 1

_ANSWER = struct.Struct(">HH")
_BLOCK = struct.Struct(">HHBBI")
_BLOCK_ID = struct.Struct(">H")
# Window bits by which zlib tells the two containers apart; raw deflate is refused.
_ZLIB_OR_GZIP = 47


class ProtocolError(Exception):
    """The peer does not keep to the framing: close the connection."""


class UndecodableError(Exception):
    """A block arrived whole, and its content makes no sense: store it as it is."""


@frozen
class ConnectResponse:
    """The answer to the login."""

    status: int
    """200 to 299: attached. Others are a refusal."""
    version: int


@frozen
class Block:
    """One PublishMessage: one or more events, acknowledged together."""

    id: int
    """Names the block within its connection, and nowhere else."""
    body: bytes = field(repr=False)
    """The frame after its header, as received."""

    @property
    def frame(self) -> bytes:
        """The whole frame as received."""
        return HEADER.pack(PUBLISH, len(self.body)) + self.body

    @property
    def compressed(self) -> bool:
        """Whether the payload claims to be compressed."""
        return len(self.body) >= _BLOCK.size and self.body[4] != 0


@frozen
class Skipped:
    """A frame of a type that nobody knows, read and dropped."""

    type: int
    size: int


Frame: TypeAlias = ConnectResponse | Block | Skipped


@frozen
class Content:
    """A block, unpacked."""

    count: int
    """Events that the server says are inside."""
    format: int
    """``JSON`` or ``XML``."""
    document: bytes = field(repr=False)


def encode_connect_request(username: str, password: str, monitor_id: int) -> bytes:
    """Write the login. Lengths count the bytes of the UTF-8 form."""
    user, secret = username.encode(), password.encode()
    body = struct.pack(
        f">HH{len(user)}sH{len(secret)}sI",
        PROTOCOL_VERSION,
        len(user),
        user,
        len(secret),
        secret,
        monitor_id,
    )
    return HEADER.pack(CONNECT_REQUEST, len(body)) + body


def encode_ack(block_id: int) -> bytes:
    """Write the acknowledgement of a block: ten bytes. There is no negative one."""
    return HEADER.pack(ACK, _ANSWER.size) + _ANSWER.pack(block_id, HANDLED)


class Reader:
    """Cuts the bytes of one connection into frames."""

    def __init__(self, frame_limit: int) -> None:
        self._frame_limit = frame_limit
        self._buffer = bytearray()
        self._header: tuple[int, int] | None = None
        self._to_skip = 0
        self._answered = False

    def feed(self, data: bytes) -> None:
        """Add what was read.

        Take all frames out before the next read: that bounds the buffer.
        """
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """Return the next whole frame, or None if more bytes are needed.

        :raises ProtocolError: if the peer does not keep to the framing, now and at
            every later call.
        """
        if self._header is None:
            if len(self._buffer) < HEADER.size:
                return None
            self._header = HEADER.unpack_from(self._buffer)
            del self._buffer[: HEADER.size]
            self._to_skip = self._header[1]
        kind, size = self._header
        self._check(kind, size)
        if kind not in (CONNECT_RESPONSE, PUBLISH):
            return self._skip(kind, size)
        if len(self._buffer) < size:
            return None
        with memoryview(self._buffer) as view:
            body = bytes(view[:size])
        del self._buffer[:size]
        self._header = None
        if kind == CONNECT_RESPONSE:
            self._answered = True
            return ConnectResponse(*_ANSWER.unpack_from(body))
        return Block(_BLOCK_ID.unpack_from(body)[0], body)

    def _check(self, kind: int, size: int) -> None:
        if size > self._frame_limit:
            raise ProtocolError(
                f"a frame of {size} bytes was announced, the limit is {self._frame_limit} "
                "(frame_limit); raise it if such blocks are to be read"
            )
        if kind in (CONNECT_REQUEST, ACK):
            raise ProtocolError(f"the server sent a frame of type {kind}, which only clients send")
        if kind == CONNECT_RESPONSE and self._answered:
            raise ProtocolError("the server answered the login twice")
        if kind == CONNECT_RESPONSE and size < _ANSWER.size:
            raise ProtocolError(
                f"the answer to the login has {size} bytes, expected {_ANSWER.size}"
            )
        if kind == PUBLISH and not self._answered:
            raise ProtocolError("the server sent a block before it answered the login")
        if kind == PUBLISH and size < _BLOCK_ID.size:
            raise ProtocolError(f"a block of {size} bytes has no id and cannot be acknowledged")

    def _skip(self, kind: int, size: int) -> Skipped | None:
        dropped = min(self._to_skip, len(self._buffer))
        del self._buffer[:dropped]
        self._to_skip -= dropped
        if self._to_skip:
            return None
        self._header = None
        return Skipped(kind, size)


def unpack(block: Block, inflate_limit: int) -> Content:
    """Check the head of a block and decompress its payload.

    :raises UndecodableError: saying what does not fit.
    """
    if len(block.body) < _BLOCK.size:
        raise UndecodableError(
            f"the block has {len(block.body)} bytes, expected {_BLOCK.size} or more"
        )
    _id, count, compression, format_, size = _BLOCK.unpack_from(block.body)
    payload = block.body[_BLOCK.size :]
    if size != len(payload):
        raise UndecodableError(
            f"the block says that its payload has {size} bytes, but it has {len(payload)}"
        )
    if format_ not in (XML, JSON):
        raise UndecodableError(f"the block has format {format_}, expected 0 (XML) or 1 (JSON)")
    if compression == 0:
        return Content(count, format_, payload)
    if compression == 1:
        return Content(count, format_, inflate(payload, inflate_limit))
    raise UndecodableError(
        f"the block has compression {compression}, expected 0 (none) or 1 (zlib)"
    )


def inflate(payload: bytes, limit: int) -> bytes:
    """Decompress a zlib stream (what the server sends) or a gzip container (never seen,
    tolerated).

    :raises UndecodableError: if it is neither, cut off, followed by other bytes, or
        longer than ``limit`` bytes.
    """
    stream = zlib.decompressobj(wbits=_ZLIB_OR_GZIP)
    try:
        text = stream.decompress(payload, limit + 1)
    except zlib.error as exc:
        raise UndecodableError(f"the payload cannot be decompressed: {exc}") from exc
    if len(text) > limit:
        raise UndecodableError(
            f"the payload is longer than {limit} when decompressed (inflate_limit)"
        )
    if not stream.eof:
        raise UndecodableError("the compressed payload is cut off")
    if stream.unused_data:
        raise UndecodableError(
            f"the compressed payload is followed by {len(stream.unused_data)} other bytes"
        )
    return text
