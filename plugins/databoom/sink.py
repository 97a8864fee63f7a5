"""Sink: one attempt to deliver a batch to Databoom.

batch ──▶ plan ──▶ push, push, push: one request at a time, in order ──▶ all accepted | verdict
                     └─ 413 ──▶ halves, at once

Rules:

* A push that is tried again has the same body, byte for byte: whether a cut answer meant "stored" cannot be known.
  So what the sink learns from a batch, it applies when the batch is through.
* What was accepted of a batch that failed later is not sent again while the sink stays open. A batch of many pushes
  gets on with each attempt, even where one attempt is too short for all of them.
* 404 means one device only if others go through. Such a device is probed for long before its events become dead
  letters: its token may have been mistyped, in Databoom or here.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import sha256
from typing import Any

import httpx
import trio
from attrs import define, field

from bridge.api import Batch, Filtered, Pause, Reject, SettingError, SinkContext
from bridge_plugins.databoom.answers import Accepted, NotFound, TooLarge, Verdict, classify, clock_skew, explain
from bridge_plugins.databoom.encoding import Plan, Push, plan
from bridge_plugins.databoom.naming import Names
from bridge_plugins.databoom.settings import DataboomSettings

MOST_CONNECTIONS = 8  # above this httpx spends its time on choosing a connection (measured)
IDLE_SECONDS = 30.0  # then a connection is closed: the vendor's own limit is unknown
MOST_ANSWER = 64 << 10  # bytes of an answer that are kept; the documented one has 32
MOST_SIGNALS = 100_000  # introduced signals, and devices not found, that are remembered
MOST_BATCHES = 256  # unfinished batches of which the accepted pushes are remembered
MOST_READINGS = 1000  # planned in the event loop: 10 ms; more of them go to a thread
MOST_REASONS = 3  # told of one batch
MOST_SKEW = 60.0  # seconds between our clock and Databoom's


@asynccontextmanager
async def open_databoom(settings: DataboomSettings, context: SinkContext) -> AsyncIterator[DataboomSink]:
    """Open the sink. Connections are made when there is something to send.

    :raises SettingError: when ``ca_file`` cannot be used.
    """
    try:
        tls = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as exc:  # ssl.SSLError is one
        reason = exc.strerror or "it holds no certificate"
        raise SettingError("ca_file", f"expected CA certificates in PEM, got {settings.ca_file}: {reason}") from exc
    client = httpx.AsyncClient(
        verify=tls,
        headers={
            "Authorization": f"Bearer {settings.token.reveal()}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "bridged",
        },
        timeout=httpx.Timeout(None, connect=settings.connect_timeout),  # the core bounds the attempt
        limits=httpx.Limits(max_connections=MOST_CONNECTIONS, keepalive_expiry=IDLE_SECONDS),
        http2=False,
        follow_redirects=False,  # the token must not go elsewhere
        trust_env=False,
    )
    async with client:
        yield DataboomSink(settings, context, client)


@define
class Attempt:
    """What has become of a batch so far."""

    accepted: set[bytes]
    """Checksums of the bodies that were taken, in earlier attempts too."""
    unfit: dict[int, str]
    """Position to reason, of the events that cannot be taken."""
    statuses: set[int] = field(factory=set)
    """HTTP statuses among those reasons."""
    taken: list[Push] = field(factory=list)


@define
class Missing:
    """A device that Databoom does not find."""

    since: datetime
    times: int = 0


class DataboomSink:
    """An open sink."""

    def __init__(self, settings: DataboomSettings, context: SinkContext, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._context = context
        self._client = client
        self._names = Names(settings.device, settings.signal, settings.devices, settings.signals)
        self._planning = trio.Lock()
        self._introduced: dict[tuple[str, str], None] = {}  # an ordered set, like the next
        self._accepted: dict[tuple[int, int], set[bytes]] = {}
        self._working: set[str] = set()  # the first two devices that Databoom took a push of
        self._last_success: datetime | None = None
        self._missing: dict[str, Missing] = {}
        self._concern = ""
        self._strange_answer = ""
        self._wrong_clock = ""

    async def deliver(self, batch: Batch) -> Filtered | None:
        """Push a batch. See ``bridge.api.Sink``."""
        todo = await self._plan(batch)
        place = batch.events[0].sequence, batch.events[-1].sequence
        attempt = Attempt(self._accepted.setdefault(place, set()), dict(todo.unfit))
        _forget_oldest(self._accepted, MOST_BATCHES)
        for push in todo.pushes:
            await self._push(push, attempt)
        self._accepted.pop(place, None)
        for push in attempt.taken:
            self._introduced.update(((push.device, point.signal), None) for point in push.points)
        _forget_oldest(self._introduced, MOST_SIGNALS)
        if attempt.unfit:
            status = attempt.statuses.pop() if len(attempt.statuses) == 1 else None
            raise Reject(_sum_up(attempt.unfit.values()), indexes=attempt.unfit.keys(), status=status)
        return Filtered(todo.filtered) if todo.filtered else None

    async def _plan(self, batch: Batch) -> Plan:
        async with self._planning:  # names are not for two threads at once
            if sum(len(stored.event.readings) for stored in batch.events) <= MOST_READINGS:
                return plan(batch.events, self._names, self._introduced, self._settings)
            arguments = batch.events, self._names, self._introduced, self._settings
            return await trio.to_thread.run_sync(plan, *arguments)

    async def _push(self, push: Push, attempt: Attempt) -> None:
        """Send a push, in as many parts as it takes."""
        parts = [push]
        while parts:
            part = parts.pop()
            body = part.body()
            checksum = sha256(body).digest()
            if checksum in attempt.accepted:
                attempt.taken.append(part)
                continue
            match await self._post(body):
                case Accepted():
                    attempt.accepted.add(checksum)
                    attempt.taken.append(part)
                    self._found(part.device)
                case TooLarge() if len(part.points) > 1:
                    parts += reversed(part.halves())
                case TooLarge(why, status):
                    attempt.unfit[part.points[0].event] = f"a single value is too large for Databoom ({why})"
                    attempt.statuses.add(status)
                case NotFound(why, status):
                    reason = self._not_found(part.device, why)
                    attempt.unfit.update((point.event, reason) for point in part.points)
                    attempt.statuses.add(status)
                case verdict:
                    raise verdict

    async def _post(self, body: bytes) -> Verdict:
        answer = bytearray()
        try:
            async with self._client.stream("POST", self._settings.url, content=body) as response:
                async for piece in response.aiter_raw():
                    answer += piece[: MOST_ANSWER - len(answer)]  # the rest is read, so that the connection is kept
        except httpx.TransportError as exc:
            raise explain(exc) from exc
        now = self._context.now()
        token = self._settings.token.reveal()  # an answer may repeat it: then it must not get into a log
        headers = {name: value.replace(token, "********") for name, value in response.headers.items()}
        said = bytes(answer).replace(token.encode(), b"********")
        verdict = classify(response.status_code, headers, said, now=now, strict_body=self._settings.strict_body)
        if isinstance(verdict, Accepted):
            self._show(verdict.remark, clock_skew(headers, now))
        return verdict

    def _found(self, device: str) -> None:
        self._last_success = self._context.now()
        self._missing.pop(device, None)
        if len(self._working) < 2:  # enough to know of any device whether another one works
            self._working.add(device)

    def _not_found(self, device: str, why: str) -> str:
        """Give the reason for dead letters. :raises Pause: when it is too early for that."""
        if not self._working - {device}:
            raise Pause(f"there is nothing at the url, or no device {device!r} ({why}); check url and device tokens")
        now = self._context.now()
        missing = self._missing.setdefault(device, Missing(since=now))
        _forget_oldest(self._missing, MOST_SIGNALS)
        missing.times += 1
        often = missing.times > self._settings.unknown_device_attempts
        long = (now - missing.since).total_seconds() >= self._settings.unknown_device_time
        others_go_on = self._last_success is not None and self._last_success > missing.since
        reason = f"Databoom has no device {device!r} ({why}); create it, or name its token in devices"
        if often and long and others_go_on:
            return f"{reason}, and replay"
        raise Pause(reason, device_only=True)

    def _show(self, strange_answer: str | None, skew: float | None) -> None:
        """Report what a person should look at, at each change."""
        # One strange answer is enough for a look, and is not taken back by the next ordinary one.
        if strange_answer and not self._strange_answer:
            self._strange_answer = f"Databoom accepts with an unusual answer ({strange_answer}); see that values arrive"
        if skew is not None:
            side = "ahead of" if skew > 0 else "behind"
            wrong = (
                f"this machine's clock is more than {MOST_SKEW:.0f} s {side} Databoom's; see that it is synchronised"
            )
            self._wrong_clock = wrong if abs(skew) > MOST_SKEW else ""
        concern = "; ".join(filter(None, (self._strange_answer, self._wrong_clock)))
        if concern != self._concern:
            self._concern = concern
            self._context.report(concern or "delivers", problem=bool(concern))


def _sum_up(reasons: Iterable[str]) -> str:
    different = list(dict.fromkeys(reasons))
    rest = len(different) - MOST_REASONS
    return "; ".join(different[:MOST_REASONS]) + (f"; and {rest} other reasons" if rest > 0 else "")


def _forget_oldest(memory: dict[Any, Any], most: int) -> None:
    while len(memory) > most:
        del memory[next(iter(memory))]
