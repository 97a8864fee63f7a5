"""A monitor, with what waits for its sessions, what is recorded without one, and what
its history keeps.

    event ─▶ put ─┬─ a session ─▶ its attachment ─▶ blocks
                  │                    │ session over: un-acked, then unsent
                  └─ no session ─▶ record ◀┘
                                     └─▶ the next attachment, marked for replay

A monitor is INACTIVE until its first session, ACTIVE while one is attached, and after
that SUSPENDED if it replays. From vendor documentation and recorded traffic; how replay
treats blocks without an ack is assumed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import takewhile
from typing import Any, Literal, TypeAlias

import trio
from attrs import define, evolve, field, frozen

from bridge.api import RepeatedEvent

from ..content.topics import CUSTOMER, topics_of
from ..faults import Faults
from ..options import Options
from ..recorder import Recorder

End: TypeAlias = Literal["close", "reset", "hold", "mute"]
"""How a session ends: FIN, RST, or half-open. ``hold``: the service has noticed and the
monitor is free, ``mute``: it has not; both leave the socket open and nothing comes any
more.
"""


@frozen
class Waiting:
    """An event on its way to a client."""

    id: int
    message: Mapping[str, Any]
    """The ``Msg`` as JSON says it."""
    since: float
    """When it came, on trio's clock."""
    at: datetime
    """When it came, by the service's own clock."""
    replayed: bool = False


@define
class BlockIds:
    """Counts blocks, from any number to 65535 and round."""

    following: int

    def take(self, *, skip_last: bool) -> int:
        """Return the next id."""
        taken = 0 if skip_last and self.following == 0xFFFF else self.following
        self.following = (taken + 1) & 0xFFFF
        return taken


@define(eq=False)
class Attachment:
    """The monitor's side of a session: what waits for it, and how to end it."""

    monitor: Monitor
    faults: Faults
    """Of this session; may be replaced while it runs."""
    end: Callable[[End], None]
    queue: deque[Waiting] = field(factory=deque)
    arrived: RepeatedEvent = field(factory=RepeatedEvent)

    def put(self, event: Waiting) -> None:
        """Queue an event that happened."""
        self.queue.append(event)
        self.arrived.set()

    def ready(self) -> bool:
        """Whether a block can go without waiting for more: a replay, or a full
        one.
        """
        return bool(self.queue) and (
            self.queue[0].replayed or len(self.queue) >= self.monitor.batch_size
        )

    def take(self) -> list[Waiting]:
        """Remove and return the events of a block: all replayed, or all new."""
        replayed = self.queue[0].replayed
        alike = takewhile(lambda event: event.replayed == replayed, self.queue)
        block = [event for _, event in zip(range(self.monitor.batch_size), alike, strict=False)]
        for _ in block:
            self.queue.popleft()
        return block

    async def filled(self) -> None:
        """Wait until a block can go: a full one, or what came within the batch
        duration.
        """
        while not self.queue:
            await self.arrived.wait()
        with trio.move_on_at(self.queue[0].since + self.monitor.batch_duration):
            while not self.ready():
                await self.arrived.wait()


