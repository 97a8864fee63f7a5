"""What DT's two signatures have in common: a token (JWT) in a header that carries
hashes of the body.

    one value ─▶ three parts ─▶ signed with a key of the scheme ─▶ iat, exp ─▶ checksum
    └────────────── the first step that fails is the reason of the 401 ───────────────┘

PyJWT verifies the signature of a token. It knows the wall clock only, so times are
compared here, with a clock from outside.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from bridge.api import HttpRejection, Request, parse_json

from .rejections import Cause, Unauthentic

Verify: TypeAlias = Callable[[Request], None]
"""Raises :class:`HttpRejection`, with the reason, unless a request is authentic."""

# Base64 decoders of Python skip foreign characters in silence: refuse them before
# anything is decoded.
_THREE_PARTS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def only_token(request: Request, header: str, missing: Cause) -> str:
    """Return the one value of a header, which has the three parts of a token.

    :param header: its name, as people write it.
    """
    values = request.headers.get(header.lower(), ())
    if not values:
        raise Unauthentic(missing, f"there is no {header}")
    if len(values) > 1:
        raise Unauthentic(Cause.UNREADABLE, f"{header} has {len(values)} values, expected one")
    if _THREE_PARTS.fullmatch(values[0]) is None:
        raise Unauthentic(Cause.UNREADABLE, f"{header} is not a token of three base64url parts")
    return values[0]


def read_object(text: bytes, what: str) -> Mapping[str, Any]:
    """Return the JSON object that a part of a token holds."""
    try:
        plain = parse_json(text)
    except ValueError as exc:
        raise Unauthentic(Cause.UNREADABLE, f"{what} is not JSON") from exc
    if not isinstance(plain, dict):
        raise Unauthentic(Cause.UNREADABLE, f"{what} is not a JSON object")
    return plain


def check_times(claims: Mapping[str, Any], now: float, leeway: float) -> str:
    """Check that a token is valid now.

    :returns: ``now - iat`` in words, for the reasons of what may fail later: a steady
        offset is a wrong clock.
    """
    issued = _seconds(claims, "iat")
    expires = _seconds(claims, "exp")
    begins = max(issued, _seconds(claims, "nbf")) if "nbf" in claims else issued
    offset = f"now - iat = {now - issued:+.0f} s"
    if begins - leeway > now:
        reason = f"the token is not valid yet ({offset}, leeway {leeway:g} s); is our clock right?"
        raise Unauthentic(Cause.TIMES, reason, offset=offset)
    if now >= expires + leeway:
        raise Unauthentic(
            Cause.TIMES, f"the token has expired ({offset}, leeway {leeway:g} s)", offset=offset
        )
    return offset


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unauthentic(Cause.UNREADABLE, f"the token has no {name} that is a number of seconds")
    return value  # finite, or it would not have been read


def check_body(
    claims: Mapping[str, Any], request: Request, offset: str, *, legacy_sha1: bool = False
) -> None:
    """Check that the token was made for this body.

    If both hashes are there, SHA-256 decides.
    """
    name, digest = "checksum_sha256", hashlib.sha256
    if name not in claims:
        if not legacy_sha1:
            raise Unauthentic(Cause.OLD_HASH, f"the token has no {name} ({offset})")
        name, digest = "checksum", hashlib.sha1
    claimed = claims.get(name)
    if not isinstance(claimed, str):
        raise Unauthentic(Cause.UNREADABLE, f"the token has no {name} that is a text ({offset})")
    expected = claimed.lower().encode()
    if hmac.compare_digest(digest(request.body).hexdigest().encode(), expected):
        return
    mismatch = f"the body does not match {name} of its token ({offset})"
    if "content-encoding" in request.headers:
        # Whether DT would hash before or after it compresses is not known (assumed:
        # either).
        try:
            content = request.content()
        except HttpRejection as exc:
            raise Unauthentic(Cause.OTHER_BODY, f"{mismatch}: {exc.reason}") from exc
        if hmac.compare_digest(digest(content).hexdigest().encode(), expected):
            return
    raise Unauthentic(Cause.OTHER_BODY, mismatch)
