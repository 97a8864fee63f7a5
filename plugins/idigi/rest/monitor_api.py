"""The REST calls on monitors: ``/ws/Monitor``, and the history of one.

    call ── answer ──▶ answers.py ──▶ what was asked for, or a verdict
      ▲        │
      └── 429 ─┘  at most five times, after a short pause

The verdicts are those of sinks: ``Retry`` if another attempt may succeed, ``Pause`` if
a person must act. Requests go out as XML, lists are asked for as JSON. Pauses that the
server asks for and that are long are the caller's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from xml.sax.saxutils import escape  # writes, does not parse

import httpx
import trio
from attrs import frozen

from bridge.api import JSON, Pause, Retry
from bridge.api.rest import certificate_failure, client_tls

from ..documents.json import parse_exactly
from ..settings import Settings
from .answers import (
    Reply,
    classify,
    error_text,
    names_no_monitor,
    read_listing,
    retry_after,
    shortened,
    xml_text,
)

PATH = "/ws/Monitor"
HISTORY_PATH = "/ws/v1/monitors/history"
PAGE = 1000  # monitors in one answer, as the vendor's clients ask for

# Seconds between the five tries of a throttled call: 1 s, growing by half, never above
# 10 s (the vendor's own client).
PAUSES = (1.0, 1.5, 2.25, 3.375)
MAX_PAUSE = 10.0

_ASK_JSON = {"Accept": "application/json"}
_SEND_XML = {"Content-Type": "application/xml"}


@frozen
class MonitorApi:
    """The account's monitors. A monitor is a mapping of element names, such as
    ``monTopic``, to texts.

    Every call raises ``Retry`` when another attempt may succeed and ``Pause`` when a
    person must act.
    """

    client: httpx.AsyncClient
    timeout: float
    """Seconds, for one answer."""
    answer_limit: int
    """Bytes of the largest answer."""
    credentials: str = "username and password"
    """Names of the settings that the login comes from."""

    async def create(self, elements: Mapping[str, str]) -> int:
        """Create a monitor and give its id.

        :raises MonitorLimit: when the account has no room for it.
        """
        reply = await self._call("POST", PATH, content=_monitor_xml(elements), accept=(200, 201))
        self._refuse_errors("POST", PATH, reply)
        location = reply.headers.get("location") or xml_text(reply.body, "location") or ""
        number = location.strip().rpartition("/")[2]
        if not (number.isascii() and number.isdigit()):
            raise Retry("the server created a monitor, but did not tell its id")
        return int(number)

    async def update(self, monitor_id: int, elements: Mapping[str, str]) -> None:
        """Set all elements of a monitor.

        That resets it: never call it for one that is attached.
        """
        path = f"{PATH}/{monitor_id}"
        reply = await self._call("PUT", path, content=_monitor_xml(elements), accept=(200,))
        self._refuse_errors("PUT", path, reply)

    async def delete(self, monitor_id: int) -> bool:
        """Delete a monitor, and with it what it recorded; False if the account has none
        of this id.
        """
        path = f"{PATH}/{monitor_id}"
        reply = await self._call("DELETE", path, accept=(200, 204, 400, 404))
        if names_no_monitor(reply):
            return False
        self._refuse_errors("DELETE", path, reply, accept=(200, 204))
        return True

    async def read(self, monitor_id: int) -> dict[str, str] | None:
        """Give one monitor, or None if the account has none of this id."""
        path = f"{PATH}/{monitor_id}"
        reply = await self._call("GET", path, accept=(200, 400, 404))
        if names_no_monitor(reply):
            return None
        self._refuse_errors("GET", path, reply)
        monitors = read_listing(reply.body).monitors
        return monitors[0] if monitors else None

    async def list_tcp(self) -> list[dict[str, str]]:
        """Give all monitors of transport TCP."""
        found: dict[str, dict[str, str]] = {}
        start = 0
        while True:
            query = {"start": str(start), "size": str(PAGE), "condition": "monTransportType='tcp'"}
            reply = await self._call("GET", PATH, query=query, accept=(200,))
            self._refuse_errors("GET", PATH, reply)
            page = read_listing(reply.body)
            known = len(found)
            found |= {monitor.get("monId", ""): monitor for monitor in page.monitors}
            start += page.rows
            # A server that does not look at start would give its first page for ever.
            if page.remaining == 0 or len(found) == known:
                return list(found.values())

    async def read_history(self, path: str, query: Mapping[str, str]) -> JSON:
        """Give one page of a history, as it is, its integers exact."""
        reply = await self._call("GET", path, query=query, accept=(200,))
        self._refuse_errors("GET", path, reply)
        try:
            return parse_exactly(reply.body)
        except ValueError as exc:
            raise Retry(f"the server's history is not JSON: {exc}") from exc

    def _refuse_errors(
        self, method: str, path: str, reply: Reply, *, accept: tuple[int, ...] = (200, 201)
    ) -> None:
        """Raise if an answer is an error after all: some have status 200."""
        if reply.status not in accept or error_text(reply.body) is not None:
            raise classify(f"{method} {path}", reply, self.credentials)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        accept: tuple[int, ...],
        query: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Reply:
        reply = await self._attempt(method, path, query, content)
        for pause in PAUSES:
            asked = retry_after(reply.headers.get("retry-after"))
            if reply.status != httpx.codes.TOO_MANY_REQUESTS or (asked or 0.0) > MAX_PAUSE:
                break
            await trio.sleep(pause if asked is None else asked)
            reply = await self._attempt(method, path, query, content)
        if reply.status not in accept:
            raise classify(f"{method} {path}", reply, self.credentials)
        return reply

    async def _attempt(
        self, method: str, path: str, query: Mapping[str, str] | None, content: bytes | None
    ) -> Reply:
        headers = _ASK_JSON if content is None else _SEND_XML
        body = bytearray()
        try:
            with trio.fail_after(self.timeout), trio.CancelScope() as reading:
                async with self.client.stream(
                    method, path, params=query or None, content=content, headers=headers
                ) as response:
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > self.answer_limit:
                            reading.cancel()  # unlike leaving the loop, it closes the generators inside httpx too
        except trio.TooSlowError as exc:
            raise Retry(f"no answer of the REST API within {self.timeout:g} s (timeout)") from exc
        except httpx.HTTPError as exc:
            if (refused := refused_certificate(exc)) is not None:
                raise Pause(refused) from exc
            raise Retry(
                f"the REST API cannot be reached: {shortened(str(exc) or type(exc).__name__)}"
            ) from exc
        if len(body) > self.answer_limit:
            raise Retry(
                f"an answer of the REST API is larger than {self.answer_limit} (answer_limit)"
            )
        return Reply(response.status_code, response.headers, bytes(body))


def refused_certificate(exc: BaseException) -> str | None:
    """Say that the server's certificate was refused, and what to do, if that is what
    the exception comes from.
    """
    if (refused := certificate_failure(exc)) is None:
        return None
    return (
        f"the certificate of the server is refused: {refused}; "
        "check the host name, or name the CA of a private server in ca_file"
    )


def _monitor_xml(elements: Mapping[str, str]) -> bytes:
    fields = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in elements.items())
    return f"<Monitor>{fields}</Monitor>".encode()


@asynccontextmanager
async def open_api(settings: Settings) -> AsyncIterator[MonitorApi]:
    """Keep one HTTP client open, with the credentials of the settings.

    :raises Pause: if ``ca_file`` cannot be used.
    """
    login: httpx.BasicAuth | None = httpx.BasicAuth(settings.username, settings.password.reveal())
    headers = {"Accept-Encoding": "identity"}  # the limit of the answer then counts what arrives
    credentials = "username and password"
    if settings.api_key_id is not None and settings.api_key_secret is not None:
        login, credentials = None, "api_key_id and api_key_secret"
        headers |= {
            "X-API-KEY-ID": settings.api_key_id,
            "X-API-KEY-SECRET": settings.api_key_secret.reveal(),
        }
    async with httpx.AsyncClient(
        base_url=settings.url,
        auth=login,
        headers=headers,
        verify=client_tls(settings.ca_file),
        timeout=None,  # noqa: S113  # each call has one deadline for everything
        trust_env=False,  # the push session takes no proxy either
    ) as client:
        yield MonitorApi(client, settings.timeout, settings.answer_limit, credentials)
