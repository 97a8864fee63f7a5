"""The requests to Databoom, and nothing about what they mean: one push, one page of the
list of signals.

Every request goes to the host of the settings and to no other: redirects are not
followed, proxies of the environment are not used. The answer may repeat a token; it is
hidden before anybody else sees the answer.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import trio
from attrs import frozen

from bridge.api import Retry, SettingError

from .answers import explain
from .encoding import Push
from .settings import DataboomSettings

MAX_CONNECTIONS = 8  # above this httpx spends its time on choosing a connection (measured)
IDLE_SECONDS = 30.0  # then a connection is closed: the vendor's own limit is unknown
MAX_ANSWER = 64 << 10  # bytes of the answer to a push that are kept; the documented one has 32
MAX_PAGE = 8 << 20  # the same of a page of the list
HIDDEN = "********"
SHOWN = ("date", "location", "retry-after")


@frozen
class Received:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name: those of ``SHOWN`` that it has."""
    body: bytes
    """Its beginning, if it is very long."""


class Client:
    """An open client."""

    def __init__(
        self, settings: DataboomSettings, pushing: httpx.AsyncClient, listing: httpx.AsyncClient
    ) -> None:
        self._settings = settings
        self._pushing = pushing
        self._listing = listing
        self._url = httpx.URL(settings.url)  # parsed once
        secrets = [settings.credential[1], settings.read_token]
        self._secrets = [one.reveal() for one in secrets if one is not None]

    async def push(self, push: Push) -> Received:
        """Post a push.

        :raises Retry: there was no answer. :raises Pause: the server cannot be trusted.
        """
        url = push.url(self._settings.url) if push.form == "template" else self._url
        return await self._ask(self._pushing, "POST", url, MAX_ANSWER, content=push.body)

    async def signals(self, page: int, per_page: int) -> Received:
        """Get a page of the list of signals with the read token.

        Raises as :meth:`push` does.
        """
        url = f"{self._settings.list_url.rstrip('/')}/?page={page}&per_page={per_page}&showHiddenElements=true"
        return await self._ask(self._listing, "GET", url, MAX_PAGE)

    async def _ask(
        self,
        http: httpx.AsyncClient,
        method: str,
        url: httpx.URL | str,
        most: int,
        content: bytes | None = None,
    ) -> Received:
        answer = bytearray()
        try:
            with trio.fail_after(self._settings.request_timeout):
                async with http.stream(method, url, content=content) as response:
                    async for piece in response.aiter_raw():
                        answer += piece[
                            : most - len(answer)
                        ]  # the rest is read, so that the connection is kept
        except httpx.TransportError as exc:
            raise explain(exc) from exc
        except trio.TooSlowError:
            seconds = self._settings.request_timeout
            raise Retry(f"no answer of Databoom within request_timeout = {seconds}") from None
        shown = {
            name: self._hidden(value)
            for name in SHOWN
            if (value := response.headers.get(name)) is not None
        }
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
        raise SettingError(
            "ca_file", f"expected CA certificates in PEM, got {settings.ca_file}: {reason}"
        ) from exc
    name, secret = settings.credential
    credential = (
        {"Authorization": f"Bearer {secret.reveal()}"}
        if name == "token"
        else {"apikey": secret.reveal()}
    )
    reading = (
        {}
        if settings.read_token is None
        else {"Authorization": f"Bearer {settings.read_token.reveal()}"}
    )
    async with (
        _connections(settings, tls, credential) as pushing,
        _connections(settings, tls, reading) as listing,
    ):
        yield Client(settings, pushing, listing)


def _connections(
    settings: DataboomSettings, tls: ssl.SSLContext, credential: Mapping[str, str]
) -> httpx.AsyncClient:
    """Make the connections that send this credential, and no other."""
    return httpx.AsyncClient(
        verify=tls,
        headers={
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "bridged",
            **credential,
        },
        timeout=httpx.Timeout(
            None, connect=settings.connect_timeout
        ),  # request_timeout bounds the rest
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=IDLE_SECONDS),
        http2=False,
        follow_redirects=False,  # the token must not go elsewhere
        trust_env=False,
    )
