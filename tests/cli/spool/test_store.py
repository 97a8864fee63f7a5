"""``bridged store`` on a spool in a file, with a bridge that runs and without."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cli.spool.office import CONFIG, Office


@pytest.fixture
def engine() -> str:
    return "sqlite"


def bridge_of(office: Office, either: bool) -> AbstractContextManager[Any]:
    return office.running() if either else nullcontext()


def database(folder: Path) -> Path:
    return folder / "spool.sqlite"


def damage(office: Office) -> None:
    """Let the body of an event be another one than its checksum says."""
    with sqlite3.connect(database(office.state)) as connection:
        connection.execute("UPDATE events SET body = x'00' WHERE id = (SELECT min(id) FROM events)")
    connection.close()


def test_a_sound_spool_is_found_sound(office: Office, either: bool):
    office.begin("former", stored=3)
    with bridge_of(office, either):
        assert office("store", "check") == 0
    assert office.out.splitlines()[-1] == "looked at 3 rows: nothing is damaged"
    assert office.err == ""


def test_damage_is_found_and_the_exit_code_says_so(office: Office, either: bool):
    office.begin("former", stored=3)
    damage(office)
    with bridge_of(office, either):
        assert office("store", "check") == 1
    assert office.err.startswith("store: ")
    assert office("store", "check", "--json") == 1
    found = orjson.loads(office.out)
    assert (found["looked_at"], len(found["problems"])) == (3, 1)


def test_a_repair_is_planned_first(office: Office):
    office.begin("former", stored=3)
    damage(office)
    before = database(office.state).read_bytes()
    assert office("store", "repair") == 0
    assert "a new file would hold: " in office.out
    assert office.out.endswith("; the damaged one would get another name\n--apply does it\n")
    assert database(office.state).read_bytes() == before


def test_a_repair_keeps_the_old_file_and_the_damaged_event(office: Office):
    office.begin("former", stored=3)
    damage(office)
    assert office("store", "repair", "--apply") == 0
    (kept,) = office.state.glob("spool.sqlite.damaged-*Z")  # its log may lie beside it
    assert f"; the damaged one is {kept}\n" in office.out
    assert "--apply" not in office.out
    # The event stays for its sink, which makes a dead letter of it.
    (finding,) = office.json("store", "repair")["findings"]
    assert finding.endswith("the file was damaged: its checksum is another")


def test_a_sound_spool_is_not_repaired(office: Office):
    office.begin("former", stored=3)
    assert office("store", "repair", "--apply") == 0
    assert office.out == "nothing is damaged, nothing is to be repaired\n"


def test_compacting_is_planned_first_and_gives_room_back(office: Office):
    office.begin("former", stored=300)
    assert office("sink", "purge", "former", "--apply") == 0
    with sqlite3.connect(database(office.state)) as connection:
        connection.execute("DELETE FROM events")
        connection.execute("UPDATE lanes SET pruned = 300")
    connection.close()
    before = database(office.state).stat().st_size
    assert office("store", "compact") == 0
    assert office.out.startswith("the file would shrink from ")
    assert office.out.endswith("--apply does it\n")
    assert database(office.state).stat().st_size == before
    assert office("store", "compact", "--apply") == 0
    assert office.out.startswith("the file shrank from ")
    assert database(office.state).stat().st_size < before


@pytest.mark.parametrize("what", ["repair", "compact", "accept"])
def test_what_changes_the_file_refuses_beside_a_running_bridge(office: Office, what: str):
    office.begin("former", stored=3)
    with office.running():
        assert office("store", what, "--apply") == 1
    assert "is in use by process" in office.err


def test_a_backup_holds_everything(office: Office, either: bool):
    office.begin("former", stored=3)
    with bridge_of(office, either):
        assert office("store", "backup", str(office.folder / "copy")) == 0
    copied = database(office.folder / "copy")
    assert office.out.startswith(f"{copied}: 3 events, 3 of them not yet delivered, ")
    office.write(CONFIG.replace("STATE", str(office.folder / "copy")))
    found = orjson.loads(office.out) if office("audit", "--json") == 0 else None
    assert {account["sink"]: account["pending"] for account in found["accounts"]}["former"] == 3


def test_a_backup_onto_another_spool_is_refused(office: Office, either: bool):
    office.begin("former", stored=3)
    with bridge_of(office, either):
        assert office("store", "backup", str(office.state)) == 1
    assert office.err == f"{office.state} holds a spool already; name another folder\n"


def test_the_export_is_a_line_for_each_event(office: Office, either: bool):
    office.begin("former", stored=3)
    with bridge_of(office, either):
        assert office("store", "export") == 0
    lines = [orjson.loads(line) for line in office.out.splitlines()]
    assert [line["event"]["key"] for line in lines if line["table"] == "events"] == [
        "k1",
        "k2",
        "k3",
    ]


def daemon(office: Office) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge", "run", "--config", str(office.config)],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=Path(__file__).parents[3],
        check=False,
        env={"PATH": "/usr/bin:/bin", "JOURNAL_STREAM": "1:1"},
    )


def test_a_spool_that_is_gone_ends_the_bridge_until_it_is_accepted(office: Office):
    office.begin("former", stored=3)
    database(office.state).unlink()
    ended = daemon(office)
    assert ended.returncode == 78, ended.stderr
    assert "bridged store accept" in ended.stderr
    assert office("store", "accept") == 0
    assert office.out == (
        "the bridge would go on with 0 events; at least 3 events are missing\n--apply does it\n"
    )
    assert daemon(office).returncode == 78
    assert office("store", "accept", "--apply") == 0
    assert office.out.startswith("the bridge goes on with 0 events; at least 3 events are missing")
    with office.running():
        assert office("status") == 0


def test_the_right_file_needs_no_acceptance(office: Office):
    office.begin("former", stored=3)
    assert office("store", "accept") == 0
    assert office.out == (
        f"{database(office.state)} is the file that was there last: nothing is to be accepted\n"
    )


def test_a_mistake_in_another_section_is_no_hindrance(office: Office):
    office.begin("former", stored=3)
    office.write(CONFIG.replace("plugin = quiet", "plugin = quite"))
    assert office("store", "check") == 0


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("memory", 1, "[spool] plugin: a spool of the kind 'memory' has no files to look after\n"),
        ("sqlit", 78, "[spool] plugin: a spool of the kind 'sqlit' is not known\n"),
    ],
)
def test_a_spool_without_files_is_told(office: Office, kind: str, code: int, said: str):
    office.write(CONFIG.replace("ENGINE", kind))
    assert office("store", "check") == code
    assert office.err == said


def test_without_a_spool_it_says_where_it_looked(office: Office):
    assert office("store", "check") == 1
    assert office.err.startswith(f"{database(office.state)}: there is no spool")
