"""The settings of the section ``[admin]``."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from bridge.api import LOOPBACK, NetworkAddress, SettingError, setting


@frozen
class AdminSettings:
    """``[admin]``: what shows how the bridge is."""

    address: NetworkAddress | None = setting(
        None,
        help="status page, /livez and /readyz; plain HTTP, on loopback only",
        example="127.0.0.1:9464",
    )
    socket: Path | None = setting(
        None,
        help="where commands ask the running bridge, for its user only; default control.sock "
        "in the state folder",
        example="/run/bridge/office/control.sock",
    )

    def __attrs_post_init__(self) -> None:
        address = self.address
        if address is not None and address.systemd is None and address.host not in LOOPBACK:
            raise SettingError(
                "address", f"expected an address of loopback such as 127.0.0.1:9464, got {address}"
            )
