"""The requests to Databoom, and nothing about what they mean: one push, one page of the list of signals.

Every request goes to the host of the settings and to no other: redirects are not followed, proxies of the environment
are not used. The answer may repeat a token; it is hidden before anybody else sees the answer.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import trio
from attrs import frozen

from bridge.api import Retry, SettingError
from bridge_plugins.databoom.answers import explain
from bridge_plugins.databoom.settings import DataboomSettings

MOST_CONNECTIONS = 8  # above this httpx spends its time on choosing a connection (measured)
IDLE_SECONDS = 30.0  # then a connection is closed: the vendor's own limit is unknown
MOST_ANSWER = 64 << 10  # bytes of the answer to a push that are kept; the documented one has 32
MOST_PAGE = 8 << 20  # the same of a page of the list
HIDDEN = "********"


@frozen
class Received:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes
    """Its beginning, if it is very long."""


class Client:
    """An open client. One request of each kind can be under way for each connection."""

    def __init__(self, settings: DataboomSettings, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._http = http
        name, secret = settings.credential
        self._credential = (
            {"Authorization": f"Bearer {secret.reveal()}"} if name == "token" else {"apikey": secret.reveal()}
        )
        secrets = [secret, settings.read_token]
        self._secrets = [one.reveal() for one in secrets if one is not None]

    async def push(self, url: str, body: bytes) -> Received:
        """Post a push. :raises Retry: there was no answer. :raises Pause: the server cannot be trusted."""
        return await self._ask("POST", url, self._credential, MOST_ANSWER, content=body)

    async def signals(self, page: int, per_page: int) -> Received:
        """Get a page of the list of signals with the read token. Raises as :meth:`push` does."""
        assert self._settings.read_token is not None
        headers = {"Authorization": f"Bearer {self._settings.read_token.reveal()}"}
        url = f"{self._settings.list_url.rstrip('/')}/?page={page}&per_page={per_page}&showHiddenElements=true"
        return await self._ask("GET", url, headers, MOST_PAGE)

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], most: int, content: bytes | None = None
    ) -> Received:
        answer = bytearray()
        try:
            with trio.fail_after(self._settings.request_timeout):
                async with self._http.stream(method, url, headers=headers, content=content) as response:
                    async for piece in response.aiter_raw():
                        answer += piece[: most - len(answer)]  # the rest is read, so that the connection is kept
        except httpx.TransportError as exc:
            raise explain(exc) from exc
        except trio.TooSlowError:
            seconds = self._settings.request_timeout
            raise Retry(f"no answer of Databoom within request_timeout = {seconds}") from None
        shown = {name: self._hidden(value) for name, value in response.headers.items()}
        body = bytes(answer)
        for secret in self._secrets:
            body = body.replace(secret.encode(), HIDDEN.encode())
        return Received(response.status_code, shown, body)

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


@asynccontextmanager
async def open_client(settings: DataboomSettings) -> AsyncIterator[Client]:
    """Open a client. Connections are made when there is something to send.

    :raises SettingError: when ``ca_file`` cannot be used.
    """
    try:
        tls = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as exc:  # ssl.SSLError is one
        reason = exc.strerror or "it holds no certificate"
        raise SettingError("ca_file", f"expected CA certificates in PEM, got {settings.ca_file}: {reason}") from exc
    http = httpx.AsyncClient(
        verify=tls,
        headers={
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "bridged",
        },
        timeout=httpx.Timeout(None, connect=settings.connect_timeout),  # request_timeout bounds the rest
        limits=httpx.Limits(max_connections=MOST_CONNECTIONS, keepalive_expiry=IDLE_SECONDS),
        http2=False,
        follow_redirects=False,  # the token must not go elsewhere
        trust_env=False,
    )
    async with http:
        yield Client(settings, http)
