"""What of the settings of a signature belongs together.

A configuration that would accept more than was meant is refused at start: a secret that
nothing uses, a scheme without a header, a timestamp that the signature does not cover.
Each is a mistake of one setting, told with what was expected.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import unhexlify
from collections.abc import Collection, Mapping

from bridge.api import Secret, SettingError

from .presets import OVERRIDES
from .signature import Scheme, compile_template

SIGNATURE_SETTINGS = (*OVERRIDES, "secret", "previous_secret", "secret_encoding")
"""All that only a signature or a token can use."""

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


def check_header_names(headers: Mapping[str, str | None]) -> None:
    """Check that settings name headers. :raises SettingError: if one does not."""
    for name, header in headers.items():
        if header is not None and re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", header) is None:
            raise SettingError(
                name, f"expected the name of a header such as X-Signature, got {header!r}"
            )


def check_scheme(preset: str, scheme: Scheme, given: Collection[str]) -> None:
    """Check how requests are signed.

    :param given: which of ``SIGNATURE_SETTINGS`` are set.
    :raises SettingError: if it is incomplete, or more than the scheme uses.
    """
    for name in given:
        if not _uses(scheme.kind, name):
            raise SettingError(
                name, f"signature = {preset} does not use it; remove it, or choose another"
            )
    if scheme.kind == "none":
        return
    if "secret" not in given:
        raise SettingError("secret", f"missing; signature = {preset} needs it")
    places = [scheme.header, scheme.parameter, scheme.member]
    if len(places) - places.count("") != 1:
        expected = "the name of one header such as X-Signature-SHA256"
        if scheme.kind == "token":
            expected += ", or token_parameter or token_member instead"
        raise SettingError(
            "signature_header", f"expected {expected}; signature = {preset} has none of its own"
        )
    if scheme.kind == "hmac":
        _check_hmac(preset, scheme)


def _check_hmac(preset: str, scheme: Scheme) -> None:
    try:
        template = compile_template(scheme.template)
    except ValueError as exc:
        raise SettingError(
            "signature_template", f"expected {exc}, got {scheme.template!r}"
        ) from None
    places = {part for line in template for part in line if isinstance(part, str)}
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
    if (preset == "wattsense-rest") != bool(scheme.key_id):
        raise SettingError(
            "key_id", "expected the API key with signature = wattsense-rest, and only there"
        )


def _uses(kind: str, name: str) -> bool:
    if kind == "token":
        return name in TOKEN_SETTINGS
    return kind == "hmac" and name not in ("token_parameter", "token_member")


def secret_bytes(name: str, secret: Secret, encoding: str) -> bytes:
    """Return the bytes of a secret.

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
        # Outside of the except block: its cause would carry the secret to a traceback.
        raise SettingError(name, f"expected a secret written in {encoding} (secret_encoding)")
    return decoded
