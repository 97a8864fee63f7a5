"""The REST API: one attempt for each call, paced below half of the published limits.

The limits count per source address (vendor documentation: 2500 requests per 5 minutes,
100 of them on configuration calls); we keep to half, so that other users of the address
are not blocked. Requests are spread evenly, so that a history that is opened again and
again stays below them as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from urllib.parse import urlsplit

from attrs import frozen

from bridge.api import Pause, Retry
from bridge.api.rest import RequestSpacing, ResponseTooLarge, RestClient, open_rest

from .access import RestAccess
from .answers import WINDOW, ListPage, read_answer
from .signature import signature_headers

SHARE = 0.5  # of the limits
SPACING = WINDOW / (2500 * SHARE)  # seconds between two requests
CONFIGURATION_SPACING = WINDOW / (100 * SHARE)


@frozen
class AccountApi:
    """An account, seen through its API."""

    client: RestClient
    base: str
    """Base URL, without a slash at the end."""
    now: Callable[[], datetime]
    requests: RequestSpacing
    configuration_calls: RequestSpacing

    def target(self, path: str, query: str = "") -> str:
        """Return path and query as they are asked for, below the base URL."""
        return urlsplit(self.base).path + path + (f"?{query}" if query else "")

    async def get(self, target: str, *, configuration: bool = False) -> ListPage:
        """Ask for a list.

        :param target: path and query, from :meth:`target` or from a page's ``next``.
        :param configuration: whether it counts as a configuration call.
        :raises Retry, Pause, Reject: see ``answers.py``.
        """
        if seconds := self.requests.held_off:
            raise Retry("the REST API asked to be left alone (429)", after=seconds)
        if configuration:
            await self.configuration_calls.turn()  # before the other: it holds up nobody else
        await self.requests.turn()
        parts = urlsplit(self.base)
        try:
            answer = await self.client.request("GET", f"{parts.scheme}://{parts.netloc}{target}")
        except ResponseTooLarge as exc:
            raise Pause(
                f"{exc.why}; ask for less by page_size, or allow more by answer_limit"
            ) from exc
        try:
            return read_answer(answer, self.now())
        except Retry as retry:
            if answer.status == 429 and retry.after is not None:
                self.requests.hold_off(retry.after)
            raise


@asynccontextmanager
async def open_account(
    access: RestAccess, now: Callable[[], datetime]
) -> AsyncIterator[AccountApi]:
    """Keep one client open.

    :raises Pause: if ``ca_file`` cannot be read.
    """
    key, secret = access.key, access.secret.reveal()

    def sign(method: str, target: bytes, body: bytes) -> Mapping[str, str]:
        return signature_headers(key, secret, method, target, body, now())

    async with open_rest(
        "the REST API",
        timeout=access.timeout,
        max_body=access.answer_limit,
        ca_file=access.ca_file,
        proxy=access.proxy,
        login=(key, secret) if access.auth == "basic" else None,
        sign=sign if access.auth == "hmac" else None,
        secrets=[secret],
    ) as client:
        yield AccountApi(
            client,
            access.url.rstrip("/"),
            now,
            RequestSpacing(SPACING),
            RequestSpacing(CONFIGURATION_SPACING),
        )