@define(eq=False)
class Monitor:
    """A subscription."""

    id: int
    elements: dict[str, str]
    """As the client gave them, values as texts; absent ones have the server's default.
    """
    recorder: Recorder
    options: Options
    record_limit: int
    """Events that are kept for replay; the oldest go first."""
    saved: deque[Waiting]
    """The history: what was published while the monitor was persistent, sent or not."""
    status: str = "INACTIVE"
    last: dict[str, str] = field(factory=dict)
    """monLastConnect, monLastSent, monLastSentUuid, as far as they have happened."""
    record: deque[Waiting] = field(factory=deque)
    attachments: list[Attachment] = field(factory=list)
    _block_ids: BlockIds | None = None
    _deleted: bool = False
    _detached: RepeatedEvent = field(factory=RepeatedEvent)

    @property
    def topics(self) -> list[str]:
        """The topics it asks for."""
        return topics_of(self.elements["monTopic"])

    @property
    def replays(self) -> bool:
        """Whether events are recorded between two sessions."""
        return self.elements.get("monAutoReplayOnConnect") == "true"

    @property
    def explicit(self) -> bool:
        """Whether a block counts as delivered when it is acknowledged, not when it is
        sent.
        """
        return self.elements.get("monAckOption") == "explicit"

    @property
    def compressed(self) -> bool:
        """Whether payloads are zlib streams."""
        return self.elements.get("monCompression", "none") != "none"

    @property
    def is_json(self) -> bool:
        """Whether blocks say that they are JSON; by default XML (assumed)."""
        return self.elements.get("monFormatType") == "json"

    @property
    def kind(self) -> Literal["json", "xml", "template"]:
        """What documents are made of."""
        if self.elements.get("monSchemaType") == "handlebars":
            return "template"
        return "json" if self.is_json else "xml"

    @property
    def batch_size(self) -> int:
        """Most events in a block."""
        return int(self.elements.get("monBatchSize", "100"))

    @property
    def batch_duration(self) -> float:
        """Seconds after which a block is sent although it is not full."""
        return float(self.elements.get("monBatchDuration", "10"))

    @property
    def item(self) -> dict[str, str]:
        """Itself, as the old REST API reads it: texts, unset ones absent."""
        return {
            "monId": str(self.id),
            "cstId": CUSTOMER,
            **self.elements,
            "monStatus": self.status,
            **self.last,
        }

    @property
    def end_session(self) -> Callable[[], None] | None:
        """Closes every session; None while there is none."""
        return self._close_sessions if self.attachments else None

    def _close_sessions(self) -> None:
        for attachment in self.attachments:
            attachment.end("close")

    def block_ids(self) -> BlockIds:
        """The counter for a new connection."""
        if self.options.block_ids == "restart" or self._block_ids is None:
            self._block_ids = BlockIds(self.options.first_block_id)
        return self._block_ids

    def put(self, event: Waiting) -> None:
        """Queue or record an event that happened, or lose it if nobody listens and
        nothing records.
        """
        recorded = self.status == "SUSPENDED" or self.options.before_first_connect == "recorded"
        if not self.attachments and not (self.replays and recorded):
            self.recorder.lost.add(event.id)
            return
        if self.replays:
            self.saved.append(event)
        for attachment in self.attachments:
            attachment.put(event)
        if not self.attachments:
            self.record.append(event)
            self._trim_record()

    def attach(self, faults: Faults, end: Callable[[End], None]) -> Attachment:
        """Begin a session: all that was recorded is replayed first."""
        attachment = Attachment(self, faults, end)
        attachment.queue.extend(evolve(event, replayed=True) for event in self.record)
        self.record.clear()
        self.attachments.append(attachment)
        self.status = "ACTIVE"
        return attachment

    def detach(self, attachment: Attachment, unacked: Iterable[Waiting]) -> None:
        """End a session. What was not acknowledged waits for the next one, before what
        was not sent.

        If another session is attached, it gets everything by itself.
        """
        self.attachments.remove(attachment)
        if not self.attachments:
            self.record.extend([*unacked, *attachment.queue])
            self.status = "SUSPENDED" if self.replays else "INACTIVE"
            if self.replays and not self._deleted:
                self._trim_record()
            else:
                self._clear_record()
        self._detached.set()

    async def cut_off(self) -> None:
        """End every session, and wait until they are over."""
        while self.attachments:  # another one may attach between the wake-up and us
            self._close_sessions()
            await self._detached.wait()

    async def reset(self, changes: Mapping[str, str]) -> None:
        """Do what a PUT does: close the session, merge elements, clear the record
        (assumed).
        """
        await self.cut_off()
        self.elements.update(changes)
        self._clear_record()
        self.status = "INACTIVE"
        self.recorder.changed()

    async def delete(self) -> None:
        """End for good."""
        self._deleted = True
        await self.cut_off()
        self._clear_record()
        self.recorder.changed()

    def _trim_record(self) -> None:
        while len(self.record) > self.record_limit:
            self.recorder.lost.add(self.record.popleft().id)

    def _clear_record(self) -> None:
        self.recorder.lost.update(event.id for event in self.record)
        self.record.clear()
