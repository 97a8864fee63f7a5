"""One client for one section: kept open, and replaced when its connections are lost.

    request ─ a slot ─ httpx's transport ─▶ answer, bounded in time and size
                         │
                         └─ a slot, but no connection to be had ─▶ a new transport

Requests go to the transport of httpx directly: its client would take as long again to
merge what is the same in each of them (measured), and would follow redirects, keep
cookies and read the environment, none of which is wanted here.

httpx on trio loses a place in its pool for good when a request is cancelled in the
moment its new connection is ready. Here never more requests are under way than the pool
has places, so one that waits for a place has found the loss: its transport is replaced
and the request, of which nothing was sent, goes out by the new one.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import trio
from attrs import define, field, frozen

from bridge.api.errors import Pause, Retry
from bridge.api.events import JSON, parse_json
from bridge.api.fields import Url
from bridge.api.rest.tls import certificate_failure, client_tls
from bridge.api.text import redacted

if TYPE_CHECKING:  # slow to import, and needed only once a client is open
    import httpx

MAX_CONNECTIONS = 8  # above this httpx spends its time on choosing a connection (measured)
IDLE_SECONDS = 30.0  # then a connection is closed: the limits of vendors are not known
POOL_TIMEOUT = 5.0  # seconds; a place in the pool is free, so any wait for one is a loss

Network: TypeAlias = "Callable[[], httpx.AsyncBaseTransport]"
"""Makes what carries requests: for tests without a real network."""

Failure: TypeAlias = Literal["connect", "broken", "deadline", "lost"]
"""No connection; one that broke before the answer; no answer in time; no place in the
pool."""

Sign: TypeAlias = Callable[[str, bytes, bytes], Mapping[str, str]]
"""Returns the headers that authenticate one request, given its method, path with query
as they go over the wire, and body."""


class NoResponse(Retry):
    """There is no answer. The request may have been carried out, unless there was no
    connection.
    """

    def __init__(self, why: str, *, failure: Failure, detail: str) -> None:
        super().__init__(why)
        self.failure = failure
        self.detail = detail
        """What was the matter, in a few words without a secret."""


class ResponseTooLarge(Retry):
    """The answer is larger than it may be."""


class CertificateRefused(Pause):
    """The server's certificate cannot be trusted."""

    def __init__(self, why: str, *, reason: str) -> None:
        super().__init__(why)
        self.reason = reason
        """OpenSSL's words."""


@frozen
class RestResponse:
    """An answer, complete."""

    status: int
    headers: Mapping[str, str]
    """Names are found in any case; values of one name are joined by commas."""
    body: bytes = field(repr=False)
    """May hold secrets: tokens come in it."""
    url: str
    """What was asked for."""
    links: Mapping[str, str] = field(factory=dict)
    """Of the header ``Link``: relation to URL as written, perhaps a relative one."""

    def json(self) -> JSON:
        """Return the document. :raises ValueError: if it is not JSON."""
        return parse_json(self.body)


@define(eq=False)
class _Pool:
    """A transport of httpx, and how many requests it has under way."""

    transport: httpx.AsyncBaseTransport
    users: int = 0
    retired: bool = False


