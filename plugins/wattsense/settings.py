"""The settings of ``[source:NAME]`` with ``plugin = wattsense``, and what of them belongs together.

A configuration that would accept more than was meant is refused at start: a secret that nothing uses, a scheme without
a header, a timestamp that the signature does not cover.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import unhexlify
from collections.abc import Mapping
from typing import Literal

from attrs import evolve, frozen

from bridge.api import Duration, Secret, SettingError, at_least, between, setting
from bridge_plugins.wattsense.presets import PRESETS
from bridge_plugins.wattsense.signature import Scheme, compile_template

SEPARATORS: Mapping[str, str] = {"comma": ",", "semicolon": ";", "blank": " "}

OVERRIDES: Mapping[str, str] = {
    "signature_hash": "hash",
    "signature_encoding": "encoding",
    "signature_prefix": "prefix",
    "signature_template": "template",
    "signature_omit_empty_lines": "omit_empty_lines",
    "signature_list_separator": "list_separator",
    "signature_list_key": "list_key",
    "signature_timestamp_unit": "timestamp_unit",
    "timestamp_header": "timestamp_header",
    "timestamp_key": "timestamp_key",
    "id_header": "id_header",
    "key_id": "key_id",
    "public_path_prefix": "public_path_prefix",
    "signature_header": "header",
    "token_parameter": "parameter",
    "signed_body": "body",
}
"""Settings that replace a field of the preset, and that field."""

TOKEN_SETTINGS = frozenset({"secret", "previous_secret", "signature_header", "signature_prefix", "token_parameter"})
"""What ``signature = token`` can use."""

HEADER_SETTINGS = ("signature_header", "timestamp_header", "id_header", "api_key_header")


@frozen
class Settings:
    """``[source:NAME]``: one receiver of values, events and alarms."""

    signature: Literal[
        "github", "bare-hex", "shopify", "stripe", "standard-webhooks", "token", "wattsense-rest", "none"
    ] = setting(help="how requests are signed, a preset; none accepts unsigned requests", example="bare-hex")
    path: str = setting("/wattsense", help="values, events and alarms are received on PATH/values, /events and /alarms")
    secret: Secret | None = setting(None, help="the datastream's secret key", example="${credential:wattsense.secret}")
    previous_secret: Secret | None = setting(None, help="accepted as well while the secret is being changed")
    signature_header: str | None = setting(
        None, help="header of the signature or token; bare-hex and token need it", example="X-Signature-SHA256"
    )
    token_parameter: str | None = setting(
        None, help="signature = token: query parameter that carries the token instead of a header"
    )
    signature_hash: Literal["sha1", "sha256", "sha384", "sha512"] | None = setting(
        None, help="hash of the HMAC; default from the preset, as for all settings up to key_id"
    )
    signature_encoding: Literal["hex", "base64", "base64url"] | None = setting(None, help="encoding of the signature")
    signature_prefix: str | None = setting(None, help="text before the signature", example="sha256=")
    signature_template: str | None = setting(
        None,
        help=r"the signed text: {body} {timestamp} {id} {method} {path} {query}, \n for a new line",
        example="{timestamp}.{body}",
    )
    signature_omit_empty_lines: bool | None = setting(None, help="leave out lines of the signed text that are empty")
    signed_body: Literal["received", "decoded"] | None = setting(
        None, help="whether {body} is taken before or after Content-Encoding; default received"
    )
    signature_list_separator: Literal["comma", "semicolon", "blank"] | None = setting(
        None, help="what stands between several signatures in one header"
    )
    signature_list_key: str | None = setting(
        None, help="how an entry of that list begins if it is a signature", example="v1="
    )
    timestamp_header: str | None = setting(None, help="header of the signed timestamp")
    timestamp_key: str | None = setting(
        None, help="entry of the signature's header that is the signed timestamp", example="t"
    )
    signature_timestamp_unit: Literal["s", "ms"] | None = setting(None, help="unit of the signed timestamp")
    id_header: str | None = setting(None, help="header of the signed message id")
    key_id: str | None = setting(None, help="wattsense-rest: the API key, sent before the signature and a colon")
    tolerance: Duration = setting(
        Duration(300), help="most that a signed timestamp may differ from our clock", validator=at_least(1)
    )
    secret_encoding: Literal["utf-8", "hex", "base64"] | None = setting(
        None, help="how the secrets are written; default base64 for standard-webhooks, else utf-8"
    )
    public_path_prefix: str | None = setting(
        None, help="what a reverse proxy takes away from the path, so that {path} is what was signed"
    )
    username: str | None = setting(None, help="HTTP Basic: user name of the caller")
    basic_password: Secret | None = setting(None, help="HTTP Basic: password of the caller")
    bearer_token: Secret | None = setting(None, help="token of the caller in 'Authorization: Bearer'")
    api_key_header: str | None = setting(None, help="header of an API key of the caller", example="X-Api-Key")
    api_key: Secret | None = setting(None, help="the API key of the caller")
    prefer: Literal["scaled", "raw"] = setting(
        "scaled", help="value to read: scaledPayload if it is a number, or payload"
    )
    booleans: Literal["number", "drop"] = setting("number", help="true and false: 1 and 0, or dropped and counted")
    numeric_strings: bool = setting(False, help="read numbers written as text in payload")
    strings: Literal["drop", "text"] = setting("drop", help="other texts: dropped and counted, or kept as text")
    out_of_service: Literal["skip", "send"] = setting("skip", help="values flagged isOutOfService")
    timestamp_unit: Literal["auto", "ms", "s"] = setting("auto", help="unit of a value's timestamp; auto: by its size")
    future_limit: Duration = setting(
        Duration(600), help="values stamped later than now by more than this are dropped", validator=at_least(0)
    )
    most_items: int = setting(5000, help="most values in one request, else 413", validator=between(1, 100_000))
    reply: Literal["200", "204"] = setting("200", help="status when everything is stored; 200 has a body with counts")
    unreadable: Literal["refuse", "keep"] = setting(
        "refuse", help="bodies that are not JSON: answered 400, or kept as they are and answered with success"
    )
    probe: bool = setting(False, help="answer GET with 200, for callers that test the address")

    def __attrs_post_init__(self) -> None:
        if re.fullmatch(r"/[!$-;=@-~]*", self.path, re.ASCII) is None:
            raise SettingError("path", f"expected a path that begins with '/', got {self.path!r}")
        self._check_header_names()
        self._check_credentials()
        self._check_scheme()
        self.secrets()

    def scheme(self) -> Scheme:
        """Give the preset with what these settings replace in it."""
        given = {field: getattr(self, name) for name, field in OVERRIDES.items() if getattr(self, name) is not None}
        for name in ("header", "timestamp_header", "id_header"):
            if name in given:
                given[name] = given[name].lower()
        if "list_separator" in given:
            given["list_separator"] = SEPARATORS[given["list_separator"]]
        # The two places of a timestamp exclude each other: naming one takes the preset's other away.
        if "timestamp_header" in given:
            given.setdefault("timestamp_key", "")
        elif "timestamp_key" in given:
            given["timestamp_header"] = ""
        return evolve(PRESETS[self.signature], tolerance=float(self.tolerance), **given)

    def secrets(self) -> tuple[bytes, ...]:
        """Give the bytes of the secrets, the current one first."""
        encoding = self.secret_encoding or ("base64" if self.signature == "standard-webhooks" else "utf-8")
        named = (("secret", self.secret), ("previous_secret", self.previous_secret))
        return tuple(_secret_bytes(name, secret, encoding) for name, secret in named if secret is not None)

    def _check_header_names(self) -> None:
        for name in HEADER_SETTINGS:
            header = getattr(self, name)
            if header is not None and re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", header) is None:
                raise SettingError(name, f"expected the name of a header such as X-Signature, got {header!r}")

    def _check_credentials(self) -> None:
        for one, other in (("username", "basic_password"), ("api_key_header", "api_key")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                missing = one if getattr(self, one) is None else other
                raise SettingError(missing, f"missing; {one} and {other} belong together")
        if self.username is not None and ":" in self.username:
            raise SettingError("username", "expected a name without a colon, which HTTP Basic cannot carry")
        if self.username is not None and self.bearer_token is not None:
            raise SettingError("bearer_token", "expected either user name and password or a bearer token, got both")

    def _check_scheme(self) -> None:
        scheme = self.scheme()
        for name in (*OVERRIDES, "secret", "previous_secret", "secret_encoding"):
            if getattr(self, name) is not None and not _uses(scheme.kind, name):
                raise SettingError(name, f"signature = {self.signature} does not use it; remove it, or choose another")
        if scheme.kind == "none":
            return
        if self.secret is None:
            raise SettingError("secret", f"missing; signature = {self.signature} needs it")
        if bool(scheme.header) == bool(scheme.parameter):
            expected = "the name of one header such as X-Signature-SHA256"
            if scheme.kind == "token":
                expected += ", or token_parameter instead"
            raise SettingError(
                "signature_header", f"expected {expected}; signature = {self.signature} has none of its own"
            )
        if scheme.kind == "hmac":
            self._check_hmac(scheme)

    def _check_hmac(self, scheme: Scheme) -> None:
        try:
            places = {part for line in compile_template(scheme.template) for part in line if isinstance(part, str)}
        except ValueError as exc:
            raise SettingError("signature_template", f"expected {exc}, got {scheme.template!r}") from None
        if "body" not in places:
            raise SettingError("signature_template", "expected {body} in it: what is not signed can be forged")
        if scheme.timestamp_header and scheme.timestamp_key:
            raise SettingError("timestamp_key", "expected either timestamp_header or timestamp_key, got both")
        sources = {"timestamp": scheme.timestamp_header or scheme.timestamp_key, "id": scheme.id_header}
        for place, source in sources.items():
            if (place in places) != bool(source):
                needs = f"{place}_header, because of {{{place}}}" if place in places else f"{{{place}}}"
                raise SettingError("signature_template", f"expected {needs}: it must be sent, and signed")
        if scheme.list_key and not scheme.list_separator:
            raise SettingError(
                "signature_list_key", "needs signature_list_separator; for one signature: signature_prefix"
            )
        if scheme.timestamp_key and not scheme.list_separator:
            raise SettingError("timestamp_key", "needs signature_list_separator, which divides the signature's header")
        if (self.signature == "wattsense-rest") != bool(scheme.key_id):
            raise SettingError("key_id", "expected the API key with signature = wattsense-rest, and only there")


def _uses(kind: str, name: str) -> bool:
    if kind == "token":
        return name in TOKEN_SETTINGS
    return kind == "hmac" and name != "token_parameter"


def _secret_bytes(name: str, secret: Secret, encoding: str) -> bytes:
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
        # from outside the except block: the cause would carry the secret into a traceback
        raise SettingError(name, f"expected a secret written in {encoding} (secret_encoding)")
    return decoded
