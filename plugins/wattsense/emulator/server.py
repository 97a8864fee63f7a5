"""Emulator of the Wattsense cloud: it calls a bridge's webhook, as well and as badly as
one may.

    publish ─▶ lane (a share of the devices, in order) ─▶ requests, signed ─▶ bridge
       │                        ^── not 2xx, or no answer: after a pause ──┘
       └─▶ store, from which the emulator of the REST API answers

A value is known by (device, property, milliseconds since the epoch), which the bridge's
events carry unchanged: what is in ``acknowledged`` and never reaches a destination was
lost. How the cloud calls, and what goes wrong, are options.
Faults are requests beside the proper ones: none but ``lost`` makes a value go missing.
"""

from __future__ import annotations

import gzip
import random
import ssl
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import httpx
import orjson
import trio
from attrs import Factory, define

from .messages import (
    HOUR,
    Body,
    Item,
    framed,
    other_messages,
    oversized,
    unwanted_items,
)
from .options import WebhookOptions
from .signing import Headers, Message, Sign, signer
from .store import Store

ValueId: TypeAlias = tuple[str, str, int]
"""Device, property, milliseconds since the epoch."""

Channel: TypeAlias = trio.MemoryReceiveChannel[tuple[ValueId, Item]]

WAITING = 1000  # values that a lane holds before publish waits
WRONG_SECRET = "d3Jvbmc="  # noqa: S105  # "wrong" in base64, so that every preset can sign with it


