"""The REST calls on monitors: ``/ws/Monitor``, and what the service has saved.

    call ── answer ──▶ what was asked for, or a verdict
      ▲        │
      └── 429 ─┘  at most five times, after a short pause

Requests go out as XML, lists are asked for as JSON. A long pause that the server asks
for is the caller's to wait for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from xml.sax.saxutils import escape  # writes, does not parse

import trio
from attrs import frozen

from bridge.api import JSON, Retry
from bridge.api.rest import (
    ResponseTooLarge,
    RestClient,
    RestResponse,
    open_rest,
    read_pages,
    read_retry_after,
)

from ..documents.json import parse_exactly
from ..settings import CERTIFICATE_HINT, Settings
from .answers import error_text, names_no_monitor, read_listing, refusal, xml_text

PATH = "/ws/Monitor"
HISTORY_PATH = "/ws/v1/monitors/history"
PAGE = 1000  # monitors in one answer, as the vendor's clients ask for

# Seconds between the five tries of a throttled call: 1 s, growing by half, never above
# 10 s (the vendor's own client).
PAUSES = (1.0, 1.5, 2.25, 3.375)
MAX_PAUSE = 10.0

_TOO_MANY = 429
_SEND_XML = {"Content-Type": "application/xml"}


@frozen
class MonitorApi:
    """The account's monitors. A monitor is a mapping of element names, such as
    ``monTopic``, to texts.

    Every call raises ``Retry`` when another attempt may succeed and ``Pause`` when a
    person must act.
    """

    rest: RestClient
    now: Callable[[], datetime]
    credentials: str = "username and password"
    """Names of the settings that the login comes from."""

    async def create(self, elements: Mapping[str, str]) -> int:
        """Create a monitor and return its id.

        :raises MonitorLimit: when the account has no room for it.
        """
        answer = await self._call("POST", PATH, content=_monitor_xml(elements), accept=(200, 201))
        self._refuse_errors("POST", PATH, answer)
        location = answer.headers.get("location") or xml_text(answer.body, "location") or ""
        number = location.strip().rpartition("/")[2]
        if not (number.isascii() and number.isdigit()):
            raise Retry("the server created a monitor, but did not tell its id")
        return int(number)

    async def update(self, monitor_id: int, elements: Mapping[str, str]) -> None:
        """Set all elements of a monitor.

        That resets it: never call it for one that is attached.
        """
        path = f"{PATH}/{monitor_id}"
        answer = await self._call("PUT", path, content=_monitor_xml(elements), accept=(200,))
        self._refuse_errors("PUT", path, answer)

    async def delete(self, monitor_id: int) -> bool:
        """Delete a monitor, and with it what it recorded; False if the account has none
        of this id.
        """
        path = f"{PATH}/{monitor_id}"
        answer = await self._call("DELETE", path, accept=(200, 204, 400, 404))
        if names_no_monitor(answer.body):
            return False
        self._refuse_errors("DELETE", path, answer, accept=(200, 204))
        return True

    async def read(self, monitor_id: int) -> dict[str, str] | None:
        """Return one monitor, or None if the account has none of this id."""
        path = f"{PATH}/{monitor_id}"
        answer = await self._call("GET", path, accept=(200, 400, 404))
        if names_no_monitor(answer.body):
            return None
        self._refuse_errors("GET", path, answer)
        monitors = read_listing(answer.body).monitors
        return monitors[0] if monitors else None

    async def list_tcp(self) -> list[dict[str, str]]:
        """Return all monitors of transport TCP.

        :raises Pause: if the list has no end.
        """
        start = 0

        async def read_page(_remaining: str | None) -> tuple[list[dict[str, str]], str | None]:
            nonlocal start
            query = {"start": str(start), "size": str(PAGE), "condition": "monTransportType='tcp'"}
            answer = await self._call("GET", PATH, query=query, accept=(200,))
            self._refuse_errors("GET", PATH, answer)
            page = read_listing(answer.body)
            start += page.rows
            # What remains tells the pages apart: a server that does not look at start
            # would give its first page for ever, and say the same of it each time.
            return list(page.monitors), str(page.remaining) if page.remaining else None

        monitors = await read_pages(read_page, f"GET {PATH}")
        # One that was created meanwhile may have moved others to the next page.
        return list({monitor.get("monId", ""): monitor for monitor in monitors}.values())

    async def read_history(self, path: str, query: Mapping[str, str]) -> JSON:
        """Return one page of a history, as it is, its integers exact."""
        answer = await self._call("GET", path, query=query, accept=(200,))
        self._refuse_errors("GET", path, answer)
        try:
            return parse_exactly(answer.body)
        except ValueError as exc:
            raise Retry(f"the server's history is not JSON: {exc}") from exc

    def _refuse_errors(
        self, method: str, path: str, answer: RestResponse, *, accept: tuple[int, ...] = (200, 201)
    ) -> None:
        """Raise if an answer is an error after all: some have status 200."""
        if answer.status not in accept or error_text(answer.body) is not None:
            raise self._refusal(method, path, answer)

    def _refusal(self, method: str, path: str, answer: RestResponse) -> Exception:
        return refusal(
            f"{method} {path}",
            answer,
            wait=read_retry_after(answer.headers, self.now()),
            credentials=self.credentials,
            quoted=self.rest.quoted,
        )

    async def _call(
        self,
        method: str,
        path: str,
        *,
        accept: tuple[int, ...],
        query: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> RestResponse:
        answer = await self._attempt(method, path, query, content)
        for pause in PAUSES:
            asked = read_retry_after(answer.headers, self.now())
            if answer.status != _TOO_MANY or (asked or 0.0) > MAX_PAUSE:
                break
            await trio.sleep(pause if asked is None else asked)
            answer = await self._attempt(method, path, query, content)
        if answer.status not in accept:
            raise self._refusal(method, path, answer)
        return answer

    async def _attempt(
        self, method: str, path: str, query: Mapping[str, str] | None, content: bytes | None
    ) -> RestResponse:
        headers = None if content is None else _SEND_XML
        try:
            return await self.rest.request(
                method, path, headers=headers, query=query, content=content
            )
        except ResponseTooLarge as exc:
            raise Retry(f"{exc} (answer_limit)") from exc


def _monitor_xml(elements: Mapping[str, str]) -> bytes:
    fields = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in elements.items())
    return f"<Monitor>{fields}</Monitor>".encode()


@asynccontextmanager
async def open_api(settings: Settings, now: Callable[[], datetime]) -> AsyncIterator[MonitorApi]:
    """Open the API with the credentials of the settings.

    :raises Pause: if ``ca_file`` cannot be used.
    """
    login: tuple[str, str] | None = (settings.username, settings.password.reveal())
    credentials = "username and password"
    headers: dict[str, str] = {}
    secrets: list[str] = []
    if settings.api_key_id is not None and settings.api_key_secret is not None:
        login, credentials = None, "api_key_id and api_key_secret"
        secrets.append(settings.api_key_secret.reveal())
        headers = {"X-API-KEY-ID": settings.api_key_id, "X-API-KEY-SECRET": secrets[0]}
    async with open_rest(
        "the REST API",
        timeout=settings.timeout,
        max_body=int(settings.answer_limit),  # its text is a number of bytes then
        ca_file=settings.ca_file,
        proxy=settings.proxy,
        base_url=settings.url,
        headers=headers,
        login=login,
        secrets=secrets,
        certificate_hint=CERTIFICATE_HINT,
    ) as rest:
        yield MonitorApi(rest, now, credentials)
