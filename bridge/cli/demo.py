"""``bridged demo``: the real daemon between emulators of the vendor clouds, on this
machine, live.

    emulators ──▶ bridged run: a process of its own, real spool, HTTPS
                      └──▶ emulator of a destination ──▶ the live view

Certificates come from a CA that is thrown away at the end. The demo is the daemon's
service manager: it hears ``READY=1``, and stops it with SIGTERM. Then the balance of
the spool is drawn up: it must add up.
"""

from __future__ import annotations

import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from attrs import field, frozen

from bridge.api import Value
from bridge.api.spool import Audit
from bridge.plugins.discovery import Registry
from bridge.testing.emulation import Emulation, EmulatorContext, EmulatorKind

LISTENER = "public"
STARTING = 15.0  # seconds the daemon may take until it is ready
STOPPING = 40.0  # seconds it may take to drain
SETTLING = 10.0  # seconds given to what is under way, after the clouds have gone quiet


@frozen
class DemoFolder:
    """The folder of one demo, and what lies in it."""

    folder: Path
    port: int
    admin_port: int
    sinks: list[str] = field(factory=list)
    """Names of the sinks, known when the emulators are up."""

    @property
    def ca(self) -> Path:
        """The throw-away CA, PEM."""
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The chain of this machine, PEM."""
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        """Its private key, PEM."""
        return self.folder / "key.pem"

    def issue(self) -> None:
        import trustme

        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        pair = authority.issue_cert("localhost", "127.0.0.1")
        for blob in pair.cert_chain_pems:
            blob.write_to_path(str(self.certificate), append=True)
        pair.private_key_pem.write_to_path(str(self.key))
        self.key.chmod(0o600)

    def sections(self, emulations: Iterable[Emulation]) -> dict[str, Mapping[str, str]]:
        return {
            "bridge": {"state": str(self.folder / "state")},
            "listener:" + LISTENER: {
                "address": f"127.0.0.1:{self.port}",
                "certificate": str(self.certificate),
                "key": str(self.key),
            },
            "admin": {"address": f"127.0.0.1:{self.admin_port}"},
            **{emulation.section: emulation.settings for emulation in emulations},
            "sink:file": {"plugin": "jsonlines", "path": str(self.folder / "events.jsonl")},
        }


SPOOL = "sqlite"


async def run_demo(registry: Registry, *, seconds: float, rate: float) -> int:
    """Run the demo for so long, or until Ctrl-C.

    Gives the exit status: 0 if the balance adds up, else 1.
    """
    audit = registry.spools[SPOOL].audit
    assert audit is not None
    with TemporaryDirectory(prefix="bridge-demo-") as folder:
        demo = DemoFolder(Path(folder), free_port(), free_port())
        try:
            demo.issue()
        except ImportError:
            say("the demo needs the package trustme: pip install 'bridged[demo]'")
            return 1
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            status = await _with_emulators(registry.emulators, demo, signals, seconds, rate)
        return status or _balance(audit(demo.folder / "state", demo.sinks))


async def _with_emulators(
    emulators: Mapping[str, EmulatorKind],
    demo: DemoFolder,
    signals: AsyncIterator[int],
    seconds: float,
    rate: float,
) -> int:
    view = View()
    context = EmulatorContext(
        bridge_url=f"https://127.0.0.1:{demo.port}",
        listener=LISTENER,
        ca_file=demo.ca,
        certificate=demo.certificate,
        key=demo.key,
        random=random.Random(),  # noqa: S311  # demo values
        arrived=view.arrived,
    )
    async with AsyncExitStack() as stack:
        clouds = [
            await stack.enter_async_context(kind.open(context))
            for _, kind in sorted(emulators.items())
        ]
        config = demo.folder / "demo.ini"
        config.touch(0o600)
        sections = demo.sections(clouds)
        demo.sinks.extend(
            name.removeprefix("sink:") for name in sections if name.startswith("sink:")
        )
        config.write_text(_ini(sections), "utf-8")
        async with open_daemon(config) as daemon:
            say(
                f"bridged runs as process {daemon.pid}; status page: "
                f"http://127.0.0.1:{demo.admin_port}/"
            )
            say(f"{', '.join(sorted(emulators))} are emulated; Ctrl-C ends the demo")
            say(View.heading)
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as traffic:
                    for cloud in clouds:
                        traffic.start_soon(cloud.run, rate)
                    async for _ in signals:
                        break
                    traffic.cancel_scope.cancel()
            with trio.move_on_after(SETTLING):
                await view.quiet()
        return daemon.returncode or 0


def _ini(sections: Mapping[str, Mapping[str, str]]) -> str:
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())
        for name, settings in sections.items()
    )


@asynccontextmanager
async def open_daemon(config: Path, *arguments: str) -> AsyncIterator[trio.Process]:
    """Run ``bridged run`` as a process of its own, from ready to drained.

    :raises RuntimeError: if it is not ready in time, or ends before.
    """
    manager = trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with manager:
        address = f"\0bridge-demo-{config.parent.name}"
        await manager.bind(address)
        command = [sys.executable, "-m", "bridge", "run", "--config", str(config), *arguments]
        environment = {"NOTIFY_SOCKET": "@" + address[1:], "PYTHONUNBUFFERED": "1"}
        # A session of its own: Ctrl-C in the terminal is for the demo, which then stops
        # the daemon in order.
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(
                    trio.run_process, command, env=environment, start_new_session=True, check=False
                )
            )
            await _until_ready(manager, process)
            yield process
            process.terminate()
            with trio.move_on_after(STOPPING):
                await process.wait()
            if process.returncode is None:
                process.kill()


async def _until_ready(manager: trio.socket.SocketType, process: trio.Process) -> None:
    async def watch(scope: trio.CancelScope) -> None:
        await process.wait()
        scope.cancel()

    ready = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, nursery.cancel_scope)
        with trio.move_on_after(STARTING):
            while not ready:
                ready = b"READY=1" in await manager.recv(4096)
        nursery.cancel_scope.cancel()
    if not ready:
        raise RuntimeError("the daemon did not become ready; what it said stands above")


class View:
    """One line for each reading that arrived."""

    heading = f"{'time':8}  {'source':10} {'device':36} {'signal':28} {'value':>12}  latency"

    def __init__(self) -> None:
        self._last = trio.current_time()

    def arrived(self, device: str, signal_name: str, value: Value, time: datetime) -> None:
        """Print an arrival. The device token begins with the name of the source."""
        self._last = trio.current_time()
        now = datetime.now(UTC)
        source, _, rest = device.partition("_")
        latency = (now - time).total_seconds() * 1000
        say(
            f"{now:%H:%M:%S}  {source:10} {rest:36} {signal_name:28} {value:>12}  {latency:5.0f} ms"
        )

    async def quiet(self) -> None:
        """Wait until nothing has arrived for a second."""
        while trio.current_time() < self._last + 1.0:  # noqa: ASYNC110  # each arrival moves the moment
            await trio.sleep_until(self._last + 1.0)


def _balance(result: Audit) -> int:
    say("")
    for account in result.accounts:
        say(str(account))
    for problem in result.problems:
        say(f"audit: {problem}")
    good = result.balanced and all(account.received for account in result.accounts)
    say("the balance adds up" if good else "the balance does not add up")
    return 0 if good else 1


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)
