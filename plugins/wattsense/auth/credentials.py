"""Authenticate the caller: user and password, a bearer token, an API key, in addition
to a signature or instead of one.

Vendor documentation says that the webhook has a list of authentication variants and
does not name them; the sibling MQTT datastream has user and password, or none. Whatever
is configured must match, all of it.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import TypeAlias

from bridge.api import HttpRejection, Request

from ..settings import Settings
from .signature import only_value, same_text

Authenticate: TypeAlias = Callable[[Request], None]
"""Return if the caller is known, else raise ``HttpRejection`` with 401."""


def make_authenticate(settings: Settings) -> Authenticate:
    """Make the function that checks the credentials these settings ask for."""
    checks: list[Authenticate] = []
    pairs = list(settings.callers.items())
    if settings.username is not None and settings.password is not None:
        pairs.append((settings.username, settings.password))
    if pairs:
        checks.append(_basic([f"{name}:{password.reveal()}".encode() for name, password in pairs]))
    if settings.bearer_token is not None:
        tokens = (settings.bearer_token, *settings.previous_bearer_token)
        checks.append(_bearer([token.reveal().encode() for token in tokens]))
    if settings.api_key_header is not None and settings.api_key is not None:
        checks.append(_api_key(settings.api_key_header.lower(), settings.api_key.reveal().encode()))

    def authenticate(request: Request) -> None:
        for check in checks:
            check(request)

    return authenticate


def _basic(expected: Sequence[bytes]) -> Authenticate:
    challenge = (("WWW-Authenticate", 'Basic realm="bridge", charset="UTF-8"'),)

    def check(request: Request) -> None:
        try:
            given = b64decode(_authorization(request, "basic"), validate=True)
        except ValueError:
            given = b""
        except HttpRejection as refusal:
            raise HttpRejection(401, refusal.reason, headers=challenge) from None
        matches = [hmac.compare_digest(given, pair) for pair in expected]
        if not any(matches):
            raise HttpRejection(
                401, "user name and password are not configured ones", headers=challenge
            )

    return check


def _bearer(expected: Sequence[bytes]) -> Authenticate:
    def check(request: Request) -> None:
        given = _authorization(request, "bearer")
        matches = [same_text(given, token) for token in expected]
        if not any(matches):
            raise HttpRejection(401, "the bearer token is not a configured one")

    return check


def _api_key(header: str, expected: bytes) -> Authenticate:
    def check(request: Request) -> None:
        if not same_text(only_value(request, header), expected):
            raise HttpRejection(
                401, f"the API key in the header {header} is not the configured one"
            )

    return check


def _authorization(request: Request, scheme: str) -> str:
    given, _, credentials = only_value(request, "authorization").partition(" ")
    if given.lower() != scheme:
        raise HttpRejection(401, f"the header authorization is not of the kind {scheme}")
    return credentials.strip(" ")
