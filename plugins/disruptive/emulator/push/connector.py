"""Emulator of DT: one Data Connector of type HTTP_PUSH, with its queue.

    event ─ filter ─▶ queue of the device ─▶ attempt ─ 200 ─▶ acknowledged
                          ▲                     │
                          └─── after spacing ◀──┴─ else, until it is 12 h old: lost

At least once: an event leaves its queue on success only. Several pushes are under way
at one time, but one for a device, so that its events come in order: kinder than DT,
which promises none (``reorder`` and ``late_retry`` are for that).
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import httpx
import trio
from attrs import define, evolve, field

from ..events import DeviceEvent, push_body
from ..project import Device, Project
from .delivery import Delivery, Network
from .faults import NO_FAULTS, Faults
from .metrics import Metrics
from .requests import ConnectionCutError, Endpoint, send_half, sign_request

Status = Literal["ACTIVE", "USER_DISABLED", "SYSTEM_DISABLED"]


@define(eq=False)
class _Push:
    """An event on its way."""

    event_id: str
    line: str  # the queue that it waits in
    body: bytes
    published: datetime
    life: int  # of the connector's lives, the one that it belongs to
    attempts: int = 0
    first: tuple[Endpoint, datetime] | None = None  # where to, and when, the first attempt was made
    repeat: bool = False  # pushed once before: whatever becomes of it, nothing is lost


@define(eq=False, repr=False)
class Connector:
    """A Data Connector.

    Made by ``server.open_emulator``, or in a Cloud.
    """

    id: str
    project: Project
    endpoint: Endpoint
    """Where it pushes to. May be replaced at any time."""
    faults: Faults
    """May be replaced at any time."""
    display_name: str = ""
    events: tuple[str, ...] = ()
    """Event types that it takes; empty: all."""
    labels: tuple[str, ...] | None = None
    """Keys of the labels that it sends along; None: all, which no connector of DT does.
    """
    status: Status = "ACTIVE"
    """SYSTEM_DISABLED after days of failures."""
    acknowledged: Counter[str] = field(init=False, factory=Counter)
    """eventId to the number of successes that we heard of."""
    lost: set[str] = field(init=False, factory=set)
    """eventIds that were dropped for their age, or published or waiting while the
    connector was disabled.
    """
    outcomes: Counter[str] = field(init=False, factory=Counter)
    """What attempts ended with, such as ``200``, ``503`` or ``ConnectError``, to their
    number.
    """
    pending: int = field(init=False, default=0)
    """Events and duplicates that are waiting or under way."""
    metrics: Metrics = field(init=False, factory=Metrics)

    _delivery: Delivery = field(kw_only=True)
    _network: Network = field(kw_only=True)
    _queues: dict[str, deque[_Push]] = field(init=False, factory=dict)
    """Events that wait, by device or all in one; the first may be under way."""
    _ready: trio.MemorySendChannel[str] = field(init=False)
    """Queues whose first event may be attempted now."""
    _settled: trio.Event = field(init=False, factory=trio.Event)
    _failing_since: datetime | None = field(init=False, default=None)
    _life: int = field(init=False, default=0)
    """Goes up when the connector is disabled: what waits, or is held back, belongs to a
    life that is over.
    """

    def __attrs_post_init__(self) -> None:
        self._settled.set()
        self._ready, ready = trio.open_memory_channel[str](math.inf)
        for _ in range(self._delivery.parallel):
            self._network.deliveries.start_soon(self._deliver, ready)
        self.project.takers.append(self._take)

    @property
    def disabled(self) -> bool:
        """Whether it is SYSTEM_DISABLED or USER_DISABLED."""
        return self.status != "ACTIVE"

    def publish(
        self,
        event_type: str,
        device: str,
        fields: Mapping[str, Any] | None = None,
        *,
        time: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        device_type: str | None = None,
    ) -> str:
        """Let a device of the project publish an event, as :meth:`Project.publish`."""
        return self.project.publish(
            event_type, device, fields, time=time, labels=labels, device_type=device_type
        )

    async def drained(self) -> None:
        """Wait until every event was acknowledged or lost, and every duplicate was
        sent.
        """
        await self._settled.wait()

    def enable(self) -> None:
        """Set the status to ACTIVE: what was lost stays lost."""
        self.status = "ACTIVE"
        self._failing_since = None

    def disable(self, status: Status = "USER_DISABLED") -> None:
        """Lose everything that waits, and what is published from now on."""
        self.status = status
        self._life += 1

    def delete(self) -> None:
        """Take no more events, and lose those that wait."""
        self.project.takers.remove(self._take)
        self.disable()

    def sync(self) -> None:
        """Push the latest event of each type of each device again, as it was."""
        for event, device in self.project.latest():
            self._take(event, device, True)

    def _take(self, event: DeviceEvent, device: Device, repeat: bool) -> None:
        if self.events and event.type not in self.events:
            return
        if self.disabled:
            if not repeat:
                self.lost.add(event.id)
            return
        metadata = {
            "deviceId": device.id,
            "projectId": self.project.id,
            "deviceType": device.type,
            "productNumber": "",  # as DT has it where it is not known
        }
        labels = {
            key: value
            for key, value in device.labels.items()
            if self.labels is None or key in self.labels
        }
        body = push_body(event.text, labels, metadata, self.faults, self._hit)
        line = "" if self._delivery.one_queue else device.id
        push = _Push(event.id, line, body, self._network.now(), self._life, repeat=repeat)
        self._count(+1)
        if self._hit(self.faults.reorder):
            self._network.deliveries.start_soon(self._queue_later, push, self._delivery.spacing)
        else:
            self._queue(push)

    def _hit(self, share: float) -> bool:
        return share > 0 and self._network.random.random() < share

    def _count(self, change: int) -> None:
        self.pending += change
        if self.pending == 0:
            self._settled.set()
        elif self._settled.is_set():
            self._settled = trio.Event()

    def _queue(self, push: _Push) -> None:
        if push.life != self._life:
            self._lose(push)
            self._count(-1)
        elif queue := self._queues.get(push.line):
            queue.append(push)
        else:
            self._queues[push.line] = deque([push])
            self._ready.send_nowait(push.line)

    async def _queue_later(self, push: _Push, delay: float) -> None:
        await trio.sleep(delay)
        self._queue(push)

    def _lose(self, push: _Push) -> None:
        if not push.repeat:
            self.lost.add(push.event_id)

    async def _deliver(self, ready: trio.MemoryReceiveChannel[str]) -> None:
        async for line in ready:
            queue = self._queues[line]
            push = queue[0]
            if (
                push.life != self._life
                or self._network.now() - push.published >= self._delivery.keep
            ):
                self._lose(push)
                self._settle_first(queue)
            elif await self._attempt(push):
                if not push.repeat and self._hit(self.faults.duplicate):
                    self._repeat(push)
                self._settle_first(queue)
            elif self._hit(self.faults.late_retry):
                self._count(+1)
                self._network.deliveries.start_soon(self._queue_later, push, self._delivery.late)
                self._settle_first(queue)
            else:
                self._network.deliveries.start_soon(self._ready_later, push)

    def _repeat(self, push: _Push) -> None:
        self._count(+1)
        again = _Push(
            push.event_id, push.line, push.body, self._network.now(), push.life, repeat=True
        )
        if self._hit(self.faults.late_retry):
            self._network.deliveries.start_soon(self._queue_later, again, self._delivery.late)
        else:
            self._queue(again)

    def _settle_first(self, queue: deque[_Push]) -> None:
        line = queue.popleft().line
        if queue:
            self._ready.send_nowait(line)
        else:
            del self._queues[line]
        self._count(-1)

    async def _ready_later(self, push: _Push) -> None:
        wait = self._delivery.spacing * (1 + self._delivery.jitter * self._network.random.random())
        await trio.sleep(wait)
        self._ready.send_nowait(push.line)

    async def _attempt(self, push: _Push) -> bool:
        """Send an event once and return whether that was a success."""
        faults = self.faults if push.attempts < self.faults.attempts else NO_FAULTS
        push.attempts += 1
        began = trio.current_time()
        status, outcome = 0, "no answer in time"
        with trio.move_on_after(self._delivery.answer_limit):
            status, outcome = await self._send(push, faults)
        if status and self._hit(faults.cut_after_answer):
            status, outcome = 0, "answer lost"
        self.outcomes[outcome] += 1
        self.metrics.note(self._network.now(), status, trio.current_time() - began)
        success = status == 200 or (200 <= status < 300 and not self._delivery.exactly_200)
        if success:
            self.acknowledged[push.event_id] += 1
        self._watch(success)
        return success

    async def _send(self, push: _Push, faults: Faults) -> tuple[int, str]:
        """Make one request and return the status, 0 for none, and a word for what it
        ended with.
        """
        network = self._network
        to, signed = self.endpoint, network.now()
        push.first = push.first or (to, signed)
        if not self._delivery.sign_anew:
            to, signed = evolve(to, secret=push.first[0].secret), push.first[1]
        parts = (to, push.body, signed, faults, self._hit, network.random)
        try:
            if self._hit(faults.half_closed):
                status = await send_half(*parts, network.verify)
                return status, str(status or "half-closed, no answer")
            response = await network.client.send(sign_request(*parts))
        except ConnectionCutError:
            return 0, "connection cut"
        except (httpx.HTTPError, OSError, trio.BrokenResourceError) as exc:
            return 0, type(exc).__name__
        return response.status_code, str(response.status_code)

    def _watch(self, success: bool) -> None:
        """Disable the connector after days of nothing but failures."""
        if success:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = self._network.now()
        elif (
            self._network.now() - self._failing_since >= self._delivery.disable_after
            and not self.disabled
        ):
            self.disable("SYSTEM_DISABLED")
