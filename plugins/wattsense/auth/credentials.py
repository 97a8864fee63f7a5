"""Authenticate the caller: user and password, a bearer token, an API key, in addition
to a signature or instead of one.

Vendor documentation says that the webhook has a list of authentication variants and
does not name them; the sibling MQTT datastream has user and password, or none. Whatever
is configured must match, all of it.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from attrs import frozen

from bridge.api import HttpRejection, Request, Secret, SettingError

from .signature import only_value, same_text

Authenticate: TypeAlias = Callable[[Request], None]
"""Returns if the caller is known, else raises ``HttpRejection`` with 401."""


@frozen
class CallerPolicy:
    """What a caller must present: of each variant that is not empty, one."""

    logins: tuple[tuple[str, Secret], ...] = ()
    """User names and passwords; a name may come twice."""
    bearer_tokens: tuple[Secret, ...] = ()
    api_key_header: str = ""
    api_key: Secret | None = None

    @property
    def asks_nothing(self) -> bool:
        """Whether anybody may call, as far as credentials go."""
        return self == CallerPolicy()


def caller_policy(
    *,
    username: str | None,
    password: Secret | None,
    callers: Mapping[str, Secret],
    bearer_token: Secret | None,
    previous_bearer_token: tuple[Secret, ...],
    api_key_header: str | None,
    api_key: Secret | None,
) -> CallerPolicy:
    """Return the policy of these settings.

    :raises SettingError: if something of it is missing or too much.
    """
    _check_pair(username=username, password=password)
    _check_pair(api_key_header=api_key_header, api_key=api_key)
    if username is not None and ":" in username:
        raise SettingError(
            "username", "expected a name without a colon, which HTTP Basic cannot carry"
        )
    for name in callers:
        if ":" in name:
            raise SettingError(
                "callers",
                f"expected names without a colon, which HTTP Basic cannot carry, got {name!r}",
            )
    logins = tuple(callers.items())
    if username is not None and password is not None:
        logins += ((username, password),)
    if bearer_token is None:
        if previous_bearer_token:
            raise SettingError(
                "bearer_token", "missing; previous_bearer_token is accepted besides it"
            )
        return CallerPolicy(logins, (), api_key_header or "", api_key)
    if logins:
        raise SettingError(
            "bearer_token", "expected either user name and password or a bearer token, got both"
        )
    tokens = (bearer_token, *previous_bearer_token)
    return CallerPolicy((), tokens, api_key_header or "", api_key)


def _check_pair(**pair: str | Secret | None) -> None:
    missing = [name for name, value in pair.items() if value is None]
    if len(missing) == 1:
        raise SettingError(missing[0], f"missing; {' and '.join(pair)} belong together")


def make_authenticate(policy: CallerPolicy) -> Authenticate:
    """Return the function that checks the credentials of a request."""
    checks: list[Authenticate] = []
    if policy.logins:
        checks.append(
            _basic([f"{name}:{password.reveal()}".encode() for name, password in policy.logins])
        )
    if policy.bearer_tokens:
        checks.append(_bearer([token.reveal().encode() for token in policy.bearer_tokens]))
    if policy.api_key is not None:
        checks.append(_api_key(policy.api_key_header.lower(), policy.api_key.reveal().encode()))

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
