"""Emulator of DT: the request of one attempt, as bytes.

A request is made anew for each attempt, because a token is valid for an hour and an
event is tried for twelve (that DT does so is assumed). The body is the one that was
signed, byte for byte, unless a fault says otherwise.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from datetime import datetime
from random import Random

import httpx
import trio
from attrs import define, evolve, field, frozen

from .faults import Faults, Hit
from .tokens import SigningKeys, draw_moment, hs256_token

_PIECE = 64  # bytes of a chunk
_MAX_HEAD = 65536  # bytes of an answer's head


@frozen
class Endpoint:
    """Where a connector pushes to, and how it signs."""

    url: httpx.URL
    secret: str | None = field(default=None, repr=False)
    """Key of ``X-Dt-Signature``; None: the header is not sent."""
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    """Custom headers."""
    keys: SigningKeys | None = field(default=None, repr=False)
    """Keys of ``DT-Asymmetric-Signature``; None: the header is not sent."""


class ConnectionCutError(Exception):
    """We close the connection where a vendor's would have broken."""


@define(eq=False)
class _Pieces(httpx.AsyncByteStream):
    """A body that goes out piece by piece.

    Not an async generator: the client leaves one unfinished when a connection breaks,
    of which trio warns.
    """

    _pieces: Iterator[bytes]
    _pause: float = 0.0
    _cut: bool = False
    _stall: bool = False

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            await trio.sleep(self._pause)
            return piece
        if self._stall:
            await trio.sleep_forever()
        if self._cut:
            raise ConnectionCutError
        raise StopAsyncIteration


def sign_request(
    to: Endpoint, body: bytes, now: datetime, faults: Faults, hit: Hit, random: Random
) -> httpx.Request:
    """Make the request of one attempt."""
    fields = [("Host", to.url.netloc.decode()), *to.headers.items()]
    fields.append(("Content-Type", "application/json"))  # assumed
    fields += _signatures(to, body, now, faults, hit, random)
    if hit(faults.tampered_body):
        place = random.randrange(len(body))
        body = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
    stall = hit(faults.stalled_body)
    sent = body[: len(body) // 2] if stall else body
    if hit(faults.chunked):
        fields.append(("Transfer-Encoding", "chunked"))
        pieces = [sent[begin : begin + _PIECE] for begin in range(0, len(sent), _PIECE)]
    else:
        fields.append(("Content-Length", str(len(body))))
        pieces = [sent]
    stream = _Pieces(iter(pieces), faults.pause, hit(faults.cut_before_answer), stall)
    return httpx.Request("POST", to.url, headers=fields, stream=stream)


def _signatures(
    to: Endpoint, body: bytes, now: datetime, faults: Faults, hit: Hit, random: Random
) -> list[tuple[str, str]]:
    moment = draw_moment(now, faults, hit)
    fields: list[tuple[str, str]] = []
    if to.secret is not None and not hit(faults.no_signature):
        token = hs256_token(body, to.secret, moment, faults, hit, random)
        fields += [("X-Dt-Signature", token)] * (2 if hit(faults.doubled_signature) else 1)
    if to.keys is not None and not hit(faults.no_asymmetric):
        token = to.keys.token(body, moment, faults, hit)
        fields += [("DT-Asymmetric-Signature", token)] * (
            2 if hit(faults.doubled_asymmetric) else 1
        )
    return fields


async def send_half(
    to: Endpoint,
    body: bytes,
    now: datetime,
    faults: Faults,
    hit: Hit,
    random: Random,
    verify: ssl.SSLContext | bool,
) -> int:
    """Send a request with half of its body, close our half of the connection, and read
    on.

    Gives the status of the answer; 0 if none came. Not by the HTTP client, which cannot
    half-close.
    """
    whole = evolve(faults, chunked=0.0, stalled_body=0.0, cut_before_answer=0.0)
    request = sign_request(to, body, now, whole, hit, random)
    head = b"".join(b"%s: %s\r\n" % field for field in request.headers.raw)
    sent = b"POST %s HTTP/1.1\r\n%s\r\n%s" % (to.url.raw_path, head, body[: len(body) // 2])
    port = to.url.port or (443 if to.url.scheme == "https" else 80)
    async with await trio.open_tcp_stream(to.url.host, port) as connection:
        stream: trio.abc.Stream = connection
        if to.url.scheme == "https":
            tls = httpx.create_ssl_context(verify)
            stream = trio.SSLStream(
                connection, tls, server_hostname=to.url.host, https_compatible=True
            )
        await stream.send_all(sent)
        await connection.send_eof()
        return await _read_status(stream)


async def _read_status(stream: trio.abc.Stream) -> int:
    answer = b""
    while b"\r\n" not in answer and len(answer) < _MAX_HEAD:
        some = await stream.receive_some(4096)
        if not some:
            return 0
        answer += some
    line = re.match(rb"HTTP/1\.[01] (\d{3})\b", answer)
    return int(line[1]) if line else 0
