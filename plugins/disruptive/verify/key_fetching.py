"""Fetching DT's public keys, and remembering them across restarts.

    start ─▶ remembered? ─ no ─▶ fetch ─▶ KeyRing, durable state
                  └─ yes ─▶ KeyRing        ▲
                   a request names an unknown key, at most once a minute

This and the REST API are all for which a source of this kind needs a way out to the
internet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NoReturn

import httpx
import trio

from bridge.api import JSON, KeyValue, Pause, Report, SpoolUnavailable, parse_json
from bridge.api.rest import client_tls

from ..settings import Settings, is_safe
from .keys import INTERVAL, KeyRing, PublicKey, read_keys

MAX_ANSWER = 256 << 10  # bytes; a JWKS of two keys has less than one thousand
MAX_URL = 300  # characters of a jwks_uri, which is told in reports
STATE = "keys"
"""Key of the durable state: ``{"url": where they are from, "keys": [JWK, ...]}``,
public keys only.
"""


class Unobtainable(Exception):
    """The keys cannot be fetched; the message completes a sentence."""


def recall(keys: KeyRing, settings: Settings, state: KeyValue) -> None:
    """Take the keys that were remembered; ask for a fetch if there are none from this
    ``discovery_url``.
    """
    remembered = state.get(STATE)
    ours = isinstance(remembered, dict) and remembered.get("url") == settings.discovery_url
    if ours and (found := read_keys(remembered)):
        keys.replace(found)
    else:
        keys.want()


async def keep_keys(
    keys: KeyRing,
    settings: Settings,
    state: KeyValue,
    report: Report,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> NoReturn:
    """Fetch the keys whenever they are wanted, at most once a minute, and until it
    succeeds.

    What goes wrong is reported and tried again, never raised: requests are verified
    meanwhile with the keys that are known.

    :param transport: the network; None is the real one.
    """
    while True:
        asked = await keys.wanted()
        try:
            async with _open_client(settings, transport) as client:
                found = await fetch_keys(client, settings)
        except (Unobtainable, Pause) as exc:
            keys.want()
            report(
                f"DT's public keys cannot be fetched: {exc}; allow HTTPS from here to discovery_url, or correct it "
                "(a request whose key is not known is answered 503, and DT sends it again for 12 h)",
                problem=True,
            )
        else:
            keys.replace(found, asked)
            report("")
            await _remember(found, settings, state)
        await trio.sleep(INTERVAL)


async def fetch_keys(client: httpx.AsyncClient, settings: Settings) -> dict[str, PublicKey]:
    """Ask DT for its public keys; gives at least one.

    :raises Unobtainable: saying where and why.
    """
    discovery = await _get(client, settings.discovery_url, settings.timeout)
    url = discovery.get("jwks_uri") if isinstance(discovery, dict) else None
    if not isinstance(url, str) or len(url) > MAX_URL:
        raise Unobtainable(f"{settings.discovery_url} names no jwks_uri")
    if not is_safe(url):
        raise Unobtainable(
            f"the jwks_uri that {settings.discovery_url} names is not an https:// URL"
        )
    found = read_keys(await _get(client, url, settings.timeout))
    if not found:
        raise Unobtainable(f"{url} holds no key for ES256")
    return found


async def _remember(found: Mapping[str, PublicKey], settings: Settings, state: KeyValue) -> None:
    value = {"url": str(settings.discovery_url), "keys": [dict(key.jwk) for key in found.values()]}
    if state.get(STATE) == value:
        return
    try:
        await state.put(STATE, value)
    except SpoolUnavailable:
        pass  # they are in memory; at worst they are fetched once more, at the next start


@asynccontextmanager
async def _open_client(
    settings: Settings, transport: httpx.AsyncBaseTransport | None
) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client for one fetch; they are rare.

    :raises Pause: ``ca_file`` cannot be used.
    """
    client = httpx.AsyncClient(
        verify=client_tls(settings.ca_file),
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "bridged",
        },
        timeout=None,  # noqa: S113  # each call has one deadline for everything
        follow_redirects=False,
        trust_env=False,
        transport=transport,
    )
    async with client:
        yield client


async def _get(client: httpx.AsyncClient, url: str, timeout: float) -> JSON:
    body = bytearray()
    try:
        with trio.fail_after(timeout), trio.CancelScope() as reading:
            async with client.stream("GET", url) as response:
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > MAX_ANSWER:
                        reading.cancel()  # unlike leaving the loop, it closes the generators inside httpx too
    except trio.TooSlowError as exc:
        raise Unobtainable(f"{url} did not answer within {timeout:g} s (timeout)") from exc
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise Unobtainable(f"{url} cannot be reached: {str(exc) or type(exc).__name__}") from exc
    if len(body) > MAX_ANSWER:
        raise Unobtainable(f"the answer of {url} is larger than {MAX_ANSWER} bytes")
    if response.status_code != 200:
        raise Unobtainable(f"{url} answers {response.status_code}, expected 200")
    try:
        return parse_json(bytes(body))
    except ValueError as exc:
        raise Unobtainable(f"the answer of {url} is not JSON") from exc
