"""The emulator, up and serving.

request ─▶ fault due? ─▶ routes ─▶ cloud, chart ─▶ answer
             delay, status,          cut after, ───┘
             cut before              another body
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial

import orjson
import trio

from bridge.api import JSON, Request, Response, Value
from bridge.testing.emulation import Emulation, EmulatorContext
from bridge.testing.http_server import HangUp, serve_http

from .cloud import Cloud
from .faults import Fault, Faults, Logged
from .model import RefusedError, Rules
from .routes import PUSH, SCOPES, Access, is_push, route

BODILESS = (204, 304)  # statuses that have no body in HTTP

__all__ = [
    "SCOPES",
    "Emulator",
    "Fault",
    "Faults",
    "Logged",
    "Rules",
    "open_emulation",
    "open_emulator",
]


class Emulator:
    """An emulator that is up."""

    def __init__(
        self,
        cloud: Cloud,
        faults: Faults,
        access: Access,
        *,
        now: Callable[[], datetime],
        keep_log: bool,
    ) -> None:
        self.url = ""
        """Whole URL of the push."""
        self.cloud = cloud
        self.faults = faults
        self.requests: list[Logged] = []
        """Every request, in the order of arrival; empty if the log is switched off."""
        self._access = access
        self._now = now
        self._keep_log = keep_log

    def revoke(self, credential: str) -> None:
        """Delete a token or API key, as a person does it in Databoom."""
        self._access.revoke(credential)

    def restore(self, credential: str) -> None:
        """Make a revoked one good again."""
        self._access.restore(credential)

    async def answer(self, request: Request) -> Response:
        """Answer a request. :raises HangUp: to close the connection instead."""
        fault = self.faults.due(push=is_push(request))
        status: int | None = None
        try:
            if fault.delay:
                await trio.sleep(fault.delay)
            answer = self._answer(request, fault)
            status = answer.status
        finally:
            if self._keep_log:
                self.requests.append(Logged.of(request, status))
        return answer

    def _answer(self, request: Request, fault: Fault) -> Response:
        now = self._now()
        status = 200
        document: JSON = None
        if fault.cut == "before":
            raise HangUp
        if fault.status is not None:
            status, document = fault.status, {"message": f"fault {fault.status}"}
        else:
            try:
                document = route(request, self.cloud, self._access, self.faults, now)
            except RefusedError as refusal:
                status, document = refusal.status, {"message": refusal.message}
        if fault.cut == "after":
            raise HangUp
        body = orjson.dumps(document) if fault.body is None else fault.body
        if status in BODILESS:
            body = b""
        headers = [
            ("Content-Type", "application/json"),
            ("Date", _http_date(now + self.faults.clock_skew)),
        ]
        if fault.retry_after is not None:
            late = fault.retry_after
            headers.append(
                ("Retry-After", _http_date(late) if isinstance(late, datetime) else str(late))
            )
        if fault.location is not None:
            headers.append(("Location", fault.location))
        return Response(status, body, tuple(headers))


def _http_date(time: datetime) -> str:
    return format_datetime(time.astimezone(UTC), usegmt=True)


@asynccontextmanager
async def open_emulator(
    tokens: Mapping[str, Collection[str]],
    *,
    apikeys: Collection[str] = (),
    rules: Rules | None = None,
    faults: Faults | None = None,
    arrived: Callable[[str, str, Value, datetime], None] | None = None,
    now: Callable[[], datetime] | None = None,
    keep_log: bool = True,
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Emulator]:
    """Serve a Databoom on 127.0.0.1 while the block is entered.

    :param tokens: token to its scopes.
    :param apikeys: API keys, which may do everything.
    :param arrived: called for each value that is recorded: device, signal, value, time
        of measurement.
    :param now: the wall clock of this Databoom; by default that of this machine.
    :param keep_log: whether requests are kept; off for long runs.
    """
    cloud = Cloud(rules or Rules(), arrived)
    access = Access(tokens, apikeys)
    emulator = Emulator(
        cloud, faults or Faults(), access, now=now or partial(datetime.now, UTC), keep_log=keep_log
    )
    async with serve_http(emulator.answer, port=port, tls=tls) as base:
        emulator.url = base + PUSH
        yield emulator


@asynccontextmanager
async def open_emulation(context: EmulatorContext) -> AsyncIterator[Emulation]:
    """Open the emulator for ``bridged demo``: HTTPS, devices made as they come, nothing
    kept.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(context.certificate, context.key)
    token = f"demo-{context.random.getrandbits(64):016x}"
    rules = Rules(keep_points=False)
    serving = open_emulator(
        {token: SCOPES}, rules=rules, arrived=context.arrived, keep_log=False, tls=tls
    )
    async with serving as emulator:
        settings = {
            "plugin": "databoom",
            "url": emulator.url,
            "token": token,
            "ca_file": str(context.ca_file),
            "device": "{source}_{device}",
        }
        yield Emulation("sink:databoom", settings, _nothing_to_produce)


async def _nothing_to_produce(rate: float) -> None:
    """Return at once: a destination produces nothing."""
