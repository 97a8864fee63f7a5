"""The REST calls on monitors, ``/ws/Monitor``: one attempt each, and what its failure means.

The verdicts are those of sinks: ``Retry`` if another attempt may succeed, ``Pause`` if a person must act. Requests go
out as XML; lists are asked for as JSON; created and refused are answered as XML that declares ISO-8859-1; gateways in
front of the service answer with HTML (vendor documentation, recorded traffic).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from xml.sax.saxutils import escape  # writes, does not parse

import httpx
import trio
from attrs import frozen

from bridge.api import JSON, Pause, Retry, parse_json
from bridge_plugins.idigi.settings import Settings
from bridge_plugins.idigi.tls import certificate_failure, client_context
from bridge_plugins.idigi.xml import parse_xml

PATH = "/ws/Monitor"
PAGE = 1000  # monitors in one answer, as the vendor's clients ask for
LONGEST_RETRY_AFTER = 3600.0  # a longer one is a mistake of the server; asking once an hour harms nobody

_NO_SUCH_MONITOR = "Error reading Monitor entity"


@frozen
class _Reply:
    status: int
    headers: httpx.Headers
    body: bytes


@frozen
class MonitorApi:
    """The account's monitors. A monitor is a mapping of element names, such as ``monTopic``, to texts."""

    client: httpx.AsyncClient
    timeout: float
    answer_limit: int

    async def create(self, elements: Mapping[str, str]) -> int:
        """Create a monitor and give its id."""
        fields = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in elements.items())
        reply = await self._call("POST", PATH, content=f"<Monitor>{fields}</Monitor>".encode())
        location = reply.headers.get("location") or _xml_text(reply.body, "location") or ""
        number = location.rpartition("/")[2]
        if not (number.isascii() and number.isdigit()):
            raise Retry("the server created a monitor, but did not tell its id")
        return int(number)

    async def read(self, monitor_id: int) -> dict[str, str] | None:
        """Give one monitor, or None if the account has none of this id."""
        items = _monitors(await self._page(f"{PATH}/{monitor_id}", {}, accept=(200, 400, 404)))
        return items[0] if items else None

    async def list_tcp(self) -> list[dict[str, str]]:
        """Give all monitors of transport TCP."""
        found: list[dict[str, str]] = []
        while True:
            query = {"start": str(len(found)), "size": str(PAGE), "condition": "monTransportType='tcp'"}
            page = await self._page(PATH, query, accept=(200,))
            items = _monitors(page)
            found += items
            remaining = str(page.get("remainingSize", "0"))
            if not items or not remaining.isdigit() or int(remaining) == 0:
                return found

    async def _page(self, path: str, query: Mapping[str, str], *, accept: tuple[int, ...]) -> dict[str, Any]:
        """Get a list. An unknown id is an empty one.

        The text that says so is from recorded traffic; the status that comes with it is not known.
        """
        reply = await self._call("GET", path, query=query, accept=accept)
        error = error_text(reply.body)
        if error is not None and _NO_SUCH_MONITOR in error:
            return {}
        if reply.status != 200 or error is not None:
            raise classify("GET", reply.status, reply.headers, reply.body)
        try:
            page = parse_json(reply.body)
        except ValueError as exc:
            raise Retry(f"the server's list of monitors is not JSON: {exc}") from exc
        if not isinstance(page, dict):
            raise Retry("the server's list of monitors has no items")
        return page

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content: bytes | None = None,
        accept: tuple[int, ...] = (200, 201),
    ) -> _Reply:
        headers = {"Accept": "application/json"} if content is None else {"Content-Type": "application/xml"}
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
            if (refused := certificate_failure(exc)) is not None:
                raise Pause(refused) from exc
            raise Retry(f"the REST API cannot be reached: {shortened(str(exc) or type(exc).__name__)}") from exc
        if len(body) > self.answer_limit:
            raise Retry(f"an answer of the REST API is larger than {self.answer_limit} (answer_limit)")
        reply = _Reply(response.status_code, response.headers, bytes(body))
        if reply.status not in accept:
            raise classify(method, reply.status, reply.headers, reply.body)
        return reply


@asynccontextmanager
async def open_api(settings: Settings) -> AsyncIterator[MonitorApi]:
    """Keep one HTTP client open, with the credentials of the settings.

    :raises OSError: if ``ca_file`` cannot be read.
    """
    async with httpx.AsyncClient(
        base_url=settings.url,
        auth=httpx.BasicAuth(settings.username, settings.password.reveal()),
        headers={"Accept-Encoding": "identity"},  # the limit of the answer then counts what arrives
        verify=client_context(settings.ca_file),
        timeout=None,  # noqa: S113  # each call has one deadline for everything
        trust_env=False,  # the push session takes no proxy either
    ) as client:
        yield MonitorApi(client, settings.timeout, settings.answer_limit)


def classify(method: str, status: int, headers: Mapping[str, str], body: bytes) -> Retry | Pause:
    """Tell what a refusal means. The texts that are looked for are from recorded traffic."""
    if status in (401, 403):
        return Pause(f"the server refuses the login ({status}); correct username and password")
    if status == 429:
        return Retry("the account makes too many REST calls (429)", after=retry_after(headers.get("retry-after")))
    if status >= 500 or status == 408:
        # Often a gateway's HTML: nothing in it is for the reader of our log.
        return Retry(f"the REST API is not available ({status})", after=retry_after(headers.get("retry-after")))
    text = error_text(body)
    said = f": {shortened(text)}" if text else ""
    if text and "Invalid monTopic" in text:
        return Pause(f"the server refuses the topics ({status}{said}); correct topics")
    if text and "monitors" in text.lower() and "limit" in text.lower():
        return Pause(f"the account has no room for another monitor ({status}{said}); delete one that nobody uses")
    return Pause(f"the server refuses {method} {PATH} ({status}{said}); check url and the rights of the user")


def retry_after(value: str | None) -> float | None:
    """Read a ``Retry-After`` header as seconds; None if it is absent or makes no sense."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}", value.strip(), re.ASCII):
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        wait = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(wait, 0.0), LONGEST_RETRY_AFTER)


def error_text(body: bytes) -> str | None:
    """Find the error in an answer: ``<result><error>`` or ``{"error": [...]}``; None if it holds none."""
    if body.lstrip()[:1] != b"{":
        return _xml_text(body, "error")
    try:
        answer = parse_json(body)
    except ValueError:
        return None
    error = answer.get("error")
    if isinstance(error, list):
        return "; ".join(str(part) for part in error)
    return None if error is None else str(error)


def _xml_text(body: bytes, name: str) -> str | None:
    try:
        return parse_xml(body).findtext(name)
    except ValueError:
        return None


def _monitors(page: Mapping[str, JSON]) -> list[dict[str, str]]:
    items = page.get("items")
    if not isinstance(items, list):
        return []
    return [{name: _plain(value) for name, value in item.items()} for item in items if isinstance(item, dict)]


def _plain(value: JSON) -> str:
    """Give a value as the old API writes it: every one is a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def shortened(text: str) -> str:
    """Make foreign text fit for a log: one line, no control characters, not long."""
    line = "".join(char if char.isprintable() else " " for char in text).strip()
    return line if len(line) <= 200 else line[:199] + "…"
