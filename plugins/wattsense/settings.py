"""The settings of ``[source:NAME]`` with ``plugin = wattsense``.

The rooms of the plugin do not know them: each is given a small policy that is made here
once, and that is refused if what belongs together is not there together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from attrs import frozen

from bridge.api import (
    Duration,
    Secret,
    SettingError,
    Size,
    Table,
    Url,
    at_least,
    between,
    setting,
    table,
)

from .auth.checks import SIGNATURE_SETTINGS, check_header_names, check_scheme, secret_bytes
from .auth.credentials import CallerPolicy, caller_policy
from .auth.presets import OVERRIDES, overridden
from .auth.signature import Scheme
from .messages.mapping import MessageKind, MessageMapping, compile_mapping
from .messages.values import ValuePolicy
from .rest.access import RestAccess

HEADER_SETTINGS = ("signature_header", "timestamp_header", "id_header", "api_key_header")

OWN = "in place of the preset's:"
"""Begins the help of what makes a convention that has no preset."""


@frozen
class Settings:
    """``[source:NAME]``: one receiver of values, events and alarms, and the history
    behind it.
    """

    signature: Literal[
        "github",
        "bare-hex",
        "shopify",
        "stripe",
        "standard-webhooks",
        "token",
        "wattsense-rest",
        "none",
    ] = setting(
        help="how Wattsense proves that it sends, a preset: the secret signs each request, "
        "or is sent itself (token), or is not used (none)",
        example="bare-hex",
    )
    path: str = setting(
        "/wattsense",
        help="values, events and alarms are received on PATH/values, /events and /alarms",
    )
    secret: Secret | None = setting(
        None, help="the datastream's secret key", example="${credential:wattsense.secret}"
    )
    previous_secret: tuple[Secret, ...] = setting(
        (), help="secrets that are accepted as well, while the secret is being changed"
    )
    signature_header: str | None = setting(
        None,
        help="header of the signature or token; bare-hex and token need it",
        example="X-Signature-SHA256",
    )
    key_id: str | None = setting(
        None, help="signature = wattsense-rest: the API key, sent before the signature and a colon"
    )
    token_parameter: str | None = setting(
        None, help="signature = token: query parameter that carries the token instead of a header"
    )
    token_member: str | None = setting(
        None,
        help="signature = token: JSON member that carries the token instead of a header; it "
        "is not stored",
    )
    tolerance: Duration = setting(
        Duration(300),
        help="most that a signed timestamp may differ from our clock",
        validator=at_least(1),
    )
    secret_encoding: Literal["utf-8", "hex", "base64"] | None = setting(
        None, help="how the secrets are written; default base64 for standard-webhooks, else utf-8"
    )
    public_path_prefix: str | None = setting(
        None,
        help="what a reverse proxy takes away from the path, where the path is signed "
        "(wattsense-rest)",
    )
    signature_hash: Literal["sha1", "sha256", "sha384", "sha512"] | None = setting(
        None, help=f"{OWN} hash of the HMAC"
    )
    signature_encoding: Literal["hex", "base64", "base64url"] | None = setting(
        None, help=f"{OWN} encoding of the signature"
    )
    signature_prefix: str | None = setting(
        None, help=f"{OWN} text before the signature", example="sha256="
    )
    signature_list_separator: Literal["comma", "semicolon", "blank"] | None = setting(
        None,
        help=f"{OWN} what stands between several entries in one header; those with "
        "signature_prefix are signatures",
    )
    signature_template: str | None = setting(
        None,
        help=f"{OWN} signed text, of "
        + r"{body} {timestamp} {id} {method} {path} {query}, \n for a new line",
        example="{timestamp}.{body}",
    )
    signature_omit_empty_lines: bool | None = setting(
        None, help=f"{OWN} leave out lines of the signed text that are empty"
    )
    signed_body: Literal["received", "decoded"] | None = setting(
        None, help=f"{OWN} {{body}} before or after its Content-Encoding; default received"
    )
    timestamp_header: str | None = setting(
        None, help=f"{OWN} header of {{timestamp}}, in s or ms since 1970"
    )
    timestamp_key: str | None = setting(
        None, help=f"{OWN} entry of the signature's header that is {{timestamp}}", example="t"
    )
    id_header: str | None = setting(None, help=f"{OWN} header of {{id}}")
    username: str | None = setting(None, help="HTTP Basic: user name of the caller")
    password: Secret | None = setting(None, help="HTTP Basic: password of the caller")
    callers: Mapping[str, Secret] = table(
        help="HTTP Basic: more user names and their passwords, all of them accepted",
        example="wattsense-new = ${credential:wattsense.new-password}",
    )
    bearer_token: Secret | None = setting(
        None, help="token of the caller in 'Authorization: Bearer'"
    )
    previous_bearer_token: tuple[Secret, ...] = setting(
        (), help="bearer tokens that are accepted as well, while the token is being changed"
    )
    api_key_header: str | None = setting(
        None, help="header of an API key of the caller", example="X-Api-Key"
    )
    api_key: Secret | None = setting(None, help="the API key of the caller")
    discovery: int = setting(
        0,
        help="for set-up only: log the names of the headers and the length of the body of so "
        "many first requests, refused ones too; never a value",
        validator=between(0, 1000),
    )
    prefer: Literal["scaled", "raw"] = setting(
        "scaled", help="value to read: scaledPayload if it is a number, or payload"
    )
    booleans: Literal["number", "drop"] = setting(
        "number", help="true and false: 1 and 0, or dropped and counted"
    )
    numeric_strings: bool = setting(False, help="read numbers written as text in payload")
    strings: Literal["drop", "text"] = setting(
        "drop", help="other texts: dropped and counted, or kept as text"
    )
    out_of_service: Literal["skip", "send"] = setting("skip", help="values flagged isOutOfService")
    timestamp_unit: Literal["auto", "ms", "s"] = setting(
        "auto", help="unit of a value's timestamp; auto: by its size"
    )
    future_limit: Duration = setting(
        Duration(600),
        help="values stamped later than now by more than this are kept only",
        validator=at_least(0),
    )
    most_items: int = setting(
        5000, help="most values in one request, else 413", validator=between(1, 100_000)
    )
    reply: Literal["200", "204"] = setting(
        "200", help="status when everything is stored; 200 has a body with counts"
    )
    unreadable: Literal["refuse", "keep"] = setting(
        "refuse",
        help="bodies that are not JSON: answered 400, or kept as they are and answered with "
        "success",
    )
    probe: bool = setting(False, help="answer GET with 200, for callers that test the address")

    alarm_signals: Table = table(
        help="alarms: signal = JSON path to its value; none: alarms are kept and nothing of "
        "them is forwarded",
        example="alarm-status = $.status",
    )
    alarm_numbers: Table = table(
        help="alarms: text = number, or SIGNAL.text = number for one signal; other texts "
        "give no reading",
        example="open = 1",
    )
    alarm_device: str | None = setting(
        None,
        help="alarms: JSON path to the device id; none: the device is 'unknown'",
        example="$.deviceId",
    )
    alarm_time: str | None = setting(
        None,
        help="alarms: JSON path to the time, as timestamp_unit or RFC 3339; none: the time "
        "of receipt",
    )
    event_signals: Table = table(help="events: as alarm_signals", example="online = $.status")
    event_numbers: Table = table(help="events: as alarm_numbers", example="ONLINE = 1")
    event_device: str | None = setting(None, help="events: as alarm_device", example="$.deviceId")
    event_time: str | None = setting(None, help="events: as alarm_time")
    rest_key: str | None = setting(
        None, help="key of the REST API; with it what was missed is read back"
    )
    rest_secret: Secret | None = setting(
        None,
        help="secret of that key; a READ_ONLY key is enough",
        example="${credential:wattsense.rest-secret}",
    )
    rest_auth: Literal["hmac", "basic"] = setting(
        "hmac",
        help="how REST requests are authenticated: each one signed, or key and secret sent "
        "as HTTP Basic",
    )
    url: Url = setting(Url("https://api.wattsense.com"), help="base URL of the REST API")
    ca_file: Path | None = setting(
        None, help="REST: CA certificates, PEM, trusted besides those of the system"
    )
    proxy: Url | None = setting(
        None,
        help="REST: HTTP proxy for all requests; proxies of the environment are not used",
        example="http://proxy.example.com:3128",
    )
    timeout: Duration = setting(
        Duration(20), help="REST: longest wait for an answer", validator=at_least(0.1)
    )
    answer_limit: Size = setting(
        Size(8 << 20), help="REST: largest answer", validator=at_least(1024)
    )
    rest_devices: tuple[str, ...] = setting(
        (), help="REST: ids of the devices to read back; default all of the account"
    )
    rest_parts: Literal["devices", "points"] = setting(
        "devices", help="REST: read the history of a device at once, or each property by itself"
    )
    page_size: int = setting(
        500, help="REST: values asked for in one request", validator=between(1, 2500)
    )

    def __attrs_post_init__(self) -> None:
        if re.fullmatch(r"/[!$-;=@-~]*", self.path, re.ASCII) is None:
            raise SettingError("path", f"expected a path that begins with '/', got {self.path!r}")
        check_header_names({name: getattr(self, name) for name in HEADER_SETTINGS})
        self.caller_policy()
        given = [
            name for name in SIGNATURE_SETTINGS if getattr(self, name) not in (None, ())
        ]  # the defaults; '' and no are given
        check_scheme(self.signature, self.scheme(), given)
        self.secrets()
        self.mapping("event")
        self.mapping("alarm")
        self.rest_access()

    def scheme(self) -> Scheme:
        """Return the preset with what these settings replace in it."""
        given = {
            field: getattr(self, name)
            for name, field in OVERRIDES.items()
            if getattr(self, name) is not None
        }
        return overridden(self.signature, given, tolerance=float(self.tolerance))

    def secrets(self) -> tuple[bytes, ...]:
        """Return the bytes of the secrets, the current one first."""
        encoding = self.secret_encoding or (
            "base64" if self.signature == "standard-webhooks" else "utf-8"
        )
        current = () if self.secret is None else (("secret", self.secret),)
        named = (*current, *(("previous_secret", secret) for secret in self.previous_secret))
        return tuple(secret_bytes(name, secret, encoding) for name, secret in named)

    def caller_policy(self) -> CallerPolicy:
        """Return which credentials a caller must present."""
        return caller_policy(
            username=self.username,
            password=self.password,
            callers=self.callers,
            bearer_token=self.bearer_token,
            previous_bearer_token=self.previous_bearer_token,
            api_key_header=self.api_key_header,
            api_key=self.api_key,
        )

    def value_policy(self) -> ValuePolicy:
        """Return what is forwarded as a value."""
        return ValuePolicy(
            prefer=self.prefer,
            booleans=self.booleans,
            numeric_strings=self.numeric_strings,
            strings=self.strings,
            out_of_service=self.out_of_service,
            timestamp_unit=self.timestamp_unit,
            future_limit=self.future_limit,
        )

    def mapping(self, kind: MessageKind) -> MessageMapping:
        """Return how events or alarms are read."""
        if kind == "event":
            return compile_mapping(
                kind, self.event_signals, self.event_numbers, self.event_device, self.event_time
            )
        return compile_mapping(
            kind, self.alarm_signals, self.alarm_numbers, self.alarm_device, self.alarm_time
        )

    def rest_access(self) -> RestAccess | None:
        """Return how the history is reached; None without a key."""
        if self.rest_key is None or self.rest_secret is None:
            if self.rest_key is not None or self.rest_secret is not None:
                missing = "rest_key" if self.rest_key is None else "rest_secret"
                raise SettingError(missing, "missing; rest_key and rest_secret belong together")
            if self.rest_devices:
                raise SettingError("rest_key", "missing; rest_devices says what is read with it")
            return None
        return RestAccess(
            url=self.url,
            key=self.rest_key,
            secret=self.rest_secret,
            auth=self.rest_auth,
            ca_file=self.ca_file,
            proxy=self.proxy,
            timeout=self.timeout,
            answer_limit=int(self.answer_limit),  # errors name it in bytes
        )
