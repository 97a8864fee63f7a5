"""Logging in to DT's REST API with a service account: HTTP Basic, or OAuth2 with a JWT
bearer (RFC 7523).

    service account ─ signs ─▶ assertion ─ POST token_url ─▶ access token
                                           (kept until 5 minutes before it expires)

Both forms, the claims and the four causes of a refusal are known from vendor
documentation.
"""

from __future__ import annotations

import warnings
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Protocol
from urllib.parse import urlencode

import jwt
import trio
from attrs import define, field

from bridge.api import Pause, Retry, parse_json
from bridge.api.rest import RestResponse

from ..settings import Settings
from .answers import verdict_on
from .gate import Gate

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME = 3600  # seconds, of the assertion, and of an access token that does not tell its own
BACKDATED = 5  # seconds; survives a clock of ours that is a little fast
EARLY = 300.0  # seconds before its end at which a token is renewed


class Login(Protocol):
    """Knows the value of the header ``Authorization``."""

    async def authorization(self, refused: str | None = None) -> str:
        """Return the value.

        :param refused: the value that was just answered 401; another one is returned.
        :raises Pause: there is no other, or the login is refused.
        :raises Retry: the token cannot be had now.
        """
        ...


def make_login(settings: Settings, gate: Gate, now: Callable[[], datetime]) -> Login:
    """Return the login that the settings ask for; they have all that it takes."""
    return _Bearer(settings, gate, now) if settings.login == "oauth" else _Basic(settings)


@define(eq=False)
class _Basic:
    _settings: Settings

    async def authorization(self, refused: str | None = None) -> str:
        if refused is not None:
            raise Pause(
                "DT refuses the service account (401); check service_account_key and "
                "service_account_secret; basic works only for a service account that has it "
                "enabled, else set service_account_email"
            )
        user, password = _credentials(self._settings)
        return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


@define(eq=False)
class _Bearer:
    _settings: Settings
    _gate: Gate
    _now: Callable[[], datetime]
    _value: str | None = field(default=None, repr=False)
    _renew_at: float = 0.0
    _renewing: trio.Lock = field(factory=trio.Lock)

    async def authorization(self, refused: str | None = None) -> str:
        async with self._renewing:  # who waited here finds the token that another task got
            known = self._value
            if known is None or known == refused or trio.current_time() >= self._renew_at:
                # A refused token is not offered again, should the renewal fail.
                self._value = None
                self._value = known = await self._renewed()
            return known

    async def _renewed(self) -> str:
        assertion = make_assertion(self._settings, self._now())
        form = urlencode({"grant_type": GRANT_TYPE, "assertion": assertion}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response = await self._gate.send("POST", self._settings.token_url, headers, form)
        if response.status != 200:
            raise self._refused(response, assertion)
        token, lifetime = read_token(response.body)
        self._renew_at = trio.current_time() + max(lifetime - EARLY, lifetime / 2)
        return f"Bearer {token}"

    def _refused(self, response: RestResponse, assertion: str) -> Retry | Pause:
        status, said = response.status, self._gate.said(response, assertion)
        if status not in (400, 401, 403):
            wait = self._gate.asked_wait(response)
            verdict = verdict_on("the login at token_url", status, said, wait)
            return verdict if isinstance(verdict, Retry) else Pause(f"{verdict}; check token_url")
        return Pause(
            f"DT refuses the login of the service account ({status}"
            + (f": {said}" if said else "")
            + "). One of four things is wrong: the clock of this machine; the service account, "
            "which DT does not know (service_account_email, service_account_key); the signature "
            "(service_account_secret); or the grant type, which this address does not serve "
            "(token_url)"
        )


def make_assertion(settings: Settings, now: datetime) -> str:
    """Return the JWT that asks for an access token."""
    key, secret = _credentials(settings)
    issued = int(now.timestamp()) - BACKDATED
    claims = {
        "iat": issued,
        "exp": issued + LIFETIME,
        "aud": str(settings.token_url),
        "iss": settings.service_account_email,
    }
    with warnings.catch_warnings():
        # PyJWT warns of a short secret, but it is DT that chose it.
        warnings.simplefilter("ignore")
        # Without "typ", as DT describes the header.
        headers = {"kid": key, "typ": None}
        return jwt.encode(claims, secret, algorithm="HS256", headers=headers)


def _credentials(settings: Settings) -> tuple[str, str]:
    key, secret = settings.service_account_key, settings.service_account_secret
    assert key is not None
    assert secret is not None
    return key, secret.reveal()


def read_token(body: bytes) -> tuple[str, float]:
    """Return the access token and its lifetime in seconds.

    :raises Retry: if there is none.
    """
    try:
        answer = parse_json(body)
    except ValueError:
        answer = None
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not (isinstance(token, str) and token and all("!" <= char <= "~" for char in token)):
        raise Retry("the answer of token_url holds no access token")
    lifetime = answer.get("expires_in")
    if type(lifetime) not in (int, float) or lifetime <= 0:
        lifetime = LIFETIME
    return token, float(lifetime)
