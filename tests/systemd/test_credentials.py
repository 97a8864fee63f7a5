"""How secrets reach the bridge: by one command on every system, by systemd's own stores
where it has them.
"""

from __future__ import annotations

import os
import pty

import pytest

from tests.systemd.office import SECRET, UNIT, Office

pytestmark = pytest.mark.systemd

STORES = {
    "plain": "install -D -m 0600 /dev/stdin /etc/credstore/bridge.office.towers.secret",
    "encrypted": "mkdir -p /etc/credstore.encrypted; "
    "systemd-creds encrypt --name=bridge.office.towers.secret "
    "- /etc/credstore.encrypted/bridge.office.towers.secret",
}


def test_the_command_takes_a_secret_from_a_pipe(office: Office):
    office.store("towers.secret", f"{SECRET}\n")
    office.start()
    assert office.post() == "200"


def test_the_command_takes_a_secret_from_a_terminal(office: Office):
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{SECRET}\n\x04".encode())  # pasted, Enter, Ctrl-D
        office.machine.run(*office.store_command("towers.secret"), terminal=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    office.start()
    assert office.post() == "200"


def test_a_missing_secret_is_told_with_the_command(office: Office):
    assert office.machine.run("systemctl", "start", UNIT, check=False).returncode == 1
    told = office.machine.journal(f"--unit={UNIT}")
    assert "sudo install -D -m 0600 /dev/stdin /etc/bridge/credentials/office/towers.secret" in told


def test_a_secret_that_comes_later_ends_the_waiting(office: Office):
    office.machine.run("systemctl", "start", UNIT, check=False)
    office.store("towers.secret", SECRET)
    office.machine.wait_until(lambda: office.post() == "200", "it has started by itself")


def test_another_instance_does_not_get_the_secret(office: Office):
    office.store("towers.secret", SECRET)
    office.machine.write(
        "/etc/bridge/plant.ini", office.machine.run("cat", "/etc/bridge/office.ini").stdout
    )
    assert office.machine.run("systemctl", "start", "bridge@plant", check=False).returncode == 1
    assert "/etc/bridge/credentials/plant/towers.secret" in office.machine.journal(
        "--unit=bridge@plant"
    )


def test_the_user_of_the_service_cannot_read_the_file(office: Office):
    office.store("towers.secret", SECRET)
    as_bridge = ["setpriv", "--reuid=bridge", "--regid=bridge", "--clear-groups"]
    read = ["cat", "/etc/bridge/credentials/office/towers.secret"]
    assert "Permission denied" in office.machine.run(*as_bridge, *read, check=False).stdout


@pytest.mark.parametrize("store", STORES)
def test_the_stores_of_systemd_254_work(office: Office, store: str):
    if office.machine.release.systemd < 254:
        pytest.skip("the unit has ImportCredential from systemd 254")
    office.machine.run("sh", "-ec", STORES[store], text=SECRET)
    office.start()
    assert office.post() == "200"


def test_a_drop_in_of_the_administrator_names_a_file(office: Office):
    office.machine.write("/root/secret", SECRET, "0600")
    drop_in = "/etc/systemd/system/bridge@office.service.d/secret.conf"
    office.machine.write(drop_in, "[Service]\nLoadCredential=towers.secret:/root/secret\n", "0644")
    office.machine.run("systemctl", "daemon-reload")
    office.start()
    assert office.post() == "200"


def test_the_key_of_a_listener_can_be_a_credential(office: Office):
    office.configure("certificate = /etc/bridge/tls/fullchain.pem\nkey = ${credential:privkey.pem}")
    office.store("towers.secret", SECRET)
    certificate, key = office.make_certificate("bridge.example")
    office.machine.write("/etc/bridge/tls/fullchain.pem", certificate)
    office.store("privkey.pem", key)
    office.start()
    assert "bridge.example" in office.served_certificate()
    assert "PRIVATE KEY" not in office.machine.journal("--no-tail", "--output=verbose")


@pytest.mark.parametrize("damage", ["in the middle", "all of it"])
def test_nothing_of_an_unusable_key_is_in_the_journal(office: Office, damage: str):
    office.configure("certificate = /etc/bridge/tls/fullchain.pem\nkey = ${credential:privkey.pem}")
    office.store("towers.secret", SECRET)
    certificate, key = office.make_certificate("bridge.example")
    office.machine.write("/etc/bridge/tls/fullchain.pem", certificate)
    garbage = (
        key.replace("\n", "\nhunter2", 2) if damage == "in the middle" else "hunter2\nhunter2-too\n"
    )
    office.store("privkey.pem", garbage)
    assert office.machine.run("systemctl", "start", UNIT, check=False).returncode == 1
    told = office.machine.journal("--no-tail", "--output=verbose")
    assert "privkey.pem" in told
    assert "PRIVATE KEY" not in told
    assert not [line for line in garbage.splitlines() if line in told]
