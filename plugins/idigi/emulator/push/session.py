"""One session, from the answer to the login to its end.

    login ─▶ answer ─▶ ┌ send blocks as they fill or fall due
                       ├ read acks, of ten bytes or six
                       └ by the options: missing acks, keep-alives, idle sessions

What ends it, ends all of them; then the monitor gets back what was not acknowledged.
Written from the vendor documentation, not from the client of this plugin.
"""

from __future__ import annotations

import trio
from attrs import define, field

from bridge.api import RepeatedEvent

from ..account import Account
from ..faults import BlockFault, Faults
from .frames import (
    KEEP_ALIVES,
    NEVER,
    UNKNOWN_TYPE,
    BadFrameError,
    GoneAwayError,
    Inlet,
    block_frame,
    connect_response,
    frame,
    keep_alive,
    read_ack,
)
from .monitor import Attachment, BlockIds, End, Monitor, Waiting

UNKNOWN = frame(UNKNOWN_TYPE, b"nobody knows this")
EXTRAS: dict[BlockFault, bytes] = {
    "unknown-frame": UNKNOWN,
    "oversized-unknown": frame(UNKNOWN_TYPE, b"", size=NEVER),
    "second-answer": connect_response(200),
}


@define(eq=False)
class _Sent:
    """A block that was sent and waits for its ack."""

    block_id: int
    events: list[Waiting]
    frame: bytes
    at: float
    acked: bool = False