@define(eq=False)
class RestClient:
    """Makes requests to one vendor. Any number of tasks may use it."""

    service: str
    """What is at the other end, for sentences: ``DT's REST API``."""
    timeout: float
    """Seconds for a request and its whole answer."""
    max_body: int
    """Bytes of the largest answer."""
    certificate_hint: str
    """What to do about a certificate that is refused."""
    timeout_setting: str
    """The setting that holds ``timeout``, for sentences."""
    secrets: Sequence[str] = field(repr=False)
    """Texts that no error may hold."""
    _base_url: str
    _headers: Mapping[str, str] = field(repr=False)
    """Sent with every request."""
    _sign: Sign | None = field(repr=False)
    _timeouts: Mapping[str, float | None]
    """As httpx's transport takes them: seconds of each step of a request."""
    _make: Network = field(repr=False)
    _slots: trio.CapacityLimiter = field(repr=False)
    _pool: _Pool = field(init=False, repr=False)
    _url: tuple[str, httpx.URL] | None = field(default=None, init=False, repr=False)
    """The URL that was asked for last, and what httpx read of it: many ask for one."""

    def __attrs_post_init__(self) -> None:
        self._pool = _Pool(self._make())

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        content: bytes | None = None,
        max_body: int | None = None,
        keep_beginning: bool = False,
    ) -> RestResponse:
        """Make one attempt and return the answer, whatever its status.

        :param max_body: bytes of this answer, if they are not the client's.
        :param keep_beginning: of a larger answer the beginning is returned; else it is
            an error.
        :raises NoResponse: there is no answer (a Retry).
        :raises ResponseTooLarge: the answer is larger than ``max_body`` (a Retry).
        :raises CertificateRefused: the server cannot be trusted (a Pause).
        """
        import httpx

        limit = self.max_body if max_body is None else max_body
        try:
            request = self._request(method, url, headers, query, content)
            exchange = partial(self._exchange, request, limit, keep_beginning)
            with trio.fail_after(self.timeout):
                async with self._slots:
                    try:
                        return await exchange()
                    except httpx.PoolTimeout:  # nothing was sent, and the pool is another now
                        return await exchange()
        except trio.TooSlowError as exc:
            raise NoResponse(
                f"no answer of {self.service} within {self.timeout:g} s ({self.timeout_setting})",
                failure="deadline",
                detail=f"no answer within {self.timeout:g} s",
            ) from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise self._explain(exc) from exc

    def quoted(self, text: str, *secrets: str) -> str:
        """Return what may be quoted of a vendor's text: no secrets, one short line.

        :param secrets: texts to hide besides the client's.
        """
        return redacted(text, [*self.secrets, *secrets])

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        query: Mapping[str, str] | None,
        content: bytes | None,
    ) -> httpx.Request:
        import httpx

        if self._url is None or self._url[0] != url:
            whole = url if url.startswith(("http://", "https://")) else self._base_url + url
            self._url = url, httpx.URL(whole)
        target = self._url[1]
        if query:
            target = target.copy_merge_params(query)
        sent = {**self._headers, **headers} if headers else self._headers
        extensions = {"timeout": self._timeouts}
        request = httpx.Request(
            method, target, headers=sent, content=content, extensions=extensions
        )
        if self._sign is not None:
            # httpx may encode what was open in a URL: its own version must be signed.
            request.headers.update(self._sign(method, request.url.raw_path, content or b""))
        return request

    async def _exchange(
        self, request: httpx.Request, limit: int, keep_beginning: bool
    ) -> RestResponse:
        import httpx

        pool = self._pool
        pool.users += 1
        body = bytearray()
        try:
            # Cancelling, unlike leaving the loop, closes httpx's own generators too.
            with trio.CancelScope() as reading:
                response = await pool.transport.handle_async_request(request)
                try:
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > limit:
                            if not keep_beginning:
                                reading.cancel()
                            del body[limit + 1 :]  # one more shows that it was larger
                finally:
                    await response.aclose()
        except httpx.PoolTimeout:
            self._replace(pool)
            raise
        finally:
            pool.users -= 1
            if pool.retired and not pool.users:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + POOL_TIMEOUT):
                    await pool.transport.aclose()
        if len(body) > limit and not keep_beginning:
            raise ResponseTooLarge(f"an answer of {self.service} is larger than {limit} bytes")
        return RestResponse(
            response.status_code,
            response.headers,
            bytes(body[:limit]),
            str(request.url),
            _links(response) if "link" in response.headers else {},
        )

    def _replace(self, pool: _Pool) -> None:
        """Put a new transport in place of one that lost its connections."""
        if pool is self._pool:
            self._pool = _Pool(self._make())
        pool.retired = True

    def _explain(self, exc: httpx.HTTPError | httpx.InvalidURL) -> NoResponse | CertificateRefused:
        import httpx

        if (reason := certificate_failure(exc)) is not None:
            return CertificateRefused(
                f"the certificate of {self.service} is refused: {reason}; {self.certificate_hint}",
                reason=reason,
            )
        detail = self.quoted(str(exc) or type(exc).__name__)
        failure: Failure = "broken"
        if isinstance(exc, httpx.PoolTimeout):
            failure = "lost"
        elif isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.InvalidURL):
            failure = "connect"
        return NoResponse(
            f"{self.service} cannot be reached: {detail}", failure=failure, detail=detail
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.transport.aclose()


def _links(response: httpx.Response) -> dict[str, str]:
    """Return the links by relation: httpx gives one with several under all at once."""
    return {
        relation: link["url"]
        for link in reversed(response.links.values())  # the first of a relation wins
        for relation in link.get("rel", "").lower().split()
    }


@asynccontextmanager
async def open_rest(
    service: str,
    *,
    timeout: float,
    max_body: int,
    ca_file: Path | None = None,
    proxy: Url | None = None,
    base_url: str = "",
    headers: Mapping[str, str] | None = None,
    login: tuple[str, str] | None = None,
    sign: Sign | None = None,
    secrets: Sequence[str] = (),
    connect_timeout: float | None = None,
    certificate_hint: str = "check url, or name the CA of a private server in ca_file",
    timeout_setting: str = "timeout",
    max_connections: int = MAX_CONNECTIONS,
    network: Network | None = None,
) -> AsyncIterator[RestClient]:
    """Open a client. Connections are made when there is something to send.

    :param service: what is at the other end, for sentences: ``DT's REST API``.
    :param timeout: seconds for a request and its whole answer.
    :param max_body: bytes of the largest answer, as they arrive: no encoding is asked
        for.
    :param ca_file: authorities, PEM, trusted besides those of the system.
    :param proxy: an HTTP proxy through which all requests go; that of the environment
        is never used.
    :param headers: sent with every request.
    :param login: user and password of HTTP Basic.
    :param sign: called for each request that goes out, where a vendor wants each one
        signed; not together with ``login``.
    :param secrets: texts that no error may hold.
    :param connect_timeout: seconds for making a connection; None: as ``timeout``.
    :param timeout_setting: the setting that holds ``timeout``, for sentences.
    :param network: makes what carries the requests, instead of the real one.
    :raises Pause: ``ca_file`` cannot be used.
    """
    import httpx

    tls = client_tls(ca_file)
    assert login is None or sign is None
    hidden = [*secrets]
    sent = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",  # the limit then counts what arrives
        "User-Agent": "bridged",
        **(headers or {}),
    }
    if login is not None:
        encoded = base64.b64encode(":".join(login).encode()).decode()
        sent["Authorization"] = f"Basic {encoded}"
        hidden += [login[1], encoded]

    def make() -> httpx.AsyncBaseTransport:
        if network is not None:
            return network()
        limits = httpx.Limits(max_connections=max_connections, keepalive_expiry=IDLE_SECONDS)
        return httpx.AsyncHTTPTransport(verify=tls, limits=limits, proxy=proxy, trust_env=False)

    client = RestClient(
        service,
        timeout,
        max_body,
        certificate_hint,
        timeout_setting,
        hidden,
        base_url.rstrip("/"),
        sent,
        sign,
        {"connect": connect_timeout, "pool": min(POOL_TIMEOUT, timeout / 2)},
        make,
        trio.CapacityLimiter(max_connections),
    )
    try:
        yield client
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + POOL_TIMEOUT):
            await client.aclose()
