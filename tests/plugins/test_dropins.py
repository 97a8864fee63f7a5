"""A file dropped in a folder: what is run, what is not, and what people are told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bridge.plugins.discovery import Record, load_emulators, load_plugins
from bridge.plugins.dropins import LoadOutcome, find_dropins

GOOD = """
from attrs import frozen
from bridge.api import SinkKind, hookimpl, setting

BRIDGE_API = (1, 0)

@frozen
class Settings:
    name: str = setting("x", help="a name")

def open_sink(settings, context):
    return None

@hookimpl
def bridge_sink_kinds():
    return [SinkKind("KIND", Settings, open_sink)]
"""

RAN = "import pathlib; pathlib.Path(__file__).with_name('ran').touch()\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    return folder


def load(folder: Path, name: str) -> Record:
    (record,) = [record for record in load_plugins([folder]).records if record.name == name]
    return record


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o644)
    return path


def test_a_good_file_is_loaded_and_gives_its_kinds(folder: Path):
    write(folder, "acme.py", GOOD.replace("KIND", "acme"))
    registry = load_plugins([folder])
    assert "acme" in registry.sinks
    assert load(folder, "acme").kinds == ("sink acme",)
    assert not list(folder.rglob("__pycache__"))


def test_a_drop_in_called_json_does_not_shadow_json(folder: Path):
    import json

    write(folder, "json.py", GOOD.replace("KIND", "acme"))
    assert load(folder, "json").outcome is LoadOutcome.loaded
    assert sys.modules["json"] is json


def test_a_folder_may_import_its_own_modules(folder: Path):
    package = folder / "acme"
    package.mkdir(mode=0o755)
    write(
        package,
        "__init__.py",
        "from bridge_dropin.acme.kinds import *\n" + GOOD.replace('"KIND"', "NAME"),
    )
    write(package, "kinds.py", "NAME = 'acme'\n")
    assert load(folder, "acme").kinds == ("sink acme",)


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_write_is_not_run(folder: Path, mode: int):
    write(folder, "acme.py", RAN + GOOD).chmod(mode)
    record = load(folder, "acme")
    assert record.outcome is LoadOutcome.refused
    assert "chmod go-w" in record.reason
    assert not (folder / "ran").exists()


def test_a_file_in_a_folder_that_others_may_write_is_not_run(folder: Path):
    write(folder, "acme.py", RAN + GOOD)
    folder.chmod(0o777)
    assert load(folder, "acme").outcome is LoadOutcome.refused
    assert not (folder / "ran").exists()


@pytest.mark.skipif(
    os.geteuid() != 0 and "CI" not in os.environ, reason="giving a file away needs root"
)
def test_a_file_of_another_user_is_not_run(folder: Path):
    os.chown(write(folder, "acme.py", RAN + GOOD), 12345, 0)
    record = load(folder, "acme")
    assert record.outcome is LoadOutcome.refused
    assert "12345" not in record.reason
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "add the line BRIDGE_API = (1, 2)"),
        ("BRIDGE_API = (2, 0)", "version 2.0, this is 1.2"),
        (
            "BRIDGE_API = (0, 9)\nfrom bridge.api import Refused, Retry",
            "version 0.9, this is 1.2; names to change: Refused is bridge.api.SpoolUnavailable",
        ),
        ("BRIDGE_API = object()", "add the line"),
        ("BRIDGE_API = ('one', 0)", "add the line"),
    ],
)
def test_a_file_for_another_major_version_is_not_run(folder: Path, line: str, says: str):
    write(folder, "acme.py", RAN + GOOD.replace("BRIDGE_API = (1, 0)", line))
    record = load(folder, "acme")
    assert record.outcome is LoadOutcome.incompatible
    assert says in record.reason
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("version", [(1, 0), (1, 1), (1, 2), (1, 99)])
def test_a_file_for_another_minor_version_is_run(folder: Path, version: tuple[int, int]):
    write(folder, "acme.py", GOOD.replace("(1, 0)", str(version)))
    assert load(folder, "acme").outcome is LoadOutcome.loaded


def test_a_missing_package_is_named_with_the_command_for_it(folder: Path):
    block = "# /// script\n# dependencies = ['acme-sdk>=3', 'attrs']\n# ///\n"
    write(folder, "acme.py", block + RAN + GOOD)
    record = load(folder, "acme")
    assert record.outcome is LoadOutcome.missing_dependency
    assert "pip install 'acme-sdk>=3'" in record.reason
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("block", ["dependencies = [", "dependencies = ['==']", "dependencies = 3"])
def test_an_unreadable_block_of_requirements_is_told(folder: Path, block: str):
    write(folder, "acme.py", f"# /// script\n# {block}\n# ///\n" + RAN + GOOD)
    record = load(folder, "acme")
    assert record.outcome is LoadOutcome.failed
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("BRIDGE_API = (1, 0)\n\nimport no_such_module\n", "line 3: ModuleNotFoundError"),
        ("BRIDGE_API = (1, 0)\nraise SystemExit(3)\n", "line 2: SystemExit: 3"),
        ("BRIDGE_API = (1, 0)\ndef broken(:\n", "line 2: "),
        ("BRIDGE_API = (1, 0)\n", "has no hook"),
        (GOOD.replace("bridge_sink_kinds", "bridge_sink_kins"), "unknown hook 'bridge_sink_kins'"),
        (
            GOOD.replace("bridge_sink_kinds()", "bridge_sink_kinds(settings)"),
            "PluginValidationError",
        ),
        (GOOD.replace("return [", "return ['acme'] or ["), "expected SinkKind objects"),
        (GOOD.replace("return [", "1 / 0\n    return ["), "ZeroDivisionError"),
        (GOOD.replace("KIND", "jsonlines"), "the sink 'jsonlines' is taken"),
    ],
)
def test_a_broken_file_is_told_with_its_line_and_harms_nothing(folder: Path, text: str, says: str):
    write(folder, "acme.py", text)
    write(folder, "good.py", GOOD.replace("KIND", "good"))
    registry = load_plugins([folder])
    (record,) = [record for record in registry.records if record.name == "acme"]
    assert record.outcome is LoadOutcome.failed
    assert says in record.reason
    assert "good" in registry.sinks
    assert str(folder) in registry.unusable["acme"]
    if "import no_such" in text:
        assert "bridge_dropin.acme" not in sys.modules


def test_a_name_of_an_installed_plugin_is_refused_unrun(folder: Path):
    write(folder, "jsonlines.py", RAN + GOOD)
    records = [record for record in load_plugins([folder]).records if record.name == "jsonlines"]
    assert [record.outcome for record in records] == [LoadOutcome.loaded, LoadOutcome.refused]
    assert "bridged" in records[1].reason
    assert not (folder / "ran").exists()


def test_a_name_that_python_cannot_import_is_refused(folder: Path):
    write(folder, "my-sink.py", RAN + GOOD)
    assert load(folder, "my-sink").outcome is LoadOutcome.refused


def test_hidden_files_and_backups_are_left_alone(folder: Path):
    for name in ("_draft.py", ".acme.py", "acme.py~", "notes.txt"):
        write(folder, name, RAN)
    assert list(find_dropins([folder, folder / "missing"])) == []


def test_the_bundled_plugins_come_through_the_same_door():
    registry = load_plugins([])
    assert all(record.outcome is LoadOutcome.loaded for record in registry.records), (
        registry.unusable
    )
    assert {"disruptive", "idigi", "wattsense"} <= set(registry.sources)
    assert {"databoom", "jsonlines"} <= set(registry.sinks)
    assert "sqlite" in registry.spools
    assert {"databoom", "disruptive", "idigi", "wattsense"} <= set(load_emulators().emulators)
