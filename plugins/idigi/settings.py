"""The settings of ``[source:NAME]`` with ``plugin = idigi``.

Names and defaults of the service are from the vendor documentation; limits and
time-outs are our own choices.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from attrs import frozen

from bridge.api import Duration, Secret, SettingError, Size, Url, at_least, between, setting

MAX_CREDENTIAL = 0xFFFF  # bytes: the connect request has two bytes for each length
HIGHEST_MONITOR_ID = 0xFFFFFFFF
TLS_PORT = 3201
PLAIN_PORT = 3200
FILE_LIMIT = 1 << 20  # bytes: the service publishes files up to some 120 KB with their content
CERTIFICATE_HINT = "check the host name, or name the CA of a private server in ca_file"


@frozen(kw_only=True)
class Settings:
    """A subscription to Digi Remote Manager, earlier called iDigi and Device Cloud."""

    url: Url = setting(
        Url("https://remotemanager.digi.com"),
        help="base URL of the REST API; the push session goes to its host",
    )
    username: str = setting(
        help="user of the account, for REST and push", example="ops@example.com"
    )
    password: Secret = setting(help="password of that user", example="${credential:digi.password}")
    insecure: bool = setting(
        False,
        help="allow a http:// url and push over plain TCP: password and readings travel in "
        "clear text",
    )
    push_host: str | None = setting(None, help="host of the push session; default: the host of url")
    push_port: int | None = setting(
        None, help="port of the push session; default 3201, with insecure 3200"
    )
    ca_file: Path | None = setting(
        None,
        help="CA certificates, PEM, trusted besides those of the system",
        example="/etc/bridge/tls/digi-ca.pem",
    )
    proxy: Url | None = setting(
        None,
        help="HTTP proxy for the REST calls; the push session takes none, and proxies of the "
        "environment are not used",
        example="http://proxy.example:3128",
    )
    topics: tuple[str, ...] = setting(
        ("DataPoint", "DeviceCore"),
        help="what to subscribe to: names, paths, filters such as [group=Staging]FileData/*.*",
    )
    format: Literal["json", "xml"] = setting("json", help="format of the pushed documents")
    compression: Literal["none", "zlib", "gzip"] = setting(
        "zlib", help="compression of the pushed documents; gzip is an old name for zlib"
    )
    batch_size: int = setting(
        100, help="most events in one pushed block", validator=between(1, 0xFFFF)
    )
    batch_duration: Duration = setting(
        Duration(1),
        help="longest time that the server collects for a block, in whole seconds",
        validator=between(0, 86_400),
    )
    template: str | None = setting(
        None,
        help="handlebars template by which the server writes the documents; they are kept as "
        "they come",
        example="${file:/etc/bridge/digi.handlebars}",
    )
    ack_mode: Literal["explicit", "off"] = setting(
        "explicit",
        help="explicit: the server keeps a block until it is stored here; off means losing events",
    )
    replay: bool = setting(
        True,
        help="the server records while we are away and sends it afterwards; no means losing events",
    )
    description: str | None = setting(
        None,
        help="tag of our monitor, unique among the bridges of the account; default bridge/NAME",
    )
    monitor_id: int | None = setting(
        None, help="use this monitor and never create one; default: find or create ours"
    )
    on_difference: Literal["stop", "recreate", "update"] = setting(
        "stop",
        help="what to do when our monitor is not as configured: wait for a person, replace it, "
        "or change it; the last two lose what it recorded, and wait until nobody is attached "
        "to it",
    )
    delete_on_exit: bool = setting(
        False,
        help="delete our monitor when the bridge is stopped, and with it what would be "
        "recorded meanwhile",
    )
    delete_idle: bool = setting(
        False,
        help="when the account has no room for another monitor, delete those with our "
        "description that nobody uses",
    )
    api_key_id: str | None = setting(
        None,
        help="experimental: key for REST instead of username and password, which push needs "
        "nevertheless",
    )
    api_key_secret: Secret | None = setting(
        None, help="experimental: secret of that key", example="${credential:digi.api-key}"
    )
    streams: tuple[str, ...] = setting(
        (), help="ids of data streams whose data points are read back after an outage"
    )
    stream_history_path: str = setting(
        "/ws/v1/streams/history/{stream}",
        help="path of the REST call that gives the data points of a stream, with {stream} for "
        "its id",
    )
    timeout: Duration = setting(
        Duration(30),
        help="longest wait for a REST answer, and for an ack to be taken",
        validator=at_least(0.1),
    )
    connect_timeout: Duration = setting(
        Duration(20),
        help="longest TCP connect and TLS handshake of the push session",
        validator=at_least(0.1),
    )
    answer_timeout: Duration = setting(
        Duration(60),
        help="longest wait for the answer to the login of the push session",
        validator=at_least(0.1),
    )
    silence: Duration = setting(
        Duration(900),
        help="after so long without a frame, ask REST whether we are attached",
        validator=at_least(1),
    )
    stop_timeout: Duration = setting(
        Duration(5),
        help="longest wait for the block in hand when the bridge is stopped",
        validator=at_least(0),
    )
    frame_limit: Size = setting(
        Size(64 << 20),
        help="largest frame; more than batch_size x 160KiB if FileData is subscribed",
        validator=at_least(1024),
    )
    inflate_limit: Size = setting(
        Size(256 << 20), help="largest document after decompression", validator=at_least(1024)
    )
    file_limit: Size = setting(
        Size(FILE_LIMIT),
        help="largest content of a pushed file that its event keeps; a larger one is left "
        "out, its checksum stays",
    )
    ignore_service_alerts: bool = setting(
        False,
        help="alerts of the service about its own clients, such as a monitor's, give no reading",
    )
    undecodable: Literal["keep", "stop"] = setting(
        "keep",
        help="a block that cannot be read: keep it whole as an event; stop: never "
        "acknowledge it and wait for a person",
    )
    answer_limit: Size = setting(
        Size(16 << 20), help="largest REST answer", validator=at_least(1024)
    )

    def __attrs_post_init__(self) -> None:
        if self.url.startswith("http://") and not self.insecure:
            raise SettingError(
                "url",
                "expected https://, or insecure = yes, because http:// sends the password in clear",
            )
        if ":" in self.username or not self.username:
            raise SettingError(
                "username",
                "expected a name that is not empty and has no colon, as HTTP Basic demands",
            )
        for name, text in (("username", self.username), ("password", self.password.reveal())):
            if len(text.encode()) > MAX_CREDENTIAL:
                raise SettingError(name, f"expected at most {MAX_CREDENTIAL} bytes as UTF-8")
        if not self.topics or not all(topic.strip() for topic in self.topics):
            raise SettingError(
                "topics", "expected at least one topic, such as DataPoint, and no empty one"
            )
        if any(
            topic.count("[") != topic.count("]") for topic in split_topics(",".join(self.topics))
        ):
            raise SettingError("topics", "expected a ']' for each '[', as in [group=a,b]devices")
        if self.batch_duration % 1:
            raise SettingError(
                "batch_duration", f"expected whole seconds, got {self.batch_duration}"
            )
        self._check_monitor()
        self._check_api_key()
        self._check_streams()
        _check_range("push_port", self.push_port, 1, 65_535)
        _check_range("monitor_id", self.monitor_id, 1, HIGHEST_MONITOR_ID)

    def _check_monitor(self) -> None:
        if self.template is not None and not self.template.strip():
            raise SettingError("template", "expected a handlebars template that is not empty")
        if self.description is not None and not self.description.strip():
            raise SettingError(
                "description", "expected a text that is not empty, such as bridge/building-1"
            )
        if self.monitor_id is not None and self.on_difference == "recreate":
            raise SettingError(
                "on_difference", "expected stop or update, because monitor_id is never replaced"
            )

    def _check_api_key(self) -> None:
        if (self.api_key_id is None) != (self.api_key_secret is None):
            missing = "api_key_id" if self.api_key_id is None else "api_key_secret"
            raise SettingError(missing, "missing; api_key_id and api_key_secret belong together")
        for name, text in (
            ("api_key_id", self.api_key_id),
            ("api_key_secret", self.api_key_secret.reveal() if self.api_key_secret else None),
        ):
            if text is not None and not (
                text and text.isascii() and text.isprintable() and " " not in text
            ):
                raise SettingError(
                    name, "expected letters, digits and signs of ASCII, as a header can carry them"
                )

    def _check_streams(self) -> None:
        path = self.stream_history_path
        if not (path.startswith("/") and path.count("{stream}") == 1):
            raise SettingError(
                "stream_history_path",
                f"expected a path from / on with {{stream}} in it, got {path!r}",
            )

    @property
    def dangers(self) -> tuple[str, ...]:
        """What these settings give up, each as a sentence without its stop."""
        said = []
        if self.insecure:
            said.append("INSECURE: password and readings travel in clear text")
        if self.ack_mode == "off":
            said.append(
                "NOT ACKNOWLEDGED (ack_mode = off): what is under way when a connection "
                "breaks is lost"
            )
        if not self.replay:
            said.append("NOT RECORDED (replay = no): what happens while the bridge is away is lost")
        return tuple(said)

    @property
    def host(self) -> str:
        """Host of the push session."""
        return self.push_host or urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Port of the push session."""
        return self.push_port or (PLAIN_PORT if self.insecure else TLS_PORT)


def _check_range(name: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        raise SettingError(name, f"expected a number from {least} to {most}, got {value}")


def split_topics(text: str) -> list[str]:
    """Split a list of topics as the server writes it.

    A comma inside ``[...]`` does not separate.
    """
    return [topic.strip() for topic in re.split(r",(?![^\[\]]*\])", text) if topic.strip()]
