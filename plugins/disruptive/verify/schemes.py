"""Which signatures a request must have, as the setting ``scheme`` says.

========== ============================================================================
hmac       X-Dt-Signature
asymmetric DT-Asymmetric-Signature
either     at least one; the other must be right too, if it is there with a known key
both       both
none       nothing is verified
========== ============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from bridge.api import Request

from ..settings import Settings
from . import asymmetric, signature
from .rejections import Cause, KeyNotFetched, Unauthentic, UnknownKey
from .token import Verify


def make_verify(
    settings: Settings, now: Callable[[], datetime], find_key: asymmetric.FindKey | None
) -> Verify | None:
    """Return the function that raises :class:`HttpRejection` unless a request is
    authentic; None for scheme none.

    :param find_key: finds DT's public keys, for the schemes that need them.
    """
    schemes: dict[str, Verify] = {}
    if settings.secret is not None:
        schemes[signature.HEADER.lower()] = signature.make_verify(
            [
                secret
                for secret in (settings.secret, settings.previous_secret)
                if secret is not None
            ],
            leeway=settings.leeway,
            legacy_sha1=settings.legacy_sha1,
            now=now,
        )
    if settings.verifies_asymmetric:
        assert settings.organization is not None
        assert find_key is not None
        schemes[asymmetric.HEADER.lower()] = asymmetric.make_verify(
            find_key,
            issuer=settings.issuer,
            organization=settings.organization,
            leeway=settings.leeway,
            now=now,
        )
    if settings.scheme == "either":
        return _either(schemes)
    return _all(list(schemes.values())) if schemes else None


def _all(verifiers: list[Verify]) -> Verify:
    if len(verifiers) == 1:
        return verifiers[0]

    def verify(request: Request) -> None:
        for verify_one in verifiers:  # the secret first: garbage then asks for no keys
            verify_one(request)

    return verify


def _either(schemes: Mapping[str, Verify]) -> Verify:
    def verify(request: Request) -> None:
        verified = False
        keyless: KeyNotFetched | UnknownKey | None = None
        for header, verify_one in schemes.items():
            if header not in request.headers:
                continue
            try:
                verify_one(request)
            except (KeyNotFetched, UnknownKey) as rejection:
                keyless = rejection  # without its key a signature proves nothing, either way
            else:
                verified = True
        if verified:
            return
        if keyless is not None:
            raise keyless
        raise Unauthentic(
            Cause.NO_SIGNATURE, "there is neither X-Dt-Signature nor DT-Asymmetric-Signature"
        )

    return verify