@define(eq=False)
class Session:
    """One session. :meth:`serve` runs it."""

    account: Account
    monitor: Monitor
    stream: trio.abc.Stream
    inlet: Inlet
    attachment: Attachment
    ids: BlockIds
    greeting: bytes
    """Sent first: the answer to the login, when it has not been sent yet."""
    _halves: trio.CancelScope = field(factory=trio.CancelScope)
    _outcome: End = "close"
    _muted: bool = False
    _under_way: list[_Sent] = field(factory=list)
    """In the order of sending. A block that went out twice is in it twice."""
    _news: RepeatedEvent = field(factory=RepeatedEvent)
    """Rings when a block went out or an ack came."""
    _last_frame: float = field(factory=trio.current_time)
    _pen: trio.Lock = field(factory=trio.Lock)

    @property
    def faults(self) -> Faults:
        """The faults that hold now."""
        return self.attachment.faults

    async def serve(self) -> End:
        """Run until it is over; tells how the connection is to be ended.

        :raises BadFrameError: in a group, if the client does not keep to the protocol.
        """
        options = self.account.options
        try:
            with self._halves:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(self._send_blocks)
                    tasks.start_soon(self._read_acks)
                    if options.unacked != "keep" and self.monitor.explicit:
                        tasks.start_soon(self._look_after_acks)
                    if options.keep_alive is not None:
                        tasks.start_soon(self._keep_alive, options.keep_alive)
                    if options.idle_close is not None:
                        tasks.start_soon(self._close_idle, options.idle_close)
        except* GoneAwayError:
            self._outcome = "close"
        finally:
            self.monitor.detach(self.attachment, self._unacked())
            self.account.recorder.changed()
        return self._outcome

    def end(self, how: End) -> None:
        """End it from outside, or fall silent."""
        if how == "mute":
            self._muted = True
        else:
            self._outcome = how
            self._halves.cancel()

    def _unacked(self) -> list[Waiting]:
        """What counts as not delivered, in order and each once."""
        blocks = {
            id(sent): sent for sent in self._under_way if self.monitor.explicit and not sent.acked
        }
        return [event for sent in blocks.values() for event in sent.events]

    async def _send_blocks(self) -> None:
        held = self.greeting
        if held and not (self.faults.coalesce and self.attachment.queue):
            await self._write(held)
            held = b""
        while True:
            await self.attachment.filled()
            await self._until_window()
            out = held + self._frames(self.attachment.take())
            held = b""
            while self.faults.coalesce and self.attachment.ready() and self._window_open():
                out += self._frames(self.attachment.take())
            if self.faults.drop == "mid-frame":
                await self._write(out[: len(out) // 2])
                self._drop()
            await self._write(out)
            self.account.recorder.changed()
            if self.faults.drop == "before-ack":
                self._drop()
                # The ack, if it has come already, is not read any more.
                await trio.lowlevel.checkpoint()

    def _window_open(self) -> bool:
        window = self.account.options.window
        return window is None or not self.monitor.explicit or len(self._under_way) < window

    async def _until_window(self) -> None:
        while not self._window_open():
            await self._news.wait()

    def _drop(self) -> None:
        self.faults.drop = None
        self.end(self.faults.drop_how)

    async def _write(self, data: bytes) -> None:
        async with self._pen:  # a frame is never cut by another one
            if self._muted:
                await trio.sleep_forever()
            step = self.faults.fragment or len(data)
            for start in range(0, len(data), step):
                await self.stream.send_all(data[start : start + step])
            self._last_frame = trio.current_time()

    def _frames(self, block: list[Waiting]) -> bytes:
        """Write a block with all that goes before and after it, and note that it was
        sent.
        """
        fault = self.faults.blocks.pop(0) if self.faults.blocks else None
        out = UNKNOWN if self.faults.unknown_frames else b""
        out += EXTRAS.get(fault, b"") if fault else b""
        if fault in KEEP_ALIVES:
            out += self._keep_alive_frame(fault)
        written = self._block(block, fault)
        out += written
        if fault == "repeated":
            self._under_way.append(self._under_way[-1])
            self.account.recorder.note_sent(
                (event.id for event in block), replayed=block[0].replayed
            )
            out += written
        if fault == "duplicate":
            out += self._block(block, None)
        return out

    def _take_id(self, fault: BlockFault | None = None) -> int:
        if fault == "same-id" and self._under_way:
            return self._under_way[-1].block_id
        taken = self.ids.take(skip_last=self.account.options.skip_last_id)
        return taken ^ 0x8000 if fault == "odd-id" else taken

    def _block(self, block: list[Waiting], fault: BlockFault | None) -> bytes:
        block_id = self._take_id(fault)
        written = block_frame(
            block_id, block, self.monitor, self.account.options, self.faults, fault
        )
        self._under_way.append(_Sent(block_id, block, written, trio.current_time()))
        self.account.recorder.note_sent((event.id for event in block), replayed=block[0].replayed)
        self.monitor.last["monLastSent"] = self.account.stamp()
        self.monitor.last["monLastSentUuid"] = self.account.uuid()
        self._news.set()
        return written

    def _keep_alive_frame(self, document: BlockFault = "keep-alive") -> bytes:
        block_id = self._take_id()
        written = keep_alive(block_id, self.monitor, document)
        self._under_way.append(_Sent(block_id, [], written, trio.current_time()))
        self.account.recorder.blocks += 1
        self.account.recorder.keep_alives += 1
        self._news.set()
        return written

    async def _read_acks(self) -> None:
        recorder = self.account.recorder
        while True:
            ack = await read_ack(self.inlet)
            if self._muted:
                continue  # on a path that is dead in truth it would not come
            self._last_frame = trio.current_time()
            recorder.short_acks += ack.short
            recorder.full_acks += not ack.short
            sent = next((sent for sent in self._under_way if sent.block_id == ack.block_id), None)
            recorder.stray_acks += sent is None
            if self.faults.strict_acks and (ack.short or sent is None):
                raise BadFrameError
            if sent is not None:
                self._under_way.remove(sent)
                sent.acked = True
                recorder.acked.update(event.id for event in sent.events)
            self._news.set()
            recorder.changed()
            if self.faults.drop == "after-ack":
                self._drop()

    async def _look_after_acks(self) -> None:
        """Send a block again, or end the session, when its ack does not come."""
        options = self.account.options
        while True:
            oldest = min(
                (sent for sent in self._under_way if not sent.acked),
                key=lambda sent: sent.at,
                default=None,
            )
            if oldest is None:
                await self._news.wait()
            elif trio.current_time() < oldest.at + options.unacked_after:
                await trio.sleep_until(oldest.at + options.unacked_after)
            elif options.unacked == "close":
                raise GoneAwayError
            else:
                oldest.at = trio.current_time()
                self._under_way.append(oldest)
                self.account.recorder.note_sent(
                    (event.id for event in oldest.events), replayed=False
                )
                await self._write(oldest.frame)
                self.account.recorder.changed()

    async def _keep_alive(self, seconds: float) -> None:
        while True:
            await trio.sleep(seconds)
            await self._write(self._keep_alive_frame())
            self.account.recorder.changed()

    async def _close_idle(self, seconds: float) -> None:
        due = self._last_frame + seconds
        while due > trio.current_time():
            await trio.sleep_until(due)
            due = self._last_frame + seconds
        raise GoneAwayError
