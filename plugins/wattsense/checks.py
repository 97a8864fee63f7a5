"""What of the settings belongs together. A configuration that would accept more than
was meant is refused at start.

A secret that nothing uses, a scheme without a header, a timestamp that the signature
does not cover, a REST secret that would travel in clear text: each is a mistake of one
setting, told with what was expected.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import unhexlify
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.api import Secret, SettingError

from .auth.presets import OVERRIDES
from .auth.signature import Scheme, compile_template

if TYPE_CHECKING:
    from .settings import Settings

TOKEN_SETTINGS = frozenset(
    {
        "secret",
        "previous_secret",
        "signature_header",
        "signature_prefix",
        "token_parameter",
        "token_member",
    }
)
"""What ``signature = token`` can use."""

HEADER_SETTINGS = ("signature_header", "timestamp_header", "id_header", "api_key_header")
PLACES_OF_A_TOKEN = ("signature_header", "token_parameter", "token_member")
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def check_receiver(settings: Settings) -> None:
    """Check the path and the names of headers. :raises SettingError: if one is none."""
    if re.fullmatch(r"/[!$-;=@-~]*", settings.path, re.ASCII) is None:
        raise SettingError("path", f"expected a path that begins with '/', got {settings.path!r}")
    for name in HEADER_SETTINGS:
        header = getattr(settings, name)
        if header is not None and re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", header) is None:
            raise SettingError(
                name, f"expected the name of a header such as X-Signature, got {header!r}"
            )


def check_credentials(settings: Settings) -> None:
    """Check what the caller must present.

    :raises SettingError: if something of it is missing or too much.
    """
    for one, other in (("username", "password"), ("api_key_header", "api_key")):
        if (getattr(settings, one) is None) != (getattr(settings, other) is None):
            missing = one if getattr(settings, one) is None else other
            raise SettingError(missing, f"missing; {one} and {other} belong together")
    if settings.username is not None and ":" in settings.username:
        raise SettingError(
            "username", "expected a name without a colon, which HTTP Basic cannot carry"
        )
    for name in settings.callers:
        if ":" in name:
            raise SettingError(
                "callers",
                f"expected names without a colon, which HTTP Basic cannot carry, got {name!r}",
            )
    if settings.previous_bearer_token and settings.bearer_token is None:
        raise SettingError("bearer_token", "missing; previous_bearer_token is accepted besides it")
    if settings.bearer_token is not None and (settings.username is not None or settings.callers):
        raise SettingError(
            "bearer_token", "expected either user name and password or a bearer token, got both"
        )


def check_scheme(settings: Settings) -> None:
    """Check how requests are signed.

    :raises SettingError: if it is incomplete, or more than the scheme uses.
    """
    scheme = settings.scheme()
    for name in (*OVERRIDES, "secret", "previous_secret", "secret_encoding"):
        if getattr(settings, name) not in (None, ()) and not _uses(scheme.kind, name):
            raise SettingError(
                name,
                f"signature = {settings.signature} does not use it; remove it, or choose another",
            )
    if scheme.kind == "none":
        return
    if settings.secret is None:
        raise SettingError("secret", f"missing; signature = {settings.signature} needs it")
    if [scheme.header, scheme.parameter, scheme.member].count("") != len(PLACES_OF_A_TOKEN) - 1:
        expected = "the name of one header such as X-Signature-SHA256"
        if scheme.kind == "token":
            expected += ", or token_parameter or token_member instead"
        raise SettingError(
            "signature_header",
            f"expected {expected}; signature = {settings.signature} has none of its own",
        )
    if scheme.kind == "hmac":
        _check_hmac(settings, scheme)


def _check_hmac(settings: Settings, scheme: Scheme) -> None:
    try:
        places = {
            part
            for line in compile_template(scheme.template)
            for part in line
            if isinstance(part, str)
        }
    except ValueError as exc:
        raise SettingError(
            "signature_template", f"expected {exc}, got {scheme.template!r}"
        ) from None
    if "body" not in places:
        raise SettingError(
            "signature_template", "expected {body} in it: what is not signed can be forged"
        )
    if scheme.timestamp_header and scheme.timestamp_key:
        raise SettingError(
            "timestamp_key", "expected either timestamp_header or timestamp_key, got both"
        )
    sources = {"timestamp": scheme.timestamp_header or scheme.timestamp_key, "id": scheme.id_header}
    for place, source in sources.items():
        if (place in places) != bool(source):
            needs = f"{place}_header, because of {{{place}}}" if place in places else f"{{{place}}}"
            raise SettingError(
                "signature_template", f"expected {needs}: it must be sent, and signed"
            )
    if scheme.timestamp_key and not scheme.list_separator:
        raise SettingError(
            "timestamp_key", "needs signature_list_separator, which divides the signature's header"
        )
    if (settings.signature == "wattsense-rest") != bool(scheme.key_id):
        raise SettingError(
            "key_id", "expected the API key with signature = wattsense-rest, and only there"
        )


def _uses(kind: str, name: str) -> bool:
    if kind == "token":
        return name in TOKEN_SETTINGS
    return kind == "hmac" and name not in ("token_parameter", "token_member")


def secret_bytes(name: str, secret: Secret, encoding: str) -> bytes:
    """Give the bytes of a secret.

    :raises SettingError: if it is not written in this encoding.
    """
    text = secret.reveal()
    try:
        if encoding == "hex":
            decoded = unhexlify(text)
        elif encoding == "base64":
            decoded = b64decode(text.removeprefix("whsec_"), validate=True)
        else:
            decoded = text.encode()
    except ValueError:
        decoded = b""
    if not decoded:
        # from outside the except block: the cause would carry the secret into a
        # traceback
        raise SettingError(name, f"expected a secret written in {encoding} (secret_encoding)")
    return decoded


def check_rest(settings: Settings) -> None:
    """Check what reads the history.

    :raises SettingError: if credentials are incomplete or would be given away.
    """
    if (settings.rest_key is None) != (settings.rest_secret is None):
        missing = "rest_key" if settings.rest_key is None else "rest_secret"
        raise SettingError(missing, "missing; rest_key and rest_secret belong together")
    if settings.rest_key is None:
        if settings.rest_devices:
            raise SettingError("rest_key", "missing; rest_devices says what is read with it")
        return
    if re.fullmatch(r"[!-9;-~]+", settings.rest_key, re.ASCII) is None:
        raise SettingError("rest_key", "expected the API key: no blanks, no colon")
    parts = urlsplit(settings.url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise SettingError("url", f"expected a URL that begins with https://, got {settings.url!r}")
    if parts.query or parts.fragment:
        raise SettingError("url", f"expected a base URL without '?' and '#', got {settings.url!r}")
