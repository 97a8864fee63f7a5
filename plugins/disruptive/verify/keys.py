"""DT's public keys: which are known, and which are wanted. Nothing here waits for the
network.

    {"keys": [JWK, ...]} ─────────▶ KeyRing ◀─ find(kid) ─ a request, which cannot wait
                                       │ unknown kid: wanted
       discovery ─▶ jwks_uri ─▶ JWKS ◀─┘ fetched meanwhile, at most once a minute

A request whose key is not known is answered 503, and DT sends it again: the key may
have been made a moment ago. Only when DT has been asked after that, and does not
publish such a key, is it answered 401.

What was fetched replaces what was known: a key that DT withdraws is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt
import trio
from attrs import define, field, frozen
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from jwt.algorithms import ECAlgorithm

from bridge.api import JSON

from .rejections import KeyNotFetched, UnknownKey

INTERVAL = 60.0  # seconds from a fetch to the next: strangers, too, can name unknown keys
RETRY_AFTER = 10.0  # seconds; time enough for a fetch that begins at once
MAX_UNKNOWN = 100  # unknown kids that are remembered: strangers can send any
MAX_KEYS = 100  # that are looked at in one JWKS; two at a time are to be expected


@frozen
class PublicKey:
    """A public key of P-256."""

    jwk: Mapping[str, str]
    """As JSON has it: ``kid kty crv x y``."""
    key: EllipticCurvePublicKey
    """The same, ready for use."""


def read_keys(document: JSON) -> dict[str, PublicKey]:
    """Return the keys of a JWKS that can sign with ES256, by ``kid``: EC, curve P-256,
    ``use`` sig if present.

    Other members are left out, a private part above all. What is of another shape is
    passed over.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    keys = {}
    for item in listed[:MAX_KEYS] if isinstance(listed, list) else ():
        if (
            isinstance(item, dict)
            and item.get("use", "sig") == "sig"
            and (key := _read_key(item)) is not None
        ):
            keys[key.jwk["kid"]] = key
    return keys


def _read_key(item: Mapping[str, Any]) -> PublicKey | None:
    """Return a key; None if it is of another kind, or no point of the curve."""
    jwk = {
        name: text
        for name in ("kid", "kty", "crv", "x", "y")
        if isinstance(text := item.get(name), str) and text
    }
    if len(jwk) < 5 or jwk["kty"] != "EC" or jwk["crv"] != "P-256":
        return None
    try:
        key = ECAlgorithm.from_jwk(jwk)
    except (jwt.PyJWTError, ValueError):
        return None
    return PublicKey(jwk, key) if isinstance(key, EllipticCurvePublicKey) else None


@define(eq=False)
class KeyRing:
    """The public keys that are known, by ``kid``."""

    _keys: Mapping[str, EllipticCurvePublicKey] = field(factory=dict, init=False)
    _asked: set[str] = field(factory=set, init=False)
    """Unknown kids of requests since the last fetch began."""
    _absent: frozenset[str] = field(default=frozenset(), init=False)
    """Kids that the last fetch was to find, and did not."""
    _wanted: trio.Event = field(factory=trio.Event, init=False)

    def find(self, kid: str) -> EllipticCurvePublicKey:
        """Return a key.

        :raises KeyNotFetched: 503 if DT has not been asked since this kid was first
            seen.
        :raises UnknownKey: 401 if it has been, and publishes no such key.
        """
        key = self._keys.get(kid)
        if key is not None:
            return key
        if len(self._asked) < MAX_UNKNOWN:
            self._asked.add(kid)
        self._wanted.set()
        if kid in self._absent:
            raise UnknownKey("DT publishes no key of the name that DT-Asymmetric-Signature gives")
        raise KeyNotFetched(
            "the key of DT-Asymmetric-Signature has not been fetched yet", retry_after=RETRY_AFTER
        )

    def want(self) -> None:
        """Ask for a fetch."""
        self._wanted.set()

    async def wanted(self) -> frozenset[str]:
        """Wait until a fetch is asked for; return the unknown kids it is to find."""
        await self._wanted.wait()
        self._wanted = trio.Event()
        asked = frozenset(self._asked)
        self._asked.clear()
        return asked

    def replace(self, keys: Mapping[str, PublicKey], asked: frozenset[str] = frozenset()) -> None:
        """Take the keys of a fetch.

        :param asked: the kids that the fetch was to find.
        """
        self._keys = {kid: key.key for kid, key in keys.items()}
        self._absent = asked - keys.keys()
        self._asked -= keys.keys()
        if not self._asked:  # who asked while the fetch was under way has a key now
            self._wanted = trio.Event()
