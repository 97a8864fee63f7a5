"""The unit on booted systems: what systemd says about it, how it starts, reloads, and
comes back.
"""

from __future__ import annotations

import pytest

from tests.systemd.machine import Machine
from tests.systemd.office import SECRET, UNIT, Office

pytestmark = pytest.mark.systemd


def test_systemd_says_nothing_about_the_unit(office: Office):
    verified = office.machine.run("systemd-analyze", "verify", "--man=no", UNIT)
    assert verified.stdout == ""
    office.store("towers.secret", SECRET)
    office.start()
    warnings = office.machine.journal("--priority=warning", "_COMM=systemd")
    assert [line for line in warnings.splitlines() if "bridge" in line] == []


def test_the_exposure_of_the_unit_is_at_most_1_5(machine: Machine):
    # Exits with 1 above the threshold, which is ten times the exposure.
    machine.run("systemd-analyze", "security", "--threshold=15", UNIT)


def test_a_signed_webhook_is_stored_and_reaches_the_file(office: Office):
    office.store("towers.secret", SECRET)
    office.start()
    assert office.post() == "200"
    assert office.post("hunter2-wrong") == "401"
    arrived = office.machine.wait_until(
        lambda: office.machine.run(
            "cat", "/var/lib/bridge/office/out.jsonl", check=False
        ).stdout.count("tower-1"),
        "the reading is in the file",
    )
    assert arrived


def test_a_killed_bridge_is_started_again(office: Office):
    office.store("towers.secret", SECRET)
    office.start()
    office.machine.run("systemctl", "kill", "--signal=KILL", UNIT)
    office.machine.wait_until(
        lambda: office.show("NRestarts", "ActiveState") == ["1", "active"],
        "it runs after one restart",
    )
    assert office.post() == "200"


def test_reload_serves_a_renewed_certificate_at_once(office: Office):
    office.configure(
        "certificate = /etc/bridge/tls/fullchain.pem\nkey = /etc/bridge/tls/privkey.pem"
    )
    office.store("towers.secret", SECRET)
    for name in ("old.example", "new.example"):
        certificate, key = office.make_certificate(name)
        office.machine.write("/etc/bridge/tls/fullchain.pem", certificate)
        office.machine.write("/etc/bridge/tls/privkey.pem", key)
        office.machine.run("systemctl", "reload-or-restart", UNIT)
        office.machine.wait_until(
            lambda name=name: name in office.served_certificate(), f"{name} is served", within=3
        )
    assert office.show("NRestarts", "ActiveState") == ["0", "active"]
