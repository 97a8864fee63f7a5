"""Verification of ``X-Dt-Signature``: did DT send this body, recently, and is it whole?

    one value ─▶ three parts ─▶ HMAC with a secret of ours ─▶ iat, exp ─▶ checksum of the body ─▶ authentic
    └──────────────── the first step that fails is the reason of the 401 ────────────────┘

The header is not an HMAC of the body but a JWT (HS256) that carries hashes of it: ``checksum`` is SHA-1 and
``checksum_sha256``, present since February 2022, is SHA-256, both in hex (vendor documentation, recorded traffic).
The HMAC key is the UTF-8 of the secret as typed. A token that is seen twice is no error: events are known once.

PyJWT reads and verifies the token. It knows the wall clock only, so times are compared here, with a clock from outside.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import jwt
from jwt.algorithms import HMACAlgorithm

from bridge.api import Refusal, Request, Secret, parse_json

HEADER = "x-dt-signature"

Verify = Callable[[Request], None]

# Base64 decoders of Python skip foreign characters in silence: refuse them before anything is decoded.
_THREE_PARTS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class _PreparedHS256(HMACAlgorithm):
    """HS256 as PyJWT has it, for keys that were looked at once, when the instance started.

    PyJWT examines the key again with every token: whether it is a public key in disguise, which matters only where the
    token may choose the algorithm, and whether it is short, which it reports as a warning per request.
    """

    def prepare_key(self, key: str | bytes) -> bytes:
        return key if isinstance(key, bytes) else key.encode()

    def check_key_length(self, _key: bytes) -> None:
        return None


def make_verify(secrets: Sequence[Secret], *, leeway: float, legacy_sha1: bool, now: Callable[[], datetime]) -> Verify:
    """Make the function that raises :class:`Refusal` (401, with the reason) unless a request is authentic.

    :param secrets: the current secret, and the one before it while DT may still sign with that.
    :param leeway: seconds by which our clock and DT's may differ. 0 allows no difference.
    :param legacy_sha1: accept a token without SHA-256 if its SHA-1 matches.
    """
    keys = [secret.reveal().encode() for secret in secrets]
    tokens = jwt.PyJWS(algorithms=[])
    tokens.register_algorithm("HS256", _PreparedHS256(HMACAlgorithm.SHA256))

    def verify(request: Request) -> None:
        token = _only_token(request.headers.get(HEADER, ()))
        claims = _read_claims(_verify_token(tokens, keys, token))
        offset = _check_times(claims, now().timestamp(), leeway)
        _check_body(claims, request, legacy_sha1, offset)

    return verify


def _only_token(values: Sequence[str]) -> str:
    if not values:
        raise Refusal(401, "there is no X-Dt-Signature; has the Data Connector a signature secret?")
    if len(values) > 1:
        raise Refusal(401, f"X-Dt-Signature has {len(values)} values, expected one")
    if _THREE_PARTS.fullmatch(values[0]) is None:
        raise Refusal(401, "X-Dt-Signature is not a token of three base64url parts")
    return values[0]


def _verify_token(tokens: jwt.PyJWS, keys: Sequence[bytes], token: str) -> bytes:
    """Give the claims, as text, of a token that was signed with one of the keys."""
    for key in keys:
        try:
            claims: bytes = tokens.decode(token, key, algorithms=["HS256"])
        except jwt.InvalidSignatureError:
            continue
        except jwt.InvalidAlgorithmError as exc:
            raise Refusal(401, "the token of X-Dt-Signature is not signed with HS256") from exc
        except (jwt.PyJWTError, RecursionError) as exc:  # old PyJWT lets the latter through for a deeply nested header
            raise Refusal(401, "the token of X-Dt-Signature cannot be read") from exc
        return claims
    raise Refusal(401, "X-Dt-Signature was signed with another secret; is it the connector's signature secret?")


def _read_claims(text: bytes) -> Mapping[str, Any]:
    try:
        claims = parse_json(text)
    except ValueError as exc:
        raise Refusal(401, "the claims of X-Dt-Signature are not JSON") from exc
    if not isinstance(claims, dict):
        raise Refusal(401, "the claims of X-Dt-Signature are not a JSON object")
    return claims


def _check_times(claims: Mapping[str, Any], now: float, leeway: float) -> str:
    """Refuse a token that is not valid now; give ``now - iat`` for other reasons: a steady offset is a wrong clock."""
    issued = _seconds(claims, "iat")
    expires = _seconds(claims, "exp")
    begins = max(issued, _seconds(claims, "nbf")) if "nbf" in claims else issued
    offset = f"now - iat = {now - issued:+.0f} s"
    if begins - leeway > now:
        raise Refusal(401, f"the token is not valid yet ({offset}, leeway {leeway:g} s); is our clock right?")
    if now >= expires + leeway:
        raise Refusal(401, f"the token has expired ({offset}, leeway {leeway:g} s)")
    return offset


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):  # finite, or it would not have been read
        raise Refusal(401, f"the token has no {name} that is a number of seconds")
    return value


def _check_body(claims: Mapping[str, Any], request: Request, legacy_sha1: bool, offset: str) -> None:
    """Refuse a body that the token was not made for. If both hashes are there, SHA-256 decides."""
    name, digest = "checksum_sha256", hashlib.sha256
    if name not in claims:
        if not legacy_sha1:
            raise Refusal(401, f"the token has no {name} ({offset}); legacy_sha1 = yes would accept SHA-1 alone")
        name, digest = "checksum", hashlib.sha1
    claimed = claims.get(name)
    if not isinstance(claimed, str):
        raise Refusal(401, f"the token has no {name} that is a text ({offset})")
    expected = claimed.lower().encode()
    if hmac.compare_digest(digest(request.body).hexdigest().encode(), expected):
        return
    if "content-encoding" in request.headers:
        # Whether DT would hash before or after it compresses is not known (assumed: either).
        try:
            content = request.content()
        except Refusal as exc:
            raise Refusal(401, f"the body does not match {name} of its token ({offset}): {exc.reason}") from exc
        if hmac.compare_digest(digest(content).hexdigest().encode(), expected):
            return
    raise Refusal(401, f"the body does not match {name} of its token ({offset})")
