"""Verification of ``DT-Asymmetric-Signature``: did DT send this body to our
organization, recently, and is it whole?

    header: ES256, kid ─▶ DT's public key ─▶ signature ─▶ iss ─▶ iat, exp
                                ─▶ sub ─▶ checksum_sha256 ─▶ authentic

A JWT with the raw signature ``r || s`` of JOSE, 64 bytes; it lives for 300 seconds
(vendor documentation). The key is common to all customers of DT: without comparing
``sub`` any of them could feed in events. Its exact form is not known: the id alone and
``organizations/ID`` are accepted (assumed).
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from bridge.api import Request

from .rejections import Cause, Unauthentic
from .token import Verify, check_body, check_times, only_token, read_object

HEADER = "DT-Asymmetric-Signature"

FindKey: TypeAlias = Callable[[str], EllipticCurvePublicKey]
"""Returns the key of a ``kid``.

:raises HttpRejection: 503 if it is not known yet, 401 if there is no such key.
"""


def make_verify(
    find_key: FindKey, *, issuer: str, organization: str, leeway: float, now: Callable[[], datetime]
) -> Verify:
    """Return the function that raises :class:`HttpRejection` unless a request is
    authentic.

    :param organization: the id alone.
    :param leeway: seconds by which our clock and DT's may differ. 0 allows no
        difference.
    """
    tokens = jwt.PyJWS(algorithms=["ES256"])
    subjects = (organization, f"organizations/{organization}")

    def verify(request: Request) -> None:
        token = only_token(request, HEADER, Cause.NO_ASYMMETRIC_SIGNATURE)
        claims = _verify_token(tokens, find_key(_kid(token)), token)
        if claims.get("iss") != issuer:
            raise Unauthentic(
                Cause.OTHER_ISSUER, f"the token of {HEADER} is of another issuer than {issuer}"
            )
        offset = check_times(claims, now().timestamp(), leeway)
        if claims.get("sub") not in subjects:
            raise Unauthentic(
                Cause.OTHER_ORGANIZATION,
                f"the token of {HEADER} is for another organization ({offset})",
            )
        check_body(claims, request, offset)

    return verify


def _kid(token: str) -> str:
    """Return the name of the key.

    The header is not trusted by this: PyJWT verifies it with the rest of the token.
    """
    part = token.partition(".")[0]
    try:
        text = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except Base64Error as exc:
        raise Unauthentic(Cause.UNREADABLE, f"the token of {HEADER} cannot be read") from exc
    header = read_object(text, f"the header of the token of {HEADER}")
    if header.get("alg") != "ES256":
        raise Unauthentic(Cause.UNREADABLE, f"the token of {HEADER} is not signed with ES256")
    if "crit" in header:
        # Extensions that must be understood: we know none, and old PyJWT does not look.
        raise Unauthentic(Cause.UNREADABLE, f"the token of {HEADER} asks for an extension")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise Unauthentic(Cause.UNREADABLE, f"the token of {HEADER} names no key")
    return kid


def _verify_token(tokens: jwt.PyJWS, key: EllipticCurvePublicKey, token: str) -> Mapping[str, Any]:
    """Return the claims of a token that was signed with this key."""
    try:
        text: bytes = tokens.decode(token, key, algorithms=["ES256"])
    except jwt.InvalidSignatureError as exc:
        raise Unauthentic(
            Cause.NOT_DTS, f"{HEADER} was not made with the key that it names"
        ) from exc
    except (jwt.PyJWTError, RecursionError) as exc:
        # Old PyJWT lets the latter through for a deeply nested header.
        raise Unauthentic(Cause.UNREADABLE, f"the token of {HEADER} cannot be read") from exc
    return read_object(text, f"the claims of {HEADER}")
