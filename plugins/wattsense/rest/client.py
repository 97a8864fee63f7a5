"""The REST API: one attempt for each call, paced.

gate (below half of the published limits) ─▶ sign what is sent ─▶ answer, bounded in time and size ─▶ rest_answers.py

Redirects are never followed. The limits count per source address (vendor documentation:
2500 requests per 5 minutes, 100 of them on configuration calls); we keep to half, so
that other users of the address are not blocked. Requests are spread evenly, so that a
history that is opened again and again stays below them as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeAlias
from urllib.parse import urlsplit

import httpx
import trio
from attrs import define, frozen

from bridge.api import Pause, Retry
from bridge.api.rest import certificate_failure, client_tls

from ..settings import Settings
from ..texts import shortened
from .answers import WINDOW, RestPage, read_answer
from .signature import basic_headers, hmac_headers

SHARE = 0.5  # of the limits
SPACING = WINDOW / (2500 * SHARE)
CONFIGURATION_SPACING = WINDOW / (100 * SHARE)

Sign: TypeAlias = Callable[[bytes, datetime], Mapping[str, str]]
"""Give the headers that authenticate a GET of path and query, as they go over the wire.
"""


@define
class Gate:
    """When the next request may be sent, by trio's clock."""

    free: float = 0.0
    configuration_free: float = 0.0
    closed: float = 0.0
    """Until when the service wants to be left alone."""

    async def enter(self, *, configuration: bool) -> None:
        """Wait for our turn.

        :raises Retry: without waiting, while the service wants to be left alone.
        """
        now = trio.current_time()
        if now < self.closed:
            raise Retry("the REST API asked to be left alone (429)", after=self.closed - now)
        turn = max(now, self.free, self.configuration_free if configuration else now)
        self.free = turn + SPACING
        if configuration:
            self.configuration_free = turn + CONFIGURATION_SPACING
        await trio.sleep_until(turn)

    def close(self, seconds: float) -> None:
        """Let nothing through for so long."""
        self.closed = max(self.closed, trio.current_time() + seconds)


@frozen
class RestClient:
    """The account, seen through its API."""

    client: httpx.AsyncClient
    base: str
    """Base URL, without a slash at the end."""
    sign: Sign
    gate: Gate
    now: Callable[[], datetime]
    timeout: float
    answer_limit: int

    def target(self, path: str, query: str = "") -> str:
        """Give path and query as they are asked for, below the base URL."""
        return urlsplit(self.base).path + path + (f"?{query}" if query else "")

    async def get(self, target: str, *, configuration: bool = False) -> RestPage:
        """Ask for a list.

        :param target: path and query, from :meth:`target` or from a page's ``next``.
        :param configuration: whether it counts as a configuration call.
        :raises Retry, Pause, Reject: see ``rest_answers.py``.
        """
        await self.gate.enter(configuration=configuration)
        parts = urlsplit(self.base)
        url = httpx.URL(f"{parts.scheme}://{parts.netloc}{target}")
        now = self.now()
        # httpx may encode what a link of the service left open, so its version of the
        # target is the one to sign
        status, headers, body = await self._fetch(url, self.sign(url.raw_path, now))
        try:
            return read_answer(status, headers, body, url=str(url), now=now)
        except Retry as retry:
            if status == 429 and retry.after is not None:
                self.gate.close(retry.after)
            raise

    async def _fetch(
        self, url: httpx.URL, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        body = bytearray()
        try:
            with trio.fail_after(self.timeout), trio.CancelScope() as reading:
                async with self.client.stream("GET", url, headers=headers) as response:
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > self.answer_limit:
                            reading.cancel()  # unlike leaving the loop, it closes the generators inside httpx too
        except trio.TooSlowError as exc:
            raise Retry(f"no answer of the REST API within {self.timeout:g} s (timeout)") from exc
        except httpx.HTTPError as exc:
            if (refused := certificate_failure(exc)) is not None:
                raise Pause(
                    f"the certificate of the REST API is refused: {refused}; "
                    "check url, or name the CA of a private server in ca_file"
                ) from exc
            raise Retry(
                f"the REST API cannot be reached: {shortened(str(exc) or type(exc).__name__)}"
            ) from exc
        if len(body) > self.answer_limit:
            raise Pause(
                f"an answer of the REST API is larger than {self.answer_limit} bytes; "
                "ask for less by page_size, or allow more by answer_limit"
            )
        return response.status_code, dict(response.headers), bytes(body)


@asynccontextmanager
async def open_rest(settings: Settings, now: Callable[[], datetime]) -> AsyncIterator[RestClient]:
    """Keep one HTTP client open.

    :raises Pause: if ``ca_file`` cannot be read.
    """
    async with httpx.AsyncClient(
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        },  # the limit counts what arrives
        verify=client_tls(settings.ca_file),
        timeout=None,  # noqa: S113  # each call has one deadline for everything
        follow_redirects=False,
        trust_env=False,
    ) as client:
        base = settings.url.rstrip("/")
        yield RestClient(
            client, base, make_sign(settings), Gate(), now, settings.timeout, settings.answer_limit
        )


def make_sign(settings: Settings) -> Sign:
    """Make the function that authenticates requests."""
    assert settings.rest_key is not None
    assert settings.rest_secret is not None
    key, secret = settings.rest_key, settings.rest_secret.reveal()

    def sign(target: bytes, now: datetime) -> Mapping[str, str]:
        if settings.rest_auth == "basic":
            return basic_headers(key, secret)
        return hmac_headers(key, secret, "GET", target, now)

    return sign
