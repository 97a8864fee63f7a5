from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from bridge.systemd import Notifier

UNIT = Path(__file__).parents[1] / "systemd" / "bridge@.service"


@pytest.fixture
def manager(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


def test_the_manager_hears_ready_status_and_stopping_in_this_order(manager: socket.socket):
    notifier = Notifier(manager.getsockname())
    notifier.ready("2 sources\n1 sink")
    notifier.status("databoom – away")
    notifier.stopping()
    assert [manager.recv(1000).decode() for _ in range(3)] == [
        "READY=1\nSTATUS=2 sources 1 sink",
        "STATUS=databoom – away",
        "STOPPING=1",
    ]


def test_the_address_is_not_inherited_by_children():
    environ = {"NOTIFY_SOCKET": "/nowhere"}
    Notifier.from_environment(environ).ready("nobody listens")
    assert environ == {}


def test_an_abstract_address_is_understood():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0bridge-test-notify")
        receiver.settimeout(5)
        Notifier("@bridge-test-notify").stopping()
        assert receiver.recv(100) == b"STOPPING=1"


@pytest.mark.skipif(
    not Path("/usr/bin/systemd-analyze").exists() and "CI" not in os.environ,
    reason="needs systemd-analyze (package systemd)",
)
def test_the_unit_is_as_closed_as_a_network_daemon_can_be():
    done = subprocess.run(
        ["/usr/bin/systemd-analyze", "security", "--offline=yes", "--threshold=15", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
