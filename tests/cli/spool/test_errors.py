"""What a command says where neither a bridge nor its spool answers."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from bridge.api import CommandError
from tests.cli.spool.office import CONFIG, Office
from tests.cli.spool.plugin import World

COMMANDS = [
    ("dead", "list"),
    ("dead", "replay", "--all", "--apply"),
    ("sink", "purge", "former"),
    ("parked",),
    ("retry", "shelf"),
    ("pause", "shelf"),
]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_without_a_bridge_and_a_spool_it_says_where_it_looked(
    office: Office, arguments: tuple[str, ...]
):
    (office.state / "spool").unlink()
    assert office(*arguments) == 1
    assert office.out == ""
    assert office.err == (
        f"no bridge answers at {office.state}/control.sock, and {office.state} holds no spool; "
        "expected the state folder of a bridge that ran before\n"
    )
    office.state.rmdir()
    assert office(*arguments) == 1
    assert "holds no spool" in office.err
    assert not office.state.exists()


def test_a_spool_that_another_process_has_is_told(office: Office, world: World):
    office.begin("shelf")
    with office.running():
        os.rename(office.state / "control.sock", office.folder / "hidden.sock")
        assert office("dead", "list") == 1
    assert office.err == (
        f"no bridge answers at {office.state}/control.sock, and the spool cannot be opened: the "
        "spool is in use by process 7; end that one\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("dead", "replay", "--all", "--apply"),
        ("dead", "drop", "--all", "--apply"),
        ("sink", "purge", "former", "--apply"),
        ("sink", "rename", "former", "nicer", "--apply"),
        ("sink", "rewind", "former", "2026-05-04", "--apply"),
        ("retry", "former"),
        ("pause", "shelf"),
    ],
)
def test_a_spool_that_cannot_be_written_is_told(
    office: Office, world: World, arguments: tuple[str, ...]
):
    office.bury("d1", sink="former")
    office.park("d2", sink="former")
    world.refuse_writes = "no room left on the disk"
    assert office(*arguments) == 1
    assert office.err == "the spool cannot be written now: no room left on the disk\n"


def test_a_running_bridge_that_cannot_write_says_so(office: Office, world: World):
    office.bury("d1")
    with office.running():
        assert world.spool is not None
        world.spool.refuse_writes = "no room left on the disk"
        assert office("dead", "drop", "--all", "--apply") == 1
        world.spool.refuse_writes = None
    assert office.err == "the spool cannot be written now: no room left on the disk\n"


def test_a_running_bridge_is_asked_whatever_the_file_says_now(office: Office):
    office.bury("d1")
    with office.running():
        office.write(CONFIG.replace("plugin = quiet", "plugin = quite"))
        assert office("dead", "list") == 0
    assert "d1" in office.out
    assert office("dead", "list") == 78
    assert "no source plugin is called 'quite'" in office.err


def test_a_configuration_that_is_not_there_is_told(office: Office):
    office.config.unlink()
    assert office("dead", "list") == 78
    assert office.err == "office.ini: cannot be read: No such file or directory\n"


def test_a_socket_of_another_user_is_told(office: Office, monkeypatch: pytest.MonkeyPatch):
    async def forbidden(path: Path) -> bool:
        raise CommandError(f"{path} belongs to the user of the bridge")

    monkeypatch.setattr("bridge.admin.control.answers", forbidden)
    assert office("dead", "list") == 1
    assert office.err == f"{office.state}/control.sock belongs to the user of the bridge\n"


def test_a_socket_that_a_killed_bridge_left_is_no_bridge(office: Office):
    office.bury("d1")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(office.state / "control.sock"))
    assert office("dead", "list") == 0
    assert "d1" in office.out


def test_no_secret_of_the_configuration_is_shown(office: Office):
    office.write(CONFIG.replace("plugin = shelf", "plugin = shelf\nshelf = ${env:SHELF}"))
    os.environ["SHELF"] = "hunter2-shelf"
    try:
        office.bury("d1", reason="401: hunter2-shelf is refused")
        for running in (False, True):
            if running:
                with office.running():
                    assert office("dead", "show", "1") == 0
            else:
                assert office("dead", "show", "1") == 0
            assert "hunter2" not in office.out + office.err
            assert "401: (environment variable SHELF) is refused" in office.out
    finally:
        del os.environ["SHELF"]
