"""Emulator of DT: one Data Connector of type HTTP_PUSH, with its queue.

    publish ─▶ queue of the device ─▶ attempt ─ 200 ─▶ acknowledged
                     ▲                   │
                     └── after spacing ◀─┴─ anything else, until the event is 12 h old: lost

At least once: an event leaves its queue on success only. Several pushes are under way at one time, but one for a
device, so that its events come in order: kinder than DT, which promises none (the knob ``reorder`` is for that).

Times are known from vendor documentation, except the spacing of retries, which DT does not tell.
"""

from __future__ import annotations

import math
import ssl
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
import trio
from attrs import define, field, frozen

from bridge_plugins.disruptive.emulator_requests import (
    ConnectionCutError,
    Faults,
    event_data,
    new_xid,
    push_body,
    rfc3339,
    sign_request,
)

NO_FAULTS = Faults()


@frozen
class Delivery:
    """How the connector delivers."""

    spacing: float = 5.0
    """Seconds from a failed attempt to the next (assumed)."""
    jitter: float = 0.1
    """Share of the spacing that is added by chance, at most (assumed)."""
    answer_limit: float = 10.0
    """Seconds in which a request must be answered."""
    keep: timedelta = timedelta(hours=12)
    """Age at which an event is dropped."""
    disable_after: timedelta = timedelta(days=5)
    """Time of failures without a success after which the connector is disabled."""
    exactly_200: bool = True
    """False counts any 2xx as success: DT's pages say both."""
    parallel: int = 8
    """Pushes under way at one time, each on a connection that is kept open."""


@define(eq=False)
class _Push:
    """An event on its way."""

    event_id: str
    device: str
    body: bytes
    published: datetime
    attempts: int = 0
    void: bool = False  # the connector was disabled while it waited
    repeat: bool = False  # the second sending of an event that was acknowledged


