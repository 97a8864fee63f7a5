"""The settings of a Databoom sink, and what makes no sense among them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from attrs import frozen

from bridge.api import Duration, Secret, SettingError, Size, Table, Url, at_least, between, setting, table
from bridge_plugins.databoom.naming import DEVICE_FIELDS, SIGNAL_FIELDS, Template, is_token

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@frozen
class DataboomSettings:
    """``[sink:NAME]`` with ``plugin = databoom``.

    The vendor publishes no limits: the defaults are those of an industrial client (20 signals) or assumed (the others).
    """

    token: Secret = setting(help="OAuth token with the scope Publish", example="${credential:databoom.token}")
    url: Url = setting(Url("https://api.databoom.com/v1/signals/push"), help="whole URL of the push")
    ca_file: Path | None = setting(
        None, help="CA certificates to trust instead of the system's, PEM", example="/etc/bridge/tls/ca.pem"
    )
    plaintext: bool = setting(False, help="allow http:// to another host; everybody on the way can read the token")
    connect_timeout: Duration = setting(
        Duration(10), help="longest wait for a connection; timeout bounds the whole attempt", validator=at_least(0.1)
    )
    device: str = setting("{device}", help="template of the device token: {device} {source} {kind} {label.KEY}")
    signal: str = setting("{signal}", help="template of the signal token: {signal} and the fields of device")
    devices: Table = table(
        help="vendor's device id = Databoom device token, instead of the template; "
        "several ids may share a token: that is how a new sensor continues the signals of the one it replaces",
        example="emuc17m6d7lq0bgk44smcqg = 0f6hbfnqz6",
    )
    signals: Table = table(
        help="vendor's signal = Databoom signal token, instead of the template",
        example="metrics/sys/level = level",
    )
    meta: bool = setting(True, help="describe each signal at its first push, so that Databoom records it at once")
    texts: Literal["drop", "send"] = setting("drop", help="what becomes of values that are neither number nor boolean")
    future_limit: Duration = setting(
        Duration(600),
        help="a reading stamped later than this after it was received becomes a dead letter",
        validator=at_least(0),
    )
    most_signals: int = setting(20, help="most signals in a push of one moment", validator=at_least(1))
    most_points: int = setting(500, help="most values in a push of several moments", validator=at_least(1))
    most_points_per_signal: int = setting(
        100, help="most values of one signal in a push of several moments", validator=at_least(1)
    )
    most_bytes: Size = setting(Size(90 << 10), help="largest push", validator=between(1 << 10, 1 << 30))
    strict_body: bool = setting(False, help="try again when a push is accepted with an answer that is not documented")
    unknown_device_attempts: int = setting(
        10,
        help="a device that Databoom answers with 404 more often than this, while others go through, gets dead letters",
        validator=at_least(1),
    )
    unknown_device_time: Duration = setting(
        Duration(3600), help="but not before it has been so for this long", validator=at_least(0)
    )

    def __attrs_post_init__(self) -> None:
        url = urlsplit(self.url)
        if url.scheme == "http" and url.hostname not in LOOPBACK and not self.plaintext:
            raise SettingError("url", "expected https://, because the token is sent along (plaintext = yes allows it)")
        if not all("!" <= char <= "~" for char in self.token.reveal()):
            raise SettingError("token", "expected a token of ASCII characters without spaces and line ends")
        for name, fields in (("device", DEVICE_FIELDS), ("signal", SIGNAL_FIELDS)):
            try:
                Template.parse(getattr(self, name), fields)
            except ValueError as exc:
                raise SettingError(name, f"expected {exc}, got {getattr(self, name)!r}") from None
        for name in ("devices", "signals"):
            for vendors_name, token in getattr(self, name).items():
                if not is_token(token):
                    raise SettingError(
                        name,
                        f"expected a token of 1 to 64 letters, digits, _ and - for {vendors_name!r}, got {token!r}",
                    )
