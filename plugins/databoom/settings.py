"""The settings of a Databoom sink, and what makes no sense among them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from attrs import frozen

from bridge.api import (
    LOOPBACK,
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

from .devices_file import read_devices_file
from .tokens import DEVICE_FIELDS, EXPECTED, SIGNAL_FIELDS, Template, is_token


@frozen
class DataboomSettings:
    """``[sink:NAME]`` with ``plugin = databoom``.

    The vendor publishes no limits: the defaults are those of an industrial client (20
    signals) or assumed (the others).
    """

    token: Secret | None = setting(
        None,
        help="OAuth token with the scope Publish; either this or apikey",
        example="${credential:databoom.token}",
    )
    apikey: Secret | None = setting(None, help="API key, the older alternative to token")
    url: Url = setting(
        Url("https://api.databoom.com/v1/signals/push"), help="whole URL of the push"
    )
    ca_file: Path | None = setting(
        None,
        help="CA certificates to trust besides the system's, PEM",
        example="/etc/bridge/tls/ca.pem",
    )
    proxy: Url | None = setting(
        None,
        help="HTTP proxy for all requests; proxies of the environment are not used",
        example="http://proxy.example.com:3128",
    )
    plaintext: bool = setting(
        False, help="allow http:// to another host; everybody on the way can read the token"
    )
    connect_timeout: Duration = setting(
        Duration(10),
        help="longest wait for a connection; timeout bounds the whole attempt",
        validator=at_least(0.1),
    )
    request_timeout: Duration = setting(
        Duration(20), help="longest wait for the answer to one push", validator=at_least(5)
    )
    device: str = setting(
        "{device}", help="template of the device token: {device} {source} {kind} {label.KEY}"
    )
    signal: str = setting(
        "{signal}", help="template of the signal token: {signal} and the fields of device"
    )
    devices: Table = table(
        help="vendor's device id = Databoom device token, instead of the template; "
        "several ids may share a token: that is how a new sensor continues the signals of "
        "the one it replaces",
        example="emuc17m6d7lq0bgk44smcqg = 0f6hbfnqz6",
    )
    signals: Table = table(
        help="vendor's signal = Databoom signal token, instead of the template",
        example="metrics/sys/level = level",
    )
    devices_file: Path | None = setting(
        None,
        help="CSV with the columns device and token, and if wanted name, signal and "
        "signal_token: more devices",
        example="/etc/bridge/devices.csv",
    )
    unmapped: Literal["send", "dead", "skip"] = setting(
        "send",
        help="devices in neither devices nor devices_file: send by the templates, make dead "
        "letters, or leave out",
    )
    form: Literal["auto", "array", "history", "template"] = setting(
        "auto",
        help="form of a push; auto: array for one moment, else history; "
        "with history Databoom records a new signal only after a person validated it",
    )
    template: str = setting(
        "", help="template token, for form = template: Databoom makes devices TEMPLATE-DEVICE"
    )
    dates: Literal["+0000", "Z"] = setting("+0000", help="how a date says that it is UTC")
    meta: bool = setting(
        True, help="describe each signal at its first push, so that Databoom records it at once"
    )
    tags: tuple[str, ...] = setting(("bridge",), help="tags of a signal that is described")
    types: Table = table(
        help="vendor's signal = type of the signal in Databoom, which must exist there",
        example="temperature = Temp",
    )
    read_token: Secret | None = setting(
        None,
        help="OAuth token with the scope Read, to check that each new signal is validated",
        example="${credential:databoom.read}",
    )
    signals_url: Url | None = setting(
        None, help="URL of the list of signals; by default url without push at its end"
    )
    texts: Literal["drop", "send"] = setting(
        "drop", help="what becomes of values that are neither number nor boolean"
    )
    future_limit: Duration = setting(
        Duration(600),
        help="a reading stamped later than this after it was received becomes a dead letter",
        validator=at_least(0),
    )
    most_signals: int = setting(
        20, help="most signals in a push of one moment", validator=at_least(1)
    )
    most_points: int = setting(
        500, help="most values in a push of several moments", validator=at_least(1)
    )
    most_points_per_signal: int = setting(
        100, help="most values of one signal in a push of several moments", validator=at_least(1)
    )
    most_bytes: Size = setting(
        Size(90 << 10), help="largest push", validator=between(1 << 10, 1 << 30)
    )
    min_interval: Duration = setting(
        Duration(0),
        help="least time from one delivery of a device to its next; what comes meanwhile "
        "shares a push",
        validator=between(0, 10),  # it is waited for within an attempt, which timeout (30 s) bounds
    )
    heartbeat: str = setting(
        "",
        help="signal token that gets a 1 where a device is silent; Databoom flags a device "
        "silent for an hour",
    )
    heartbeat_interval: Duration = setting(
        Duration(900), help="silence after which a device gets a heartbeat", validator=at_least(1)
    )
    heartbeat_for: Duration = setting(
        Duration(86_400),
        help="a device that brought no reading for this long gets none",
        validator=at_least(1),
    )
    strict_body: bool = setting(
        False, help="try again when a push is accepted with an answer that is not documented"
    )
    unknown_device_attempts: int = setting(
        10,
        help="a device that Databoom answers with 404 more often than this, while others go "
        "through, gets dead letters",
        validator=at_least(1),
    )
    unknown_device_time: Duration = setting(
        Duration(3600), help="but not before it has been so for this long", validator=at_least(0)
    )

    def __attrs_post_init__(self) -> None:
        self._check_credentials()
        for name in ("url", "signals_url"):
            url = urlsplit(getattr(self, name) or "")
            if url.scheme == "http" and url.hostname not in LOOPBACK and not self.plaintext:
                raise SettingError(
                    name,
                    "expected https://, because a token is sent along (plaintext = yes allows it)",
                )
        if self.read_token is not None and not self.list_url:
            raise SettingError(
                "signals_url",
                "expected the URL of the list of signals, because url ends without push",
            )
        self._check_names()

    @property
    def credential(self) -> tuple[Literal["token", "apikey"], Secret]:
        """The credential of a push, and before it the setting that holds it."""
        if self.token is not None:
            return "token", self.token
        assert self.apikey is not None  # one of them is there, see above
        return "apikey", self.apikey

    @property
    def list_url(self) -> str:
        """The URL of the list of signals; empty if it is not known."""
        if self.signals_url is not None:
            return self.signals_url
        base, _, last = self.url.rstrip("/").rpartition("/")
        return base if last == "push" else ""

    def _check_credentials(self) -> None:
        if (self.token is None) == (self.apikey is None):
            got = "none of them" if self.token is None else "both"
            raise SettingError("token", f"expected either token or apikey, got {got}")
        for name in ("token", "apikey", "read_token"):
            secret: Secret | None = getattr(self, name)
            if secret is not None and not all("!" <= char <= "~" for char in secret.reveal()):
                raise SettingError(
                    name, f"expected {name} in ASCII characters without spaces and line ends"
                )

    def _check_names(self) -> None:
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
                        f"{EXPECTED} for {vendors_name!r}, got {token!r}",
                    )
        for name in ("heartbeat", "template"):
            text = getattr(self, name)
            if text and not is_token(text):
                raise SettingError(name, f"{EXPECTED}, got {text!r}")
        if (self.form == "template") != bool(self.template):
            raise SettingError(
                "template", "expected a template token together with form = template, and only then"
            )
        if self.devices_file is not None:
            try:
                read_devices_file(self.devices_file, self.devices)
            except ValueError as exc:
                raise SettingError("devices_file", f"expected {exc}") from None
