"""A booted Debian in namespaces of its own: processes, files, network. See boot.sh."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

from tests.systemd.roots import Release

T = TypeVar("T")
BOOT = Path(__file__).with_name("boot.sh")
PATIENCE = 60.0  # seconds for anything that is waited for, on a busy machine


class Machine:
    """One machine.

    Every command that fails, and every wait that is in vain, shows the journal.
    """

    def __init__(self, release: Release, root: Path) -> None:
        self.release = release
        self._root = root
        self._cgroup = f"bridge-test-{os.getpid()}-{release.name}"
        self._init = 0  # process of its systemd, as it is numbered here
        self._outer: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Return when everything has started."""
        # The tmpfs of the machine is mounted on this folder in its namespaces only:
        # here it stays empty.
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as errors:
            # If this process is killed, so is unshare, and with it the whole machine.
            command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", str(BOOT)]
            self._outer = subprocess.Popen(
                [*command, str(self._root), folder, self._cgroup],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
            try:
                self._init = wait_until(self._find_init, "its systemd runs")
                wait = ["systemctl", "is-system-running", "--wait"]
                self.wait_until(
                    lambda: self.run(*wait, check=False).stdout == "running\n",
                    "everything has started",
                )
            except AssertionError as exc:
                errors.seek(0)
                raise AssertionError(f"{exc}\n{errors.read().decode(errors='replace')}") from None

    def shut_down(self) -> None:
        """Return when nothing of it is left."""
        assert self._outer is not None
        if self._init and self._outer.poll() is None:
            self.run("systemctl", "poweroff", check=False)
            try:
                self._outer.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                pass  # killed below
        self._outer.kill()
        self._outer.wait()
        wait_until(
            self._cgroup_removed, "its cgroup is removed"
        )  # refused until the last process is gone

    def run(
        self,
        *command: str,
        text: str = "",
        terminal: IO[bytes] | int | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, with ``text`` or a terminal as its input.

        What it printed is one text.
        """
        spaces = ["--mount", "--pid", "--uts", "--net", "--ipc", "--cgroup"]
        inside = ["nsenter", f"--target={self._init}", *spaces, "--", "env", "-i"]
        try:
            done = subprocess.run(
                [
                    *inside,
                    "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                    "LANG=C.UTF-8",
                    "SYSTEMD_PAGER=",
                    *command,
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE,
                check=False,
                **({"input": text} if terminal is None else {"stdin": terminal}),
            )
        except subprocess.TimeoutExpired as exc:
            raise AssertionError(
                f"{command} took more than {PATIENCE:.0f} s\n{self.journal()}"
            ) from exc
        if check and done.returncode:
            raise AssertionError(
                f"{command}: exit code {done.returncode}\n{done.stdout}\n{self.journal()}"
            )
        return done

    def write(self, path: str, text: str, mode: str = "0640") -> None:
        """Write a file that root owns and the bridge may read; make its folders."""
        self.run("install", "-D", "-m", mode, "-g", "bridge", "/dev/stdin", path, text=text)

    def journal(self, *options: str) -> str:
        """Return the messages that the options of journalctl select, the last 200 of
        all without.
        """
        selected = options or ("--lines=200",)
        return self.run(
            "journalctl", "--quiet", "--output=cat", "--no-pager", *selected, check=False
        ).stdout

    def wait_until(self, condition: Callable[[], T], what: str, within: float = PATIENCE) -> T:
        """Return the first value of ``condition`` that is true; fail with the journal
        after ``within`` seconds.
        """
        try:
            return wait_until(condition, what, within)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.journal()}") from None

    def _find_init(self) -> int:
        assert self._outer is not None
        assert self._outer.poll() is None, "the machine ended while it booted"
        children = (
            Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        )
        # Its first process is the shell of boot.sh, until the root file system is in
        # place.
        return next((int(child) for child in children if _name(child) == "systemd"), 0)

    def _cgroup_removed(self) -> bool:
        remove = (
            'mount -t cgroup2 cgroup2 /mnt; cd /mnt; [ ! -d "$1" ] || find "$1" -depth -type d '
            "-delete"
        )
        command = ["unshare", "--mount", "sh", "-ec", remove, "sh", self._cgroup]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def wait_until(condition: Callable[[], T], what: str, within: float = PATIENCE) -> T:
    """Return the first value of ``condition`` that is true; fail after ``within``
    seconds.
    """
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {within:.0f} s it is still not so: {what}"
        time.sleep(0.1)
    return value


def _name(process: str) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""  # it has ended
