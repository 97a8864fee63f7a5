"""Emulator of DT: a cloud with everything, or one connector alone.

    open_cloud ─▶ Cloud ─ REST API, identity service ── over HTTP ─▶ clients
                    └──── connectors ─────────────────── pushes ──▶ the bridge

    open_emulator ─▶ one connector, nothing to ask

Written from vendor documentation and recorded traffic alone: it shares no code with
what it is tested against.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random

import httpx
import trio

from bridge.api import Request, Response
from bridge.testing.http_server import serve_http

from .cloud import ORGANIZATION, Account, Cloud, Rules
from .events import new_xid
from .project import Project
from .push.connector import Connector
from .push.delivery import Delivery, Network
from .push.faults import NO_FAULTS, Faults
from .push.requests import Endpoint
from .push.tokens import SigningKeys
from .rest.identity import make_identity
from .rest.service import REST, make_rest, serve

__all__ = ["Account", "Cloud", "Connector", "Delivery", "Rules", "open_cloud", "open_emulator"]


def _wall_clock() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def open_cloud(
    *,
    accounts: Iterable[Account] = (),
    rules: Rules | None = None,
    asymmetric: bool = True,
    delivery: Delivery | None = None,
    tls: ssl.SSLContext | None = None,
    verify: ssl.SSLContext | bool = True,
    random: Random | None = None,
    now: Callable[[], datetime] = _wall_clock,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Cloud]:
    """Run a cloud for as long as the block is entered.

    :param accounts: service accounts; none: one developer, without Basic.
    :param asymmetric: whether pushes have ``DT-Asymmetric-Signature``.
    :param tls: to serve REST and identity over HTTPS; None: plain HTTP.
    :param verify: how to verify the certificate of the bridge.
    :param now: the clock of tokens, ages and the history. Retries, time limits and the
        rate follow trio's clock.
    :param transport: another way of the pushes than the network, for tests.
    """
    random = random or Random()  # noqa: S311  # decides on faults, protects nothing

    # No call can come before a client knows where to: by then there is a cloud.
    async def answer_rest(request: Request) -> Response:
        return await serve(cloud, rest, request)

    async def answer_identity(request: Request) -> Response:
        return await serve(cloud, identity, request)

    async with (
        _open_network(verify, now, random, transport) as network,
        serve_http(answer_rest, tls=tls) as api,
        serve_http(answer_identity, tls=tls) as identity_url,
    ):
        cloud = Cloud(
            rest_url=api + REST,
            identity_url=identity_url,
            accounts=list(accounts) or [Account()],
            rules=rules or Rules(),
            delivery=delivery or Delivery(),
            network=network,
        )
        if asymmetric:
            cloud.keys = SigningKeys(cloud.issuer, ORGANIZATION, random=random)
        rest, identity = make_rest(cloud), make_identity(cloud)
        yield cloud


@asynccontextmanager
async def open_emulator(
    url: str,
    secret: str,
    *,
    verify: ssl.SSLContext | bool = True,
    headers: Mapping[str, str] | None = None,
    delivery: Delivery | None = None,
    faults: Faults = NO_FAULTS,
    random: Random | None = None,
    now: Callable[[], datetime] = _wall_clock,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Connector]:
    """Push to ``url`` for as long as the block is entered; what waits at its end is
    forgotten.

    :param verify: how to verify the certificate of the bridge.
    :param headers: the connector's custom headers.
    :param now: the clock of tokens and ages. Retries and time limits follow trio's
        clock.
    :param transport: another way than the network, for tests.
    """
    random = random or Random()  # noqa: S311  # decides on faults, protects nothing
    async with _open_network(verify, now, random, transport) as network:
        yield Connector(
            id=new_xid(now(), random),
            project=Project(new_xid(now(), random), ORGANIZATION, "", now=now, random=random),
            endpoint=Endpoint(httpx.URL(url), secret, dict(headers or {})),
            faults=faults,
            delivery=delivery or Delivery(),
            network=network,
        )


@asynccontextmanager
async def _open_network(
    verify: ssl.SSLContext | bool,
    now: Callable[[], datetime],
    random: Random,
    transport: httpx.AsyncBaseTransport | None,
) -> AsyncIterator[Network]:
    forever = httpx.Timeout(None)  # the answer limit is around the whole attempt
    # Each connector has so many pushes under way, and no more.
    endless = httpx.Limits(max_connections=None)
    client = httpx.AsyncClient(
        verify=verify, timeout=forever, limits=endless, trust_env=False, transport=transport
    )
    async with client, trio.open_nursery() as deliveries:
        yield Network(client, verify, deliveries, now, random)
        deliveries.cancel_scope.cancel()
