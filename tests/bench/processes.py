"""The processes of a benchmark: the daemon, its rivals, the destination and the load,
each by itself.

A child is a module of ``tests.bench.children``. It is given its arguments as JSON, says
one line of JSON when it is ready, and answers each line of JSON with one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import frozen

from tests.end_to_end.site import Site

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0  # seconds that a child may take for an answer

PATH = "/disruptive"
SECRET = "a-secret-of-thirty-two-characters"
TOKEN = "bench"


class Child:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    async def ask(self, *command: Any) -> Any:
        """Say a command and give the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return await self.hear()

    async def hear(self) -> Any:
        """Give the next line.

        :raises RuntimeError: when the child has ended; it has said why on standard
            error.
        """
        assert self._process.stdout is not None
        with trio.fail_after(PATIENCE):
            line = await trio.to_thread.run_sync(
                self._process.stdout.readline, abandon_on_cancel=True
            )
        if not line:
            raise RuntimeError(f"{self._process.args} has ended; what it said stands above")
        return json.loads(line)


@asynccontextmanager
async def open_child(name: str, **arguments: Any) -> AsyncIterator[tuple[Child, Any]]:
    """Run a child while the block is entered; gives it and what it said when it was
    ready.
    """
    command = [sys.executable, "-m", f"tests.bench.children.{name}", json.dumps(arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as process:
        try:
            child = Child(process)
            yield child, await child.hear()
        finally:
            process.kill()


@frozen
class Destination:
    """The emulator of Databoom."""

    child: Child
    section: dict[str, str]
    """The sink that delivers to it."""

    async def count(self) -> int:
        """Give how many readings arrived, repeated ones once."""
        return await self.child.ask("count")

    async def holds(self, count: int) -> None:
        """Wait until so many readings have arrived."""
        with trio.fail_after(PATIENCE):
            while await self.count() < count:
                await trio.sleep(0.05)


@asynccontextmanager
async def open_destination(site: Site, port: int = 0) -> AsyncIterator[Destination]:
    """Run the emulator of Databoom with a certificate of the site."""
    async with open_child(
        "databoom", pair=str(site.folder / "pair.pem"), token=TOKEN, port=port
    ) as (child, url):
        yield Destination(child, sink_section(site, url))


def sink_section(site: Site, url: str) -> dict[str, str]:
    return {"plugin": "databoom", "url": url, "token": TOKEN, "ca_file": str(site.ca_file)}


def source_section(listener: str) -> dict[str, str]:
    return {"plugin": "disruptive", "listener": listener, "path": PATH, "secret": SECRET}


@contextmanager
def open_site(folder: Path, python: str = sys.executable) -> Iterator[Site]:
    """Give a bridge that is not started yet, without certificate on its listener."""
    folder.mkdir()
    site = Site(folder, python=python)
    site.sections["listener:public"] = {"address": f"127.0.0.1:{site.port}"}
    site.sections["source:sensors"] = source_section("public")
    try:
        yield site
    finally:
        site.close()


def start_committing_each(site: Site) -> None:
    """Start the daemon with a commit for every event."""
    with (site.folder / "log").open("ab") as log:
        site.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.bench.children.commit_each",
                "run",
                "--config",
                str(site.write()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={"NOTIFY_SOCKET": str(site.folder / "notify"), "PATH": "/usr/bin:/bin"},
        )


async def load(port: int, **order: Any) -> dict[str, Any]:
    """Run the load generator once, see ``children/load.py``."""
    async with open_child("load", port=port, path=PATH, secret=SECRET, **order) as (child, _):
        return await child.ask("go")


def processor_time(pid: int) -> float:
    """Seconds of processor time that a process has used, its threads included."""
    # This is how Linux numbers the clocks of processes, see clock_getcpuclockid(3).
    # The times in /proc count hundredths: coarse for a daemon that has little to do.
    return time.clock_gettime(~pid << 3 | 2)


def memory(pid: int) -> float:
    """Give the resident memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has ended")