@define(eq=False)
class Emulator:
    """A cloud that is up; made by :func:`open_emulator`."""

    acknowledged: set[ValueId]
    """What the bridge has answered with success: it must never be lost."""
    given_up: set[ValueId]
    """What was never answered with success, within the retries."""
    answers: Counter[tuple[str, int]]
    """How often each cause of a request (a fault, a route) was answered with each
    status; 0 is no answer.
    """
    store: Store
    """Every value that was published."""
    options: WebhookOptions
    """May be exchanged while the cloud is up, but for lanes and time-outs."""

    _url: str
    _client: httpx.AsyncClient
    _sign: Sign
    _sign_wrongly: Sign
    _credentials: Mapping[str, str]
    _rng: random.Random
    _now: Callable[[], datetime]
    _lanes: Sequence[trio.MemorySendChannel[tuple[ValueId, Item]]]
    _newest: dict[tuple[str, str], int] = Factory(dict)
    _under_way: int = 0
    _settled: trio.Condition = Factory(trio.Condition)

    async def publish(
        self,
        device: str,
        property_: str,
        value: Any,
        *,
        timestamp: int | None = None,
        **members: Any,
    ) -> ValueId:
        """Let a property have a value; returns how it will be known. Waits while too
        much is on its way.

        :param timestamp: milliseconds since the epoch; default now, and never twice the
            same for a property.
        :param members: further members of the message, or other values for those it
            has.
        """
        if timestamp is None:
            timestamp = max(self._milliseconds(), self._newest.get((device, property_), 0) + 1)
            self._newest[device, property_] = timestamp
        known_as = (device, property_, timestamp)
        item = {
            "deviceId": device,
            "property": property_,
            "timestamp": timestamp,
            "payload": value,
        } | members
        self.store.add(item)
        self._under_way += 1
        await self._lanes[zlib.crc32(device.encode()) % len(self._lanes)].send((known_as, item))
        return known_as

    async def drained(self) -> None:
        """Wait until every published value is acknowledged or given up."""
        async with self._settled:
            while self._under_way:
                await self._settled.wait()

    async def send(self, route: str, document: Any) -> int:
        """Send one document, such as an alarm of any form, once; returns the status, 0
        for no answer.
        """
        return await self.send_body(route, orjson.dumps(document), cause=route)

    async def send_body(
        self,
        route: str,
        body: bytes,
        *,
        cause: str,
        sign: Sign | None = None,
        signed_at: int | None = None,
    ) -> int:
        """Send any bytes once; returns the status, 0 for no answer.

        :param cause: the name under which the answer is counted.
        :param sign: default the proper signature.
        :param signed_at: milliseconds since the epoch; default now.
        """
        content = gzip.compress(body, 1) if self.options.gzip else body
        url = f"{self._url}/{route}" + (f"?{self.options.query}" if self.options.query else "")
        parts = urlsplit(url)
        message = Message(
            method=self.options.method,
            path=parts.path,
            query=parts.query,
            body=content,
            milliseconds=self._milliseconds() if signed_at is None else signed_at,
            id=f"msg_{self._rng.getrandbits(64):016x}",
        )
        headers = {**self._credentials, **(sign or self._sign)(message)}
        headers |= {"Host": parts.netloc, "Content-Type": self.options.content_type}
        if self.options.gzip:
            headers["Content-Encoding"] = "gzip"
        if self.options.chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(len(content))
        patience = {"timeout": self._client.timeout.as_dict()}
        request = httpx.Request(
            message.method, url, headers=headers, stream=Body(content), extensions=patience
        )
        try:
            status = (await self._client.send(request)).status_code
        except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.TimeoutException):
            status = 0
        self.answers[cause, status] += 1
        return status

    async def _deliver(self, lane: Channel) -> None:
        """Send what comes through one lane, for ever."""
        async for first in lane:
            waiting = [first, *_waiting(lane, self.options.max_items - 1)]
            if self._happens(self.options.reordered):
                self._rng.shuffle(waiting)
            size = 1 if self.options.framing == "object" else len(waiting)
            for start in range(0, len(waiting), size):
                await self._settle(waiting[start : start + size])

    async def _settle(self, values: Sequence[tuple[ValueId, Item]]) -> None:
        items = [{**item, **self.options.members} for _, item in values]
        body = orjson.dumps(framed(self.options.framing, items))
        await self._go_wrong(body)
        lost = self._happens(self.options.lost)
        settled = self.acknowledged if not lost and await self._insist(body) else self.given_up
        settled.update(known_as for known_as, _ in values)
        if not lost and self._happens(self.options.duplicates):
            await self.send_body("values", body, cause="duplicates")
        self._under_way -= len(values)
        async with self._settled:
            self._settled.notify_all()

    async def _insist(self, body: bytes) -> bool:
        """Send until answered with success (True) or out of retries (False)."""
        attempt = 0
        while not 200 <= await self.send_body("values", body, cause="values") < 300:
            if attempt >= self.options.retries:
                return False
            await trio.sleep(self.options.pauses[min(attempt, len(self.options.pauses) - 1)])
            attempt += 1
        return True

    async def _go_wrong(self, body: bytes) -> None:
        """Send what a bridge must refuse, or take without forwarding it."""
        now = self._milliseconds()
        if self._happens(self.options.unwanted):
            await self.send_body("values", orjson.dumps(unwanted_items(now)), cause="unwanted")
        if self._happens(self.options.bad_signature):
            await self.send_body("values", body, cause="bad_signature", sign=self._sign_wrongly)
        if self._happens(self.options.stale):
            await self.send_body("values", body, cause="stale", signed_at=now - HOUR)
        if self._happens(self.options.malformed):
            await self.send_body("values", body[: len(body) // 2], cause="malformed")
        if self._happens(self.options.oversized):
            await self.send_body(
                "values", oversized(self.options.oversized_bytes), cause="oversized"
            )
        if self._happens(self.options.other_kinds):
            for cause, document in other_messages(now).items():
                route = "values" if cause == "unknown" else cause
                await self.send_body(route, orjson.dumps(document), cause=cause)
            await self.send_body("unknown", b"{}", cause="unknown-route")

    def _happens(self, share: float) -> bool:
        return self._rng.random() < share

    def _milliseconds(self) -> int:
        return int(self._now().timestamp() * 1000)


def _waiting(lane: Channel, most: int) -> list[tuple[ValueId, Item]]:
    """Return what waits in a lane already."""
    values: list[tuple[ValueId, Item]] = []
    while len(values) < most:
        try:
            values.append(lane.receive_nowait())
        except trio.WouldBlock:
            break
    return values


@asynccontextmanager
async def open_emulator(
    url: str,
    *,
    preset: str = "none",
    secret: str = "",
    header: str = "X-Signature-SHA256",
    key_id: str = "",
    credentials: Headers | None = None,
    options: WebhookOptions | None = None,
    rng: random.Random | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ca_file: Path | None = None,
) -> AsyncIterator[Emulator]:
    """Open a cloud that calls ``url``/values, ``url``/events and ``url``/alarms.

    It may be opened before the bridge is up, and outlives any number of its restarts.

    :param preset: convention of signing, with ``secret``, ``header`` and ``key_id`` as
        for :func:`signer`.
    :param credentials: headers that authenticate the caller, such as those of
        ``signing.basic``.
    :param ca_file: the CA of the bridge's certificate, PEM; default the public ones.
    """
    options = options or WebhookOptions()
    # Loading the public CAs takes long; without TLS nobody needs them.
    plain = url.startswith("http://")
    verify = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if plain
        else ssl.create_default_context(cafile=ca_file)
    )
    async with (
        httpx.AsyncClient(verify=verify, timeout=options.timeout) as client,
        trio.open_nursery() as lanes,
    ):
        channels = [
            trio.open_memory_channel[tuple[ValueId, Item]](WAITING) for _ in range(options.lanes)
        ]
        emulator = Emulator(
            acknowledged=set(),
            given_up=set(),
            answers=Counter(),
            store=Store(),
            url=url.rstrip("/"),
            client=client,
            sign=signer(preset, secret, header=header, key_id=key_id),
            sign_wrongly=signer(preset, WRONG_SECRET, header=header, key_id=key_id),
            credentials=credentials or {},
            options=options,
            rng=rng or random.Random(),  # noqa: S311  # an emulator keeps no secrets
            now=now,
            lanes=[send for send, _ in channels],
        )
        for _, receive in channels:
            lanes.start_soon(emulator._deliver, receive)
        yield emulator
        lanes.cancel_scope.cancel()
