"""The notify protocol of systemd: one datagram of ``KEY=value`` lines.

systemd states the protocol as stable and invites own implementations. Nothing here
raises into the daemon, and nothing happens where systemd is not listening.
"""

from __future__ import annotations

import socket
from collections.abc import MutableMapping


class Notifier:
    """Tells the service manager how the bridge is; silent without one."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Notifier:
        """The address leaves the environment: no child process shall inherit it."""
        return cls(environ.pop("NOTIFY_SOCKET", None))

    def ready(self, status: str) -> None:
        """The listeners and the spool are open."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def status(self, text: str) -> None:
        """Show a sentence in ``systemctl status``."""
        self._send(f"STATUS={_line(text)}")

    def stopping(self) -> None:
        """The bridge is on its way down."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the NUL byte of the abstract namespace.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(message.encode(), address)
        except OSError:
            pass  # a manager that does not listen is no reason to stop moving readings


def _line(text: str) -> str:
    return text.replace("\n", " ")
