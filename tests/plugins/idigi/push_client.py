"""A client of the push port that speaks bytes, for tests of what the emulator puts on
the wire.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing
from attrs import frozen

from bridge_plugins.idigi.emulator.content.topics import Occurrence
from bridge_plugins.idigi.emulator.server import Emulator

GOLDEN: dict[str, Any] = {
    frame["name"]: frame
    for frame in json.loads((Path(__file__).parents[2] / "data" / "idigi_frames.json").read_text())
}
FRAMES = {name: bytes.fromhex(frame["hex"]) for name, frame in GOLDEN.items()}
ELEMENTS = {
    "monTopic": "DataPoint",
    "monTransportType": "tcp",
    "monFormatType": "json",
    "monBatchSize": "2",
    "monBatchDuration": "0",
    "monAckOption": "explicit",
    "monAutoReplayOnConnect": "true",
}
SHORT = 0.02
"""Seconds of a time limit that a test lets run out."""


@frozen
class Block:
    """A block as it came."""

    id: int
    count: int
    compression: int
    format: int
    payload: bytes

    @property
    def text(self) -> str:
        return (zlib.decompress(self.payload) if self.compression else self.payload).decode()

    @property
    def msg(self) -> Any:
        return json.loads(self.text)["Document"]["Msg"]

    @property
    def messages(self) -> list[Any]:
        return self.msg if isinstance(self.msg, list) else [self.msg]

    @property
    def data(self) -> list[Any]:
        return [message["DataPoint"]["data"] for message in self.messages]


@frozen
class Client:
    """Speaks bytes."""

    stream: trio.abc.Stream

    async def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = await self.stream.receive_some(size - len(data))
            assert piece, "the emulator closed the connection"
            data += piece
        return data

    async def frame(self) -> bytes:
        head = await self.exactly(6)
        return head + await self.exactly(int.from_bytes(head[2:], "big"))

    async def block(self) -> Block:
        frame = await self.frame()
        assert frame[:2] == b"\0\3"
        assert int.from_bytes(frame[12:16], "big") == len(frame) - 16
        return Block(
            int.from_bytes(frame[6:8]),
            int.from_bytes(frame[8:10]),
            frame[10],
            frame[11],
            frame[16:],
        )

    async def acknowledge(self, block: Block) -> None:
        await self.stream.send_all(b"\0\4\0\0\0\4" + block.id.to_bytes(2) + b"\0\xc8")

    async def ended(self) -> str:
        """Wait for the end of the connection, whatever comes before."""
        try:
            while await self.stream.receive_some(65536):
                pass
        except trio.BrokenResourceError:
            return "reset"
        return "closed"

    async def nothing_comes(self) -> bool:
        with trio.move_on_after(0.05) as waiting:
            await self.stream.receive_some(1)
        return waiting.cancelled_caught


@asynccontextmanager
async def connected(port: int, login: bytes = FRAMES["V1"]) -> AsyncIterator[Client]:
    """A client that has sent its login."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(login)
        yield Client(stream)


@asynccontextmanager
async def logged_in(emulator: Emulator, login: bytes = FRAMES["V1"]) -> AsyncIterator[Client]:
    """A client whose login was accepted."""
    async with connected(emulator.push_port, login) as client:
        assert await client.exactly(10) == FRAMES["V3a"]
        yield client


def points(numbers: Iterable[int]) -> list[Occurrence]:
    return [Occurrence("DataPoint/x", "DataPoint", {"data": number}) for number in numbers]


async def publish(emulator: Emulator, number: Any = 1) -> int:
    return await emulator.publish("DataPoint/x", "DataPoint", {"data": number})


async def suspended(emulator: Emulator) -> None:
    """Wait until no monitor has a session."""
    await emulator.recorder.until(
        lambda: not any(monitor.attachments for monitor in emulator.account.monitors.values())
    )


async def published(emulator: Emulator, client: Client) -> Block:
    """Publish something, and give the block that brings it."""
    await publish(emulator)
    return await client.block()
