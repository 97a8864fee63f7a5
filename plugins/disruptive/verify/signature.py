"""Verification of ``X-Dt-Signature``: did somebody who knows our secret send this body,
recently, and is it whole?

The header is not an HMAC of the body but a JWT (HS256) that carries hashes of it:
``checksum`` is SHA-1 and ``checksum_sha256``, present since February 2022, is SHA-256,
both in hex (vendor documentation, recorded traffic). The HMAC key is the UTF-8 of the
secret as typed. A token that is seen twice is no error: events are known once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import jwt
from jwt.algorithms import HMACAlgorithm

from bridge.api import Request, Secret

from .rejections import Cause, Unauthentic
from .token import Verify, check_body, check_times, only_token, read_object

HEADER = "X-Dt-Signature"


class _PreparedHS256(HMACAlgorithm):
    """HS256 as PyJWT has it, for keys that were looked at once, when the instance
    started.

    PyJWT examines the key again with every token: whether it is a public key in
    disguise, which matters only where the token may choose the algorithm, and whether
    it is short, which it reports as a warning per request.
    """

    def prepare_key(self, key: str | bytes) -> bytes:
        return key if isinstance(key, bytes) else key.encode()

    def check_key_length(self, _key: bytes) -> None:
        return None


def make_verify(
    secrets: Sequence[Secret], *, leeway: float, legacy_sha1: bool, now: Callable[[], datetime]
) -> Verify:
    """Return the function that raises :class:`Unauthentic` unless a request is
    authentic.

    :param secrets: the current secret, and the one before it while DT may still sign
        with that.
    :param leeway: seconds by which our clock and DT's may differ. 0 allows no
        difference.
    :param legacy_sha1: accept a token without SHA-256 if its SHA-1 matches.
    """
    keys = [secret.reveal().encode() for secret in secrets]
    tokens = jwt.PyJWS(algorithms=[])
    tokens.register_algorithm("HS256", _PreparedHS256(HMACAlgorithm.SHA256))

    def verify(request: Request) -> None:
        token = only_token(request, HEADER, Cause.NO_SIGNATURE)
        claims = read_object(_verify_token(tokens, keys, token), f"the claims of {HEADER}")
        offset = check_times(claims, now().timestamp(), leeway)
        check_body(claims, request, offset, legacy_sha1=legacy_sha1)

    return verify


def _verify_token(tokens: jwt.PyJWS, keys: Sequence[bytes], token: str) -> bytes:
    """Return the claims, as text, of a token that was signed with one of the keys."""
    for key in keys:
        try:
            claims: bytes = tokens.decode(token, key, algorithms=["HS256"])
        except jwt.InvalidSignatureError:
            continue
        except jwt.InvalidAlgorithmError as exc:
            raise Unauthentic(
                Cause.UNREADABLE, f"the token of {HEADER} is not signed with HS256"
            ) from exc
        except (jwt.PyJWTError, RecursionError) as exc:
            # Old PyJWT lets the latter through for a deeply nested header.
            raise Unauthentic(Cause.UNREADABLE, f"the token of {HEADER} cannot be read") from exc
        return claims
    reason = f"{HEADER} was signed with another secret; is it the connector's signature secret?"
    raise Unauthentic(Cause.NOT_OURS, reason)
