"""Stand-in: what the service knows. Monitors, what waits for each, and the books that tests look into.

    publish ─▶ for each monitor with a fitting topic ─▶ its queue ─▶ session (emulator_push.py)
                                                          ▲                │ connection gone
                                                          └── un-acked, marked for replay

A monitor is INACTIVE until its first session, ACTIVE while one is attached, and after that SUSPENDED if it replays:
what happens meanwhile waits in the queue. Written from the vendor documentation and from recorded traffic; how replay
treats blocks without an ack is assumed.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import count, takewhile
from typing import Any

import trio
from attrs import define, field, frozen

FIRST_MONITOR = 178008
CUSTOMER = "7603"
OPERATION_LETTERS = {"U": "UPDATE", "C": "INSERTION", "D": "DELETION"}


@frozen
class Occurrence:
    """Something that happened in the account."""

    topic: str
    """Without the customer id: ``DataPoint/00000000-.../metrics/level``."""
    entity_key: str
    """Key of the entity in the envelope, such as ``DataPoint``."""
    entity: Any
    operation: str = "UPDATE"
    group: str = "*"


@frozen
class Waiting:
    """An event in the queue of a monitor."""

    id: int
    text: str
    """The ``Msg``, as JSON."""
    since: float
    """When it came, on trio's clock."""
    replayed: bool = False

    @property
    def message(self) -> str:
        """The ``Msg`` as it is sent."""
        return self.text[:-1] + ',"replay":true}' if self.replayed else self.text


