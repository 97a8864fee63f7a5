"""The settings of a listener, ``[listener:NAME]``."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from bridge.api import (
    LOOPBACK,
    Duration,
    NetworkAddress,
    SettingError,
    Size,
    at_least,
    between,
    setting,
)


@frozen
class ListenerSettings:
    """``[listener:NAME]``: a server on which webhook sources mount their paths."""

    address: NetworkAddress = setting(
        help="where to listen, HOST:PORT or systemd:NAME for an activated socket",
        example="0.0.0.0:8443",
    )
    certificate: Path | None = setting(
        None, help="certificate chain, PEM", example="/etc/bridge/tls/fullchain.pem"
    )
    key: Path | None = setting(None, help="private key, PEM", example="/etc/bridge/tls/privkey.pem")
    plaintext: bool = setting(False, help="allow plain HTTP on an address that is not loopback")
    head_limit: Size = setting(
        Size(16 << 10), help="largest request line and headers", validator=at_least(256)
    )
    body_limit: Size = setting(
        Size(1 << 20), help="largest body as received", validator=at_least(0)
    )
    content_limit: Size = setting(
        Size(8 << 20), help="largest body after decompression", validator=at_least(0)
    )
    request_timeout: Duration = setting(
        Duration(30),
        help="longest time from the first byte of a request to its answer",
        validator=at_least(0.1),
    )
    idle_timeout: Duration = setting(
        Duration(75),
        help="longest silence between two requests of a connection",
        validator=at_least(0.1),
    )
    handshake_timeout: Duration = setting(
        Duration(10), help="longest TLS handshake", validator=at_least(0.1)
    )
    commit_timeout: Duration = setting(
        Duration(8),
        help="longest wait for the disk, then the answer is 503",
        validator=at_least(0.1),
    )
    connections: int = setting(
        1000, help="most connections at one time", validator=between(1, 100_000)
    )
    requests: int = setting(
        1000, help="most requests in work at one time", validator=between(1, 100_000)
    )

    def __attrs_post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            missing = "key" if self.key is None else "certificate"
            raise SettingError(missing, "missing; certificate and key belong together")
        if self.certificate is None and not self.plaintext and self.address.host not in LOOPBACK:
            raise SettingError(
                "certificate",
                f"missing; expected certificate and key, because {self.address} is not loopback "
                "(plaintext = yes allows plain HTTP, for use behind a proxy)",
            )
