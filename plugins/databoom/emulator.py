"""A stand-in for Databoom: the push, the list of signals, and the chart that reads values back.

request ──▶ fault due? ──▶ token and scope ──▶ emulator_cloud.py ──▶ answer
              delay, status, cut before                                └─ cut after, another body

Written from vendor documentation; the sink's own encoding and classification are not used. Where the documentation is
silent, ``Rules`` and ``Faults`` let a test choose.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Literal
from urllib.parse import parse_qs

import orjson
import trio
from attrs import define, field, frozen

from bridge.api import JSON, Answer, Emulation, EmulatorContext, HangUp, Request, Value, serve_http
from bridge_plugins.databoom.emulator_cloud import Cloud, Refuse, Rules
from bridge_plugins.databoom.emulator_dates import parse_date

SCOPES = ("Publish", "Create", "Read", "Update")
PUSH = "/v1/signals/push"
HIDDEN = "Bearer ********"


@frozen
class Fault:
    """What goes wrong with one push."""

    delay: float = 0.0
    """Seconds before anything happens."""
    cut: Literal["before", "after"] | None = None
    """Close the connection without an answer, before or after the values are stored."""
    status: int | None = None
    """Answer this and store nothing."""
    retry_after: int | datetime | None = None
    """Seconds, or a time that is sent as HTTP date."""
    location: str | None = None
    """Where a redirect leads."""
    body: bytes | None = None
    """This body instead of the usual one."""


@define
class Faults:
    """What goes wrong. Nothing, at first; may be changed at any time."""

    next: deque[Fault] = field(factory=deque)
    """One for each of the next pushes."""
    always: Fault | None = None
    """For every push that has none of its own."""
    poison: set[Value] = field(factory=set)
    """A push with such a value, or for such a signal, is refused with 400."""
    clock_skew: timedelta = timedelta(0)
    """How far the ``Date`` of answers is ahead."""


@frozen
class Logged:
    """A request as it came in. The token is not in it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int | None
    """What was answered; None if the connection was closed instead."""

    @property
    def json(self) -> JSON:
        """The body, parsed."""
        return orjson.loads(self.body)


