from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from bridge.daemon.systemd import Notifier

FOLDER = Path(__file__).parents[2] / "systemd"
UNIT = FOLDER / "bridge@.service"
ANALYZE = "/usr/bin/systemd-analyze"

KNOWN_TO_252 = """
    Description Wants After StartLimitIntervalSec
    Type NotifyAccess ExecStart ExecReload Restart RestartSec TimeoutStartSec TimeoutStopSec
    OOMPolicy LimitNOFILE
    SyslogIdentifier UMask User Group StateDirectory StateDirectoryMode RuntimeDirectory
    RuntimeDirectoryMode
    LoadCredential SetCredential
    NoNewPrivileges ProtectHome ProtectSystem PrivateTmp PrivateDevices PrivateMounts PrivateUsers
    PrivateIPC
    ProtectClock ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables
    ProtectControlGroups
    ProtectProc ProcSubset KeyringMode RestrictNamespaces RestrictRealtime RestrictSUIDSGID
    RemoveIPC LockPersonality
    MemoryDenyWriteExecute CapabilityBoundingSet AmbientCapabilities RestrictAddressFamilies
    IPAddressDeny
    SystemCallArchitectures SystemCallFilter SystemCallErrorNumber
    WantedBy DefaultInstance
"""
"""Keys that systemd 252 was seen to accept.

A booted 252 tries them again: make systemd-test.
"""

needs_analyze = pytest.mark.skipif(
    not Path(ANALYZE).exists() and "CI" not in os.environ,
    reason="needs systemd-analyze (package systemd)",
)


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


def keys(path: Path) -> set[str]:
    return set(re.findall(r"^(\w+)=", path.read_text("utf-8"), re.MULTILINE))


def test_the_unit_has_only_keys_that_systemd_252_knows():
    assert keys(UNIT) - set(KNOWN_TO_252.split()) == set()


def test_the_drop_in_has_what_systemd_254_brought():
    assert keys(FOLDER / "systemd-254.conf") == {
        "ImportCredential",
        "RestartSteps",
        "RestartMaxDelaySec",
    }


@needs_analyze
def test_systemd_analyze_finds_nothing_wrong_in_the_unit(tmp_path: Path):
    # It looks for the programs as well; bridged is not installed where tests run.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/usr/bin/bridged", "/bin/true"), "utf-8")
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_analyze
def test_the_unit_is_as_closed_as_a_network_daemon_can_be():
    done = subprocess.run(
        [ANALYZE, "security", "--offline=yes", "--threshold=15", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