@define
class Books:
    """What was sent and acknowledged. Events by the ids that ``publish`` gives."""

    sent: set[int] = field(factory=set)
    acked: set[int] = field(factory=set)
    replayed: set[int] = field(factory=set)
    lost: set[int] = field(factory=set)
    """Dropped: nobody was attached and nothing recorded them, or the record was full."""
    blocks: int = 0
    full_acks: int = 0
    """Acks of ten bytes."""
    short_acks: int = 0
    """Acks of six bytes, as old clients send them."""
    stray_acks: int = 0
    """Acks of blocks that this connection does not wait for."""
    logins: int = 0
    refusals: int = 0
    protocol_errors: int = 0
    calls: list[str] = field(factory=list)
    """REST calls: method and path."""
    bodies: list[bytes] = field(factory=list)
    """Bodies of the REST calls that had one."""
    _changed: trio.Event = field(factory=trio.Event)

    def changed(self) -> None:
        """Wake those who wait in :meth:`until`."""
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the books holds."""
        while not condition():
            await self._changed.wait()


@define(eq=False)
class Monitor:
    """A subscription."""

    id: int
    elements: dict[str, str]
    books: Books
    record_limit: int
    topics: list[str]
    status: str = "INACTIVE"
    queue: deque[Waiting] = field(factory=deque)
    end_session: Callable[[], None] | None = None
    """Cuts the attached session off; None while there is none."""
    _arrived: trio.Event = field(factory=trio.Event)
    _detached: trio.Event = field(factory=trio.Event)

    @property
    def replays(self) -> bool:
        """Whether events are recorded between two sessions."""
        return self.elements.get("monAutoReplayOnConnect") == "true"

    @property
    def explicit(self) -> bool:
        """Whether a block counts as delivered when it is acknowledged, not when it is sent."""
        return self.elements.get("monAckOption") == "explicit"

    @property
    def batch_size(self) -> int:
        """Most events in a block."""
        return int(self.elements.get("monBatchSize", "100"))

    @property
    def batch_duration(self) -> float:
        """Seconds after which a block is sent although it is not full."""
        return float(self.elements.get("monBatchDuration", "10"))

    def put(self, event: Waiting) -> None:
        """Take an event that happened, or lose it if nobody listens and nothing records."""
        if self.status == "INACTIVE":
            self.books.lost.add(event.id)
            return
        if self.status == "SUSPENDED" and len(self.queue) >= self.record_limit:
            self.books.lost.add(self.queue.popleft().id)
        self.queue.append(event)
        self._arrived.set()

    def attach(self, end_session: Callable[[], None]) -> None:
        """Begin a session: all that was recorded is replayed first."""
        self.status = "ACTIVE"
        self.end_session = end_session
        self._detached = trio.Event()
        self.queue = deque(Waiting(event.id, event.text, event.since, True) for event in self.queue)

    def detach(self, unacked: Iterable[Waiting]) -> None:
        """End a session. What was not acknowledged waits for the next one, before what was not sent."""
        waiting = [*unacked, *self.queue]
        self.end_session = None
        self._detached.set()
        if self.replays:
            self.status = "SUSPENDED"
            self.queue = deque(waiting)
        else:
            self.status = "INACTIVE"
            self.books.lost.update(event.id for event in waiting)
            self.queue.clear()

    async def cut_off(self) -> None:
        """End the session, if there is one, and wait until it is over."""
        while self.end_session is not None:  # another one may attach between the wake-up and us
            self.end_session()
            await self._detached.wait()

    def ready(self) -> bool:
        """Tell whether a block can go without waiting for more: a replay, or a full one."""
        return bool(self.queue) and (self.queue[0].replayed or len(self.queue) >= self.batch_size)

    def take(self) -> list[Waiting]:
        """Take the events of the next block. Replayed and new ones never share one."""
        replayed = self.queue[0].replayed
        alike = takewhile(lambda event: event.replayed == replayed, self.queue)
        block = [event for _, event in zip(range(self.batch_size), alike, strict=False)]
        for _ in block:
            self.queue.popleft()
        return block

    async def next_block(self) -> list[Waiting]:
        """Wait for the events of the next block: a full one, or what came within the batch duration."""
        while not self.queue:
            await self._next_arrival()
        due = self.queue[0].since + self.batch_duration
        with trio.move_on_at(due):
            while not self.ready():
                await self._next_arrival()
        return self.take()

    async def _next_arrival(self) -> None:
        self._arrived = trio.Event()
        await self._arrived.wait()


@define(eq=False)
class Account:
    """One customer's part of the service."""

    username: str
    password: str
    now: Callable[[], datetime]
    books: Books = field(factory=Books)
    monitors: dict[int, Monitor] = field(factory=dict)
    record_limit: int = 1_000_000
    _monitor_ids: count[int] = field(factory=lambda: count(FIRST_MONITOR))
    _event_ids: count[int] = field(factory=count)

    def create(self, elements: Mapping[str, str]) -> Monitor:
        """Add a monitor; it is INACTIVE until its first session."""
        topics = topics_of(elements["monTopic"])
        monitor = Monitor(next(self._monitor_ids), dict(elements), self.books, self.record_limit, topics)
        self.monitors[monitor.id] = monitor
        return monitor

    def publish(self, occurrence: Occurrence) -> int:
        """Let something happen now; gives the id under which the books know it."""
        event_id = next(self._event_ids)
        stamp = self.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = {
            "timestamp": stamp,
            "topic": f"{CUSTOMER}/{occurrence.topic}",
            "operation": occurrence.operation,
            "group": occurrence.group,
            occurrence.entity_key: occurrence.entity,
        }
        text = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
        event = Waiting(event_id, text, trio.current_time())
        for monitor in self.monitors.values():
            if any(topic_fits(topic, occurrence) for topic in monitor.topics):
                monitor.put(event)
        return event_id


def topics_of(text: str) -> list[str]:
    """Split a subscription at the commas outside of ``[...]``."""
    topics, depth = [""], 0
    for char in text:
        depth += (char == "[") - (char == "]")
        if char == "," and depth == 0:
            topics.append("")
        else:
            topics[-1] += char
    return [topic.strip() for topic in topics]


def topic_fits(topic: str, occurrence: Occurrence) -> bool:
    """Tell whether one topic of a subscription, with its filters, asks for an event."""
    for name, value in re.findall(r"\[(?:(\w+)=)?([^\]]*)\]", topic):
        if name == "group":
            if occurrence.group not in value.split(","):
                return False
        elif OPERATION_LETTERS.get(value, value) != occurrence.operation:
            return False
    path = re.sub(r"\[[^\]]*\]", "", topic)
    return occurrence.topic == path or fnmatchcase(occurrence.topic, path) or occurrence.topic.startswith(f"{path}/")
