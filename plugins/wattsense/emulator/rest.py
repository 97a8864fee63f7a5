"""Emulator of Wattsense's REST API: as exact and as troublesome as one may be.

    request ─▶ limit (429) ─▶ trouble, if some is due ─▶ who is it? (401) ─▶ the call
        ─▶ pages, linked

Written from the description of the API. The signature is verified against the raw path
and query of the request line, so that a client which signs one text and sends another
is refused here as there. Statuses of errors, order and the reach of the history are not
published, so each is an option.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qs, unquote

import orjson
import trio
from attrs import Factory, define, field

from bridge.api import Request, Response
from bridge.testing.http_server import HangUp, serve_http

from .options import RestOptions
from .store import Store, sparse

Trouble: TypeAlias = int | Literal["slow", "cut", "half", "not-json", "not-array", "redirect"]
"""What becomes of one request instead of its answer: a status; no answer in time; no
answer; half of one; ...
"""

WINDOW = 300.0  # seconds in which requests are counted
FOREIGN = "https://api.example.com"


@define(eq=False)
class RestService:
    """An API that is up; made by :func:`open_rest_service`."""

    store: Store
    options: RestOptions
    now: Callable[[], datetime]
    url: str = ""
    troubles: list[Trouble | None] = Factory(list)
    """What becomes of the next requests, first come first served; None for nothing
    unusual.
    """
    served: list[tuple[str, int]] = Factory(list)
    """Path and query of each request, as received, and the status of its answer; 0 for
    none.
    """
    signatures: set[str] = Factory(set)
    """Those that were accepted."""
    _times: list[float] = field(factory=list)
    """Of the requests of the last window."""

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        target = request.path + (f"?{request.query}" if request.query else "")
        try:
            answer = await self._answer(request)
        except HangUp:
            self.served.append((target, 0))
            raise
        self.served.append((target, answer.status))
        return answer

    async def _answer(self, request: Request) -> Response:
        if self._too_many():
            return self._refusal(429)
        trouble = self.troubles.pop(0) if self.troubles else None
        if isinstance(trouble, int):
            return self._refusal(trouble)
        if trouble == "slow":
            await trio.sleep(self.options.slowness)
        if trouble == "cut":
            raise HangUp
        if trouble == "redirect":
            place = f"https://elsewhere.example.com{request.path}?{request.query}"
            return Response(301, headers=(("Location", place),))
        if trouble == "not-json":
            return Response(200, b"<html>welcome</html>")
        if trouble == "not-array":
            return Response(200, b'{"message":"maintenance"}')
        if not self._knows(request):
            return self._refusal(401)
        answer = self._call(request)
        return (
            Response(answer.status, answer.body[: len(answer.body) // 2], answer.headers)
            if trouble
            else answer
        )

    def _refusal(self, status: int) -> Response:
        headers = [("Date", format_datetime(self.now(), usegmt=True))]
        if status in (429, 503) and self.options.retry_after is not None:
            headers.append(("Retry-After", str(self.options.retry_after)))
        return Response(status, b'{"message":"refused"}', tuple(headers))

    def _too_many(self) -> bool:
        now = trio.current_time()
        self._times[:] = [time for time in self._times if time > now - WINDOW]
        if len(self._times) >= self.options.requests:
            return True
        self._times.append(now)
        return False

    def _knows(self, request: Request) -> bool:
        headers, options = request.headers, self.options
        pair = base64.b64encode(f"{options.key}:{options.secret}".encode()).decode()
        if options.basic and headers.get("authorization") == (f"Basic {pair}",):
            return True
        if len(headers.get("x-api-auth", ())) != 1 or len(headers.get("x-api-timestamp", ())) != 1:
            return False
        key, _, signature = headers["x-api-auth"][0].partition(":")
        timestamp = headers["x-api-timestamp"][0]
        text = request.method + "\n" + request.path
        if request.query:
            text += "\n" + request.query
        if request.body:
            text += "\n" + request.body.decode()
        text += "\n" + timestamp
        expected = base64.b64encode(
            hmac.new(options.secret.encode(), text.encode(), hashlib.sha512).digest()
        ).decode()
        if key != options.key or signature != expected or not timestamp.isdigit():
            return False
        self.signatures.add(signature)
        return abs(int(timestamp) / 1000 - self.now().timestamp()) <= options.skew

    def _call(self, request: Request) -> Response:
        """Answer one of the documented calls that the bridge makes."""
        if request.method != "GET":
            return self._refusal(405)
        query = {name: values[0] for name, values in parse_qs(request.query).items()}
        match [unquote(part) for part in request.path.removeprefix("/").split("/")]:
            case ["v1", "devices"]:
                return self._paged(request, self.store.devices(), query)
            case ["v1", "devices", device, *rest] if device in self.store.items:
                return self._of_device(request, device, rest, query)
        return self._refusal(404)

    def _of_device(
        self, request: Request, device: str, rest: Sequence[str], query: Mapping[str, str]
    ) -> Response:
        if rest != ["properties"]:
            return self._refusal(404)
        if "since" in query:
            return self._history(request, device, query)
        return self._paged(request, self.store.current(device), query)

    def _history(self, request: Request, device: str, query: Mapping[str, str]) -> Response:
        point = query.get("property")
        if self.options.needs_property and point is None:
            return self._refusal(400)
        items = self.store.history(device, int(query["since"]), int(query["until"]), point)
        items.sort(
            key=lambda item: int(item["timestamp"]), reverse=self.options.order == "descending"
        )
        if self.options.order == "shuffled":
            seed = request.query.partition("&offset=")[0]  # the same order on each page
            random.Random(seed).shuffle(items)  # noqa: S311  # no secret
        return self._paged(request, sparse(items) if self.options.sparse else items, query)

    def _paged(self, request: Request, items: Sequence[Any], query: Mapping[str, str]) -> Response:
        start = int(query.get("offset", "0"))
        end = start + min(int(query.get("size", "500")), self.options.page_size)
        page = items[start:end]
        headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
        if end < len(items):
            headers += (("Link", f'<{self._link(request, end)}>; rel="next"'),)
        if page or self.options.empty == "array":
            return Response(200, orjson.dumps(page), headers)
        return Response(204 if self.options.empty == "204" else 200, b"", headers)

    def _link(self, request: Request, offset: int) -> str:
        rest = "&".join(
            part for part in request.query.split("&") if part and not part.startswith("offset=")
        )
        if self.options.link_fault == "loop":
            offset = 0
        target = f"{request.path}?{rest}{'&' if rest else ''}offset={offset}"
        if self.options.link_fault == "foreign":
            return FOREIGN + target
        return (self.url if self.options.links == "absolute" else "") + target


@asynccontextmanager
async def open_rest_service(
    store: Store,
    options: RestOptions | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[RestService]:
    """Serve the API on loopback over the store of an emulator of the webhook."""
    service = RestService(store, options or RestOptions(), now)
    async with serve_http(service.handle, tls=tls) as service.url:
        yield service
