"""Fetching DT's public keys, and remembering them across restarts.

    start ─▶ remembered? ─ no ─▶ fetch ─▶ KeyRing, durable state
                  └─ yes ─▶ KeyRing        ▲
                   a request names an unknown key, at most once a minute

This and the REST API are all for which a source of this kind needs a way out to the
internet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NoReturn

import trio

from bridge.api import JSON, KeyValue, Pause, Retry, SourceContext, SpoolUnavailable
from bridge.api.rest import Network, open_rest, read_retry_after, verdict_of

from ..problems import KEYS_MISSING
from ..settings import Settings, is_safe
from .keys import INTERVAL, KeyRing, PublicKey, read_keys

MAX_ANSWER = 256 << 10  # bytes; a JWKS of two keys has less than one thousand
MAX_URL = 300  # characters of a jwks_uri, which is told in reports
STATE = "keys"
"""Key of the durable state: ``{"url": where they are from, "keys": [JWK, ...]}``,
public keys only.
"""
REMEDY = (
    "allow HTTPS from here to discovery_url, or correct it (a request whose key is not known is "
    "answered 503, and DT sends it again for 12 h)"
)


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
    keys: KeyRing, settings: Settings, context: SourceContext, *, network: Network | None = None
) -> NoReturn:
    """Fetch the keys whenever they are wanted, at most once a minute.

    A fetch is attempted until it succeeds; meanwhile requests are verified with the
    keys that are known.

    :param network: makes what carries the requests, instead of the real one.
    """

    async def fetch() -> dict[str, PublicKey]:
        return await fetch_keys(settings, context.now, network)

    while True:
        asked = await keys.wanted()
        found = await context.insist(
            fetch, topic="keys", doing="fetching DT's public keys", problem=KEYS_MISSING
        )
        keys.replace(found, asked)
        await _remember(found, settings, context.state)
        await trio.sleep(INTERVAL)


async def fetch_keys(
    settings: Settings, now: Callable[[], datetime], network: Network | None = None
) -> dict[str, PublicKey]:
    """Ask DT for its public keys; there is at least one.

    :raises Retry, Pause: saying where and why, and what to do.
    """
    try:
        return await _fetch(settings, now, network)
    except Retry as failed:
        raise Retry(f"{failed}; {REMEDY}", after=failed.after) from failed
    except Pause as refused:
        raise Pause(f"{refused}; {REMEDY}") from refused


async def _fetch(
    settings: Settings, now: Callable[[], datetime], network: Network | None
) -> dict[str, PublicKey]:
    discovery = await _get(settings.discovery_url, settings, now, network)
    url = discovery.get("jwks_uri") if isinstance(discovery, dict) else None
    if not isinstance(url, str) or len(url) > MAX_URL:
        raise Pause(f"{settings.discovery_url} names no jwks_uri")
    if not is_safe(url):
        raise Pause(f"the jwks_uri that {settings.discovery_url} names is not an https:// URL")
    found = read_keys(await _get(url, settings, now, network))
    if not found:
        raise Pause(f"{url} holds no key for ES256")
    return found


async def _get(
    url: str, settings: Settings, now: Callable[[], datetime], network: Network | None
) -> JSON:
    # A client of its own: fetches are rare, and its errors name this URL.
    async with open_rest(
        url,
        timeout=settings.timeout,
        max_body=MAX_ANSWER,
        ca_file=settings.ca_file,
        proxy=settings.proxy,
        certificate_hint="name the CA of a private server in ca_file",
        network=network,
    ) as client:
        response = await client.request("GET", url)
    if response.status != 200:
        what = f"{url} answers {response.status}, expected 200"
        if verdict_of(response.status) in (None, Retry):
            raise Retry(what, after=read_retry_after(response.headers, now()))
        raise Pause(what)
    try:
        return response.json()
    except ValueError as exc:  # perhaps a page of something in between, which may go away
        raise Retry(f"the answer of {url} is not JSON") from exc


async def _remember(found: Mapping[str, PublicKey], settings: Settings, state: KeyValue) -> None:
    value = {"url": str(settings.discovery_url), "keys": [dict(key.jwk) for key in found.values()]}
    if state.get(STATE) == value:
        return
    try:
        await state.put(STATE, value)
    except SpoolUnavailable:
        pass  # they are in memory; at worst they are fetched once more, at the next start