class Emulator:
    """A stand-in that is up."""

    def __init__(
        self,
        cloud: Cloud,
        faults: Faults,
        tokens: Mapping[str, Collection[str]],
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
        self._tokens = {token: frozenset(scopes) for token, scopes in tokens.items()}
        self._revoked: set[str] = set()
        self._now = now
        self._keep_log = keep_log

    def revoke(self, token: str) -> None:
        """Delete a token, as a person does it in Databoom."""
        self._revoked.add(token)

    def restore(self, token: str) -> None:
        """Make a revoked token good again."""
        self._revoked.discard(token)

    async def answer(self, request: Request) -> Answer:
        """Answer a request. :raises HangUp: to close the connection instead."""
        fault = self._fault(request)
        status: int | None = None
        try:
            if fault.delay:
                await trio.sleep(fault.delay)
            answer = self._answer(request, fault)
            status = answer.status
        finally:
            if self._keep_log:
                self._log(request, status)
        return answer

    def _fault(self, request: Request) -> Fault:
        if request.path.rstrip("/") != PUSH:
            return Fault()
        if self.faults.next:
            return self.faults.next.popleft()
        return self.faults.always or Fault()

    def _answer(self, request: Request, fault: Fault) -> Answer:
        now = self._now()
        status, document = 200, {}
        if fault.cut == "before":
            raise HangUp
        if fault.status is not None:
            status, document = fault.status, {"message": f"fault {fault.status}"}
        else:
            try:
                document = self._route(request, now)
            except Refuse as refusal:
                status, document = refusal.status, {"message": refusal.message}
        if fault.cut == "after":
            raise HangUp
        body = orjson.dumps(document) if fault.body is None else fault.body
        headers = [("Content-Type", "application/json"), ("Date", _http_date(now + self.faults.clock_skew))]
        if fault.retry_after is not None:
            late = fault.retry_after
            headers.append(("Retry-After", _http_date(late) if isinstance(late, datetime) else str(late)))
        if fault.location is not None:
            headers.append(("Location", fault.location))
        return Answer(status, body, tuple(headers))

    def _route(self, request: Request, now: datetime) -> JSON:
        match request.method, request.path.rstrip("/"):
            case "POST", "/v1/signals/push":
                self._authorise(request, "Publish")
                return self._push(request, now)
            case "GET", "/v1/signals":
                self._authorise(request, "Read")
                return self.cloud.listed(_asked(request, "page", 1), _asked(request, "per_page", 50))
            case "POST", "/v1/chart":
                self._authorise(request, "Read")
                return self._chart(_parsed(request.body))
        raise Refuse(404, "Not found")

    def _authorise(self, request: Request, scope: str) -> None:
        scheme, _, token = request.headers.get("authorization", ("",))[0].partition(" ")
        if scheme != "Bearer" or token not in self._tokens or token in self._revoked:
            raise Refuse(401, "Unauthorized")
        if scope not in self._tokens[token]:
            raise Refuse(403, "Forbidden")

    def _push(self, request: Request, now: datetime) -> JSON:
        if len(request.body) > self.cloud.rules.most_bytes:
            raise Refuse(413, "request entity too large")
        document = _parsed(request.body)
        sent = self.cloud.push(document, now)
        if any(one.value in self.faults.poison or one.signal in self.faults.poison for one in sent):
            raise Refuse(400, "this value is not liked")
        self.cloud.store(document["device"], sent, now)
        return {"message": "ALL_INFO_PROCESSED"}

    def _chart(self, asked: JSON) -> JSON:
        if not isinstance(asked, dict) or asked.get("granularity") not in ("*", "a"):
            raise Refuse(400, "granularity is not known here")  # every value or automatic; hours and days are not built
        start, end = (parse_date(asked.get(name), UTC) for name in ("startDate", "endDate"))
        if start is None or end is None or not isinstance(asked.get("signals"), list):
            raise Refuse(400, "signals or dates are missing")
        return self.cloud.chart(asked["signals"], start, end)

    def _log(self, request: Request, status: int | None) -> None:
        headers = {name: ", ".join(values) for name, values in request.headers.items()}
        if "authorization" in headers:
            headers["authorization"] = HIDDEN
        self.requests.append(Logged(request.method, request.path, headers, request.body, status))


def _asked(request: Request, name: str, default: int) -> int:
    text = parse_qs(request.query).get(name, [str(default)])[0]
    if not text.isdecimal() or int(text) < 1:
        raise Refuse(400, f"{name} is not a number")
    return int(text)


def _parsed(body: bytes) -> JSON:
    try:
        return orjson.loads(body)
    except ValueError:
        raise Refuse(400, "Unexpected token in JSON") from None


def _http_date(time: datetime) -> str:
    return format_datetime(time.astimezone(UTC), usegmt=True)


@asynccontextmanager
async def open_emulator(
    tokens: Mapping[str, Collection[str]],
    *,
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
    :param arrived: called for each value that is recorded: device, signal, value, time of measurement.
    :param now: the wall clock of this Databoom; by default that of this machine.
    :param keep_log: whether requests are kept; off for long runs.
    """
    cloud = Cloud(rules or Rules(), arrived)
    emulator = Emulator(cloud, faults or Faults(), tokens, now=now or partial(datetime.now, UTC), keep_log=keep_log)
    async with serve_http(emulator.answer, port=port, tls=tls) as base:
        emulator.url = base + PUSH
        yield emulator


@asynccontextmanager
async def open_emulation(context: EmulatorContext) -> AsyncIterator[Emulation]:
    """Open the stand-in for ``bridged demo``: HTTPS, devices made as they come, nothing kept."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(context.certificate, context.key)
    token = f"demo-{context.random.getrandbits(64):016x}"
    rules = Rules(keep_points=False)
    serving = open_emulator({token: SCOPES}, rules=rules, arrived=context.arrived, keep_log=False, tls=tls)
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