@define(eq=False, repr=False)
class Connector:
    """A Data Connector. Made by :func:`open_emulator`."""

    faults: Faults
    """May be replaced at any time."""
    acknowledged: Counter[str] = field(init=False, factory=Counter)
    """eventId to the number of successes that we heard of."""
    lost: set[str] = field(init=False, factory=set)
    """eventIds that were dropped for their age, or published or waiting while the connector was disabled."""
    outcomes: Counter[str] = field(init=False, factory=Counter)
    """What attempts ended with, such as ``200``, ``503`` or ``ConnectError``, to their number."""
    disabled: bool = field(init=False, default=False)
    """True after days of failures (SYSTEM_DISABLED), or :meth:`disable` (USER_DISABLED)."""
    pending: int = field(init=False, default=0)
    """Events and duplicates that are waiting or under way."""

    _url: httpx.URL
    _secret: str
    _headers: Mapping[str, str]
    _delivery: Delivery
    _random: Random
    _now: Callable[[], datetime]
    _client: httpx.AsyncClient
    _deliveries: trio.Nursery
    _project: str = field(init=False)
    _queues: dict[str, deque[_Push]] = field(init=False, factory=dict)
    """Events that wait, by device; the first may be under way."""
    _ready: trio.MemorySendChannel[str] = field(init=False)
    """Devices whose first event may be attempted now."""
    _settled: trio.Event = field(init=False, factory=trio.Event)
    _failing_since: datetime | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._project = new_xid(self._now(), self._random)
        self._settled.set()
        self._ready, ready = trio.open_memory_channel[str](math.inf)
        for _ in range(self._delivery.parallel):
            self._deliveries.start_soon(self._deliver, ready)

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
        """Queue an event and give its eventId.

        :param event_type: may be one that nobody knows.
        :param fields: of the type's object, such as ``{"value": 21.5}``. ``updateTime``, and ``samples`` for
            temperature and humidity, are added where they are missing.
        :param time: when the gateway received it; None: now.
        :param device_type: ``metadata.deviceType``; None: as the event type.
        """
        now = self._now()
        event_id = new_xid(now, self._random)
        time = time or now
        event = {
            "eventId": event_id,
            "targetName": f"projects/{self._project}/devices/{device}",
            "eventType": event_type,
            "data": event_data(event_type, fields or {}, time),
            "timestamp": rfc3339(time),
        }
        metadata = {
            "deviceId": device,
            "projectId": self._project,
            "deviceType": event_type if device_type is None else device_type,
            "productNumber": "",
        }
        if self.disabled:
            self.lost.add(event_id)
            return event_id
        push = _Push(event_id, device, push_body(event, labels or {}, metadata, self.faults, self._hit), now)
        self._count(+1)
        if self._hit(self.faults.reorder):
            self._deliveries.start_soon(self._queue_later, push)
        else:
            self._queue(push)
        return event_id

    async def drained(self) -> None:
        """Wait until every event was acknowledged or lost, and every duplicate was sent."""
        await self._settled.wait()

    def enable(self) -> None:
        """Set the status of a disabled connector to ACTIVE: what was lost stays lost."""
        self.disabled = False
        self._failing_since = None

    def disable(self) -> None:
        """Lose everything that waits, and what is published from now on."""
        self.disabled = True
        for queue in self._queues.values():
            for push in queue:
                push.void = True

    def _hit(self, share: float) -> bool:
        return share > 0 and self._random.random() < share

    def _count(self, change: int) -> None:
        self.pending += change
        if self.pending == 0:
            self._settled.set()
        elif self._settled.is_set():
            self._settled = trio.Event()

    def _queue(self, push: _Push) -> None:
        if self.disabled:
            self.lost.add(push.event_id)
            self._count(-1)
        elif queue := self._queues.get(push.device):
            queue.append(push)
        else:
            self._queues[push.device] = deque([push])
            self._ready.send_nowait(push.device)

    async def _queue_later(self, push: _Push) -> None:
        await trio.sleep(self._delivery.spacing)
        self._queue(push)

    async def _deliver(self, ready: trio.MemoryReceiveChannel[str]) -> None:
        async for device in ready:
            queue = self._queues[device]
            push = queue[0]
            if push.void or self._now() - push.published >= self._delivery.keep:
                if not push.repeat:
                    self.lost.add(push.event_id)
                self._settle_first(queue)
            elif await self._attempt(push):
                if not push.repeat and self._hit(self.faults.duplicate):
                    self._count(+1)
                    self._queue(_Push(push.event_id, device, push.body, self._now(), repeat=True))
                self._settle_first(queue)
            else:
                self._deliveries.start_soon(self._ready_later, device)

    def _settle_first(self, queue: deque[_Push]) -> None:
        device = queue.popleft().device
        if queue:
            self._ready.send_nowait(device)
        else:
            del self._queues[device]
        self._count(-1)

    async def _ready_later(self, device: str) -> None:
        await trio.sleep(self._delivery.spacing * (1 + self._delivery.jitter * self._random.random()))
        self._ready.send_nowait(device)

    async def _attempt(self, push: _Push) -> bool:
        """Send an event once; gives whether that was a success."""
        faults = self.faults if push.attempts < self.faults.attempts else NO_FAULTS
        push.attempts += 1
        request = sign_request(
            self._url, self._headers, push.body, self._secret, self._now(), faults, self._hit, self._random
        )
        status, outcome = 0, "no answer in time"
        with trio.move_on_after(self._delivery.answer_limit):
            try:
                response = await self._client.send(request)
                status, outcome = response.status_code, str(response.status_code)
            except ConnectionCutError:
                outcome = "connection cut"
            except httpx.HTTPError as exc:
                outcome = type(exc).__name__
        if status and self._hit(faults.cut_after_answer):
            status, outcome = 0, "answer lost"
        self.outcomes[outcome] += 1
        success = status == 200 or (200 <= status < 300 and not self._delivery.exactly_200)
        if success:
            self.acknowledged[push.event_id] += 1
        self._watch(success)
        return success

    def _watch(self, success: bool) -> None:
        """Disable the connector after days of nothing but failures."""
        if success:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = self._now()
        elif self._now() - self._failing_since >= self._delivery.disable_after:
            self.disable()


@asynccontextmanager
async def open_emulator(
    url: str,
    secret: str,
    *,
    verify: ssl.SSLContext | bool = True,
    headers: Mapping[str, str] | None = None,
    delivery: Delivery | None = None,
    faults: Faults = NO_FAULTS,
    random: Random | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Connector]:
    """Push to ``url`` for as long as the block is entered; what waits at its end is forgotten.

    :param verify: how to verify the certificate of the bridge.
    :param headers: the connector's custom headers.
    :param now: the clock of tokens and ages. Retries and time limits follow trio's clock.
    :param transport: another way than the network, for tests.
    """
    delivery = delivery or Delivery()
    limits = httpx.Limits(max_connections=delivery.parallel, max_keepalive_connections=delivery.parallel)
    forever = httpx.Timeout(None)  # the answer limit is around the whole attempt
    client = httpx.AsyncClient(verify=verify, timeout=forever, limits=limits, trust_env=False, transport=transport)
    async with client, trio.open_nursery() as deliveries:
        yield Connector(
            faults=faults,
            url=httpx.URL(url),
            secret=secret,
            headers=headers or {},
            delivery=delivery,
            random=random or Random(),  # noqa: S311  # decides on faults, protects nothing
            now=now,
            client=client,
            deliveries=deliveries,
        )
        deliveries.cancel_scope.cancel()
