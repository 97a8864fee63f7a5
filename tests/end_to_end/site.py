"""A bridge for end-to-end tests: its folder, its configuration, its certificates, and
the real process.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import trio
import trustme
from attrs import define, field

READY = 30.0  # seconds until a bridge must be ready, on a busy machine


def free_port() -> int:
    """Return a port that nothing listens on, each time another one.

    They lie below those that the kernel gives to anybody, and begin where hardly
    another process of tests does.
    """
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


_ports = cycle(range(10_000 + os.getpid() * 97 % 20_000, 32_000))


@define(eq=False)
class Site:
    """One bridge."""

    folder: Path
    port: int = field(factory=free_port)
    authority: trustme.CA = field(factory=trustme.CA)
    sections: dict[str, Mapping[str, str]] = field(factory=dict)
    process: subprocess.Popen[bytes] | None = None
    python: str = sys.executable
    """Whose ``bridge`` is run: that of another environment may be another version."""
    _manager: socket.socket = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.authority.cert_pem.write_to_path(self.ca_file)
        pair = self.authority.issue_cert("localhost", "127.0.0.1")
        pair.private_key_and_cert_chain_pem.write_to_path(self.folder / "pair.pem")
        (self.folder / "pair.pem").chmod(0o600)
        self.sections["bridge"] = {"state": str(self.state), "drain": "10s"}
        self.sections["listener:public"] = {
            "address": f"127.0.0.1:{self.port}",
            "certificate": str(self.folder / "pair.pem"),
            "key": str(self.folder / "pair.pem"),
        }
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(self.folder / "notify"))

    def close(self) -> None:
        self.kill()
        self._manager.close()

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def server_tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / "pair.pem")
        return context

    def client_tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    def write(self) -> Path:
        path = self.folder / "bridge.ini"
        path.touch(0o600)
        path.write_text(
            "\n".join(
                f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())
                for name, settings in self.sections.items()
            )
        )
        return path

    def start(self) -> None:
        """Start the process, without waiting for anything."""
        assert self.process is None
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, "-m", "bridge", "run", "--config", str(self.write())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"NOTIFY_SOCKET": str(self.folder / "notify"), "PATH": "/usr/bin:/bin"},
            )

    async def ready(self) -> None:
        """Wait until the bridge says that it is ready."""
        assert self.process is not None
        with trio.fail_after(READY):
            while b"READY=1" not in await self._notified():
                assert self.process.poll() is None, self.log

    async def _notified(self) -> bytes:
        while True:
            with trio.move_on_after(0.2):
                await trio.lowlevel.wait_readable(self._manager)
                return self._manager.recv(4096)
            assert self.process is not None
            assert self.process.poll() is None, self.log

    def kill(self) -> None:
        """SIGKILL: nothing can be prepared for it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        self._forget_notices()

    async def stop(self) -> int:
        """SIGTERM: drains. Gives the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        with trio.fail_after(READY):
            code = await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)
        self.process = None
        self._forget_notices()
        return code

    def _forget_notices(self) -> None:
        self._manager.setblocking(False)
        try:
            while True:
                self._manager.recv(4096)
        except BlockingIOError:
            pass
        finally:
            self._manager.setblocking(True)
