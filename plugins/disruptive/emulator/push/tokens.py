"""Emulator of DT: the tokens of a push, and the keys that DT publishes.

    X-Dt-Signature            HS256, the connector's secret, valid for an hour,
                              SHA-1 and SHA-256 of the body
    DT-Asymmetric-Signature   ES256, DT's own key, valid for 300 s,
                              SHA-256 of the body and the organization in ``sub``

Written from vendor documentation alone, with its own HMAC: what receives these tokens
shares no code with it, and so no mistake. Two names stand for one organization: DT does
not tell which of them it writes.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from ..events import compact, new_xid
from .faults import Faults, Hit

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_HS256_LIFETIME = 3600  # seconds from iat to exp
_ES256_LIFETIME = 300
_FAR = 2 * _HS256_LIFETIME  # seconds by which an expired token is too late, whatever its lifetime
_COORDINATE = 32  # bytes of r, of s, and of a coordinate of P-256


@frozen
class Moment:
    """What all tokens of one request have in common."""

    issued: int
    """Unix seconds of ``iat``."""
    algorithm_none: bool
    """Whether they say ``alg`` none."""


def draw_moment(now: datetime, faults: Faults, hit: Hit) -> Moment:
    """Decide when the tokens of a request are issued."""
    issued = int(now.timestamp() + faults.clock_offset)
    if hit(faults.expired_token):
        issued -= _FAR
    if hit(faults.future_token):
        issued += _HS256_LIFETIME
    return Moment(issued, hit(faults.algorithm_none))


def hs256_token(
    body: bytes, secret: str, moment: Moment, faults: Faults, hit: Hit, random: Random
) -> str:
    """Make the value of ``X-Dt-Signature``."""
    claims: dict[str, Any] = {"checksum": hashlib.sha1(body).hexdigest()}  # noqa: S324  # DT sends both
    if not hit(faults.sha1_only):
        claims["checksum_sha256"] = hashlib.sha256(body).hexdigest()
    claims |= {"exp": moment.issued + _HS256_LIFETIME, "iat": moment.issued}
    claims["jti"] = new_xid(datetime.fromtimestamp(moment.issued, UTC), random)
    if moment.algorithm_none:
        return _unsigned(claims)
    key = secret + "-of-somebody-else" if hit(faults.wrong_secret) else secret
    signed = _signing_input({"alg": "HS256", "typ": "JWT"}, claims)
    return f"{signed}.{base64url(hmac.digest(key.encode(), signed.encode(), 'sha256'))}"


@frozen
class _Key:
    kid: str
    private: EllipticCurvePrivateKey = field(repr=False)


@define(eq=False, repr=False)
class SigningKeys:
    """DT's keys for ES256: one that signs, and those that the JWKS shows."""

    issuer: str
    """``iss``; discovery lies below it."""
    organization: str
    """Id of the customer's organization."""
    whole_name: bool = False
    """Whether ``sub`` is ``organizations/ID`` instead of ``ID``."""
    random: Random = field(factory=Random)
    """Makes the kids; the keys themselves come from the system."""

    _signer: _Key = field(init=False)
    _published: list[_Key] = field(init=False, factory=list)
    _stranger: _Key = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._signer = self._new_key()
        self._published = [self._signer]
        self._stranger = self._new_key()

    @property
    def kid(self) -> str:
        """The kid of the key that signs now."""
        return self._signer.kid

    def rotate(self, *, keep_old: bool = True) -> None:
        """Sign with a new key, and publish it.

        :param keep_old: whether the JWKS still shows the keys before it.
        """
        self._signer = self._new_key()
        self._published = [self._signer, *(self._published if keep_old else [])]

    def jwks(self) -> dict[str, Any]:
        """Return the JWKS, newest key first."""
        return {"keys": [_public(key) for key in self._published]}

    def token(self, body: bytes, moment: Moment, faults: Faults, hit: Hit) -> str:
        """Make the value of ``DT-Asymmetric-Signature``."""
        organization = self.organization[::-1] if hit(faults.wrong_sub) else self.organization
        claims = {
            "checksum_sha256": hashlib.sha256(body).hexdigest(),
            "iat": moment.issued,
            "exp": moment.issued + _ES256_LIFETIME,
            "iss": self.issuer + "-of-somebody-else" if hit(faults.wrong_iss) else self.issuer,
            "sub": f"organizations/{organization}" if self.whole_name else organization,
        }
        if moment.algorithm_none:
            return _unsigned(claims)
        unknown = hit(faults.unknown_kid)
        kid = self._stranger.kid if unknown else self._signer.kid
        signer = self._stranger if unknown or hit(faults.wrong_key) else self._signer
        signed = _signing_input({"alg": "ES256", "kid": kid, "typ": "JWT"}, claims)
        return (
            f"{signed}.{base64url(_es256(signer, signed.encode(), der=hit(faults.der_signature)))}"
        )

    def _new_key(self) -> _Key:
        # Takes a while to load, and few need it.
        from cryptography.hazmat.primitives.asymmetric import ec

        return _Key(f"{self.random.getrandbits(160):040x}", ec.generate_private_key(ec.SECP256R1()))


def base64url(raw: bytes) -> str:
    """Encode as JOSE does: without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _es256(key: _Key, signed: bytes, *, der: bool) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    signature = key.private.sign(signed, ECDSA(SHA256()))
    if der:
        return signature
    r, s = decode_dss_signature(signature)
    return r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")


def _public(key: _Key) -> dict[str, str]:
    point = key.private.public_key().public_numbers()
    x, y = (base64url(number.to_bytes(_COORDINATE, "big")) for number in (point.x, point.y))
    return {
        "kty": "EC",
        "crv": "P-256",
        "use": "sig",
        "alg": "ES256",
        "kid": key.kid,
        "x": x,
        "y": y,
    }


def _unsigned(claims: dict[str, Any]) -> str:
    return _signing_input({"alg": "none", "typ": "JWT"}, claims) + "."


def _signing_input(header: dict[str, str], claims: dict[str, Any]) -> str:
    return f"{base64url(compact(header))}.{base64url(compact(claims))}"
