"""Emulator of DT: the identity service. Access tokens for service accounts, and the
public keys of the pushes.

    POST /oauth2/token           assertion (RFC 7523) ─▶ access token, or 400 (RFC 6749)
    GET  DISCOVERY               where the keys are
    GET  KEYS                    the keys; the path is our choice, clients read jwks_uri

The assertion is checked with an HMAC of our own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from bridge.api import Request, Response

from ..cloud import AccessToken, Account, Cloud
from ..events import compact
from .faults import JSON_TYPE, error

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DISCOVERY = "/data-connector/.well-known/openid-configuration"
KEYS = "/data-connector/keys"
_MAX_LIFETIME = 3600  # seconds from iat to exp


class _RefusedError(Exception):
    """The token endpoint says no: a code of RFC 6749, and a sentence."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def make_identity(cloud: Cloud) -> Callable[[Request], Response]:
    """Make the answers of the identity service."""

    def answer(request: Request) -> Response:
        call = f"{request.method} {request.path}"
        if call == "POST /oauth2/token":
            try:
                return _grant(cloud, request)
            except _RefusedError as refused:
                return Response(
                    400,
                    compact({"error": refused.code, "error_description": str(refused)}),
                    JSON_TYPE,
                )
        if cloud.keys is not None and call == f"GET {DISCOVERY}":
            return Response(200, compact(_discovery(cloud)), JSON_TYPE)
        if cloud.keys is not None and call == f"GET {KEYS}":
            return Response(200, compact(cloud.keys.jwks()), JSON_TYPE)
        return error(404, "not found")

    return answer


def _discovery(cloud: Cloud) -> Mapping[str, Any]:
    """Return the document with all members that OpenID Connect demands of an issuer."""
    return {
        "issuer": cloud.issuer,
        "authorization_endpoint": f"{cloud.identity_url}/oauth2/authorize",
        "token_endpoint": cloud.token_url,
        "jwks_uri": f"{cloud.identity_url}{KEYS}",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }


def _grant(cloud: Cloud, request: Request) -> Response:
    kind = request.headers.get("content-type", ("",))[0].partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise _RefusedError("invalid_request", "expected application/x-www-form-urlencoded")
    form = parse_qs(request.body.decode("ascii", "replace"))
    if form.get("grant_type") != [GRANT]:
        raise _RefusedError("unsupported_grant_type", "unsupported grant type")
    if len(form.get("assertion", ())) != 1:
        raise _RefusedError("invalid_request", "one assertion is needed")
    now = cloud.now() + timedelta(seconds=cloud.rules.clock_offset)
    account = _check_assertion(cloud, form["assertion"][0], now)
    access_token = hashlib.sha256(cloud.random.randbytes(32)).hexdigest()
    cloud.tokens[access_token] = AccessToken(
        account, cloud.now() + timedelta(seconds=cloud.rules.token_lifetime)
    )
    document = {
        "access_token": access_token,
        "token_type": "bearer",
        "expires_in": round(cloud.rules.token_lifetime),
    }
    return Response(200, compact(document), JSON_TYPE)


def _check_assertion(cloud: Cloud, assertion: str, now: datetime) -> Account:
    parts = assertion.split(".")
    if len(parts) != 3:
        raise _RefusedError("invalid_grant", "the assertion is no JWT")
    header, claims = _object(parts[0]), _object(parts[1])
    account = next((known for known in cloud.accounts if known.key == header.get("kid")), None)
    if account is None or claims.get("iss") != account.email:
        raise _RefusedError(
            "invalid_grant", "untrusted entity: kid and iss name no service account"
        )
    expected = hmac.digest(account.secret.encode(), f"{parts[0]}.{parts[1]}".encode(), "sha256")
    if header.get("alg") != "HS256" or not hmac.compare_digest(_decoded(parts[2]), expected):
        raise _RefusedError("invalid_grant", "signature")
    if claims.get("aud") != cloud.token_url:
        raise _RefusedError("invalid_grant", f"aud must be {cloud.token_url}")
    _check_times(claims, now.timestamp(), cloud.rules.token_leeway)
    return account


def _check_times(claims: Mapping[str, Any], now: float, leeway: float) -> None:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, (int, float)) or not isinstance(expires, (int, float)):
        raise _RefusedError("invalid_grant", "timing: iat and exp must be numbers")
    if not issued - leeway <= now < expires + leeway:
        raise _RefusedError("invalid_grant", "timing: the assertion is not valid now")
    if expires - issued > _MAX_LIFETIME:  # assumed
        raise _RefusedError("invalid_grant", "timing: the assertion is valid for more than an hour")


def _object(part: str) -> Mapping[str, Any]:
    try:
        document = json.loads(_decoded(part))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _RefusedError("invalid_grant", "the assertion is no JWT")
    return document


def _decoded(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError as exc:
        raise _RefusedError("invalid_grant", "the assertion is no JWT") from exc
