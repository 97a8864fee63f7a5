"""The vendors of a bridge in one piece: what they send is read from a file.

Nothing here imports the product: the same code sent to the bridge of that commit.

    async with open_digi(messages["gateways"]) as digi:
        site.sections |= sections(digi)            # and start the bridge
        await send_webhooks(messages, site.url, site.client_tls())
        await digi.finished()
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio
from attrs import define, field

SECRET = "s3cret-s3cret-s3cret-s3cret-s3cret"
PATIENCE = 60.0  # seconds until the bridge must have taken everything

Message = Mapping[str, Any]
"""Its bytes are under ``text`` or ``base64``."""


def bytes_of(message: Message) -> bytes:
    if "text" in message:
        return str(message["text"]).encode()
    return base64.b64decode(message["base64"])


def sections(digi: Digi) -> dict[str, dict[str, str]]:
    """The sections of the bridge: two towers, one with a mapping of its alarms."""
    towers = {
        "plugin": "wattsense",
        "listener": "public",
        "secret": SECRET,
        "signature": "bare-hex",
        "signature_header": "X-Signature-SHA256",
        "unreadable": "keep",
    }
    mapped = {"device": "$[*].deviceId", "time": "$[*].timestamp"}
    return {
        "spool": {"dedup_window": "36500d"},  # the file may be as old as it likes
        # Takes nothing, so that everything stays in the spool.
        "sink:away": {"plugin": "jsonlines", "path": "/nowhere/events.jsonl"},
        "source:sensors": {
            "plugin": "disruptive",
            "listener": "public",
            "path": "/disruptive",
            "scheme": "none",
        },
        "source:gateways": {
            "plugin": "idigi",
            "url": f"http://127.0.0.1:{digi.rest_port}",
            "insecure": "yes",
            "push_port": str(digi.push_port),
            "username": "user",
            "password": "pass",
            "file_limit": "4KiB",
        },
        "source:towers": {**towers, "path": "/towers"},
        "source:mapped": {
            **towers,
            "path": "/mapped",
            "strings": "text",
            **{
                f"{kind}_{name}": path
                for kind in ("event", "alarm")
                for name, path in mapped.items()
            },
        },
        **{
            f"source:mapped:{kind}_signals": {"status": "$[*].status", "severity": "$[*].severity"}
            for kind in ("event", "alarm")
        },
        **{
            f"source:mapped:{kind}_numbers": {"open": "1", "closed": "0"}
            for kind in ("event", "alarm")
        },
    }


async def send_webhooks(
    messages: Mapping[str, Sequence[Message]], url: str, tls: ssl.SSLContext
) -> None:
    """Send everything that is pushed by HTTP; each must be taken."""
    async with httpx.AsyncClient(base_url=url, verify=tls, timeout=PATIENCE) as client:

        async def send(path: str, body: bytes) -> None:
            signature = hmac.digest(SECRET.encode(), body, hashlib.sha256).hex()
            headers = {"X-Signature-SHA256": signature, "Content-Type": "application/json"}
            response = await client.post(path, content=body, headers=headers)
            assert response.status_code == 200, (path, body, response.status_code, response.text)

        for message in messages["sensors"]:
            await send("/disruptive", bytes_of(message))
        for message in messages["towers"]:
            for base in ("towers", "mapped"):
                await send(f"/{base}/{message['route']}", bytes_of(message))


@define(eq=False)
class Digi:
    """An account of Device Cloud: one monitor, and blocks that are pushed once each."""

    blocks: Sequence[bytes]
    rest_port: int = 0
    push_port: int = 0
    monitor: bytes | None = None
    """As it was created."""
    acknowledged: list[int] = field(factory=list)
    _done: trio.Event = field(factory=trio.Event)

    async def finished(self) -> None:
        """Wait until the last block was acknowledged."""
        with trio.fail_after(PATIENCE):
            await self._done.wait()

    async def answer(self, stream: trio.SocketStream) -> None:
        """Answer one REST call."""
        async with stream:
            received = b""
            while b"\r\n\r\n" not in received:
                received += await stream.receive_some()
            head, _, body = received.partition(b"\r\n\r\n")
            size = next(
                (
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ),
                0,
            )
            while len(body) < size:
                body += await stream.receive_some()
            status, content, more = self._answer(head.split(b" ")[0], body)
            await stream.send_all(
                b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n"
                b"Connection: close\r\n%s\r\n%s" % (status, len(content), more, content)
            )

    def _answer(self, method: bytes, body: bytes) -> tuple[bytes, bytes, bytes]:
        if method == b"POST":
            self.monitor = body
            created = b"<result><location>Monitor/7</location></result>"
            return b"201 Created", created, b"Location: Monitor/7\r\n"
        rows = []
        if self.monitor is not None:
            rest = b"<monId>7</monId><monStatus>INACTIVE</monStatus></Monitor>"
            rows = [self.monitor.replace(b"</Monitor>", rest)]
        count = b"%d" % len(rows)
        listing = b"<resultTotalRows>%s</resultTotalRows><resultSize>%s</resultSize>" % (
            count,
            count,
        )
        listing += b"<requestedStartRow>0</requestedStartRow><remainingSize>0</remainingSize>"
        return b"200 OK", b"<result>%s%s</result>" % (listing, b"".join(rows)), b""

    async def push(self, stream: trio.SocketStream) -> None:
        """Take the login, then push block after block, as each is acknowledged."""
        async with stream:
            size = struct.unpack(">HI", await _exactly(stream, 6))[1]
            await _exactly(stream, size)
            await stream.send_all(struct.pack(">HIHH", 2, 4, 200, 1))
            for number, block in enumerate(self.blocks):
                await stream.send_all(struct.pack(">HIH", 3, len(block) + 2, number) + block)
                kind, _, taken, status = struct.unpack(">HIHH", await _exactly(stream, 10))
                assert (kind, taken, status) == (4, number, 200)
                self.acknowledged.append(number)
            self._done.set()
            await trio.sleep_forever()


async def _exactly(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await stream.receive_some(size - len(data))
        assert more, "the bridge hung up"
        data += more
    return data


def block_of(message: Message) -> bytes:
    """The body of a PublishMessage without its id."""
    if "frame" in message:
        return bytes.fromhex(message["frame"])[8:]
    payload = bytes_of(message)
    compressed = message["compression"] != "none"
    if compressed and not message.get("broken"):
        payload = zlib.compress(payload)
    form = message.get("type", 1 if message["format"] == "json" else 0)
    return struct.pack(">HBBI", message["count"], compressed, form, len(payload)) + payload


@asynccontextmanager
async def open_digi(messages: Sequence[Message]) -> AsyncIterator[Digi]:
    digi = Digi([block_of(message) for message in messages])
    async with trio.open_nursery() as nursery:
        for handler, name in ((digi.answer, "rest_port"), (digi.push, "push_port")):
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            setattr(digi, name, listener.socket.getsockname()[1])
            nursery.start_soon(trio.serve_listeners, handler, [listener])
        yield digi
        nursery.cancel_scope.cancel()
