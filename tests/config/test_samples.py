"""``bridged sample-config KIND``: a complete reference, made from the settings classes,
that can be read back.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bridge.api import SinkKind, SourceKind, SpoolKind
from bridge.cli.commands import run
from bridge.config import Kinds, Loaded
from bridge.config.fields import setting_fields
from bridge.daemon.config import load
from bridge.plugins.discovery import load_plugins

KINDS = ["databoom", "disruptive", "idigi", "jsonlines", "sqlite", "wattsense"]

REST = """
[listener:public]
address = 127.0.0.1:8443
[source:other]
plugin = wattsense
listener = public
path = /other
signature = none
[sink:other]
plugin = jsonlines
path = other.jsonl
"""
"""What a bridge needs besides one section."""


@pytest.fixture(scope="module")
def kinds() -> dict[str, Any]:
    registry = load_plugins(())
    assert registry.unusable == {}
    return {**registry.spools, **registry.sources, **registry.sinks}


def understood(folder: Path, text: str, kinds: dict[str, Any]) -> Loaded:
    path = folder / "office.ini"
    path.touch(0o600)
    path.write_text(text + REST, "utf-8")
    return load(
        path,
        Kinds(
            sources={name: kind for name, kind in kinds.items() if isinstance(kind, SourceKind)},
            sinks={name: kind for name, kind in kinds.items() if isinstance(kind, SinkKind)},
            spools={name: kind for name, kind in kinds.items() if isinstance(kind, SpoolKind)},
        ),
        environ={},
        checking=True,
    )


def sample(capsys: pytest.CaptureFixture[str], name: str) -> str:
    assert run(["sample-config", name]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", KINDS)
def test_the_sample_of_a_kind_is_a_good_section(name, kinds, capsys, tmp_path):
    loaded = understood(tmp_path, sample(capsys, name), kinds)
    assert loaded.errors == ()


@pytest.mark.parametrize("name", KINDS)
def test_the_sample_of_a_kind_has_every_setting_with_its_explanation(name, kinds, capsys):
    lines = sample(capsys, name).splitlines()
    for setting in setting_fields(kinds[name].settings):
        if setting.is_table:
            place = next(
                place
                for place, line in enumerate(lines)
                if re.match(rf"#?\[.*:{setting.key}\]$", line)
            )
        else:
            place = next(
                place for place, line in enumerate(lines) if re.match(rf"#?{setting.key} =", line)
            )
        explained = []
        while lines[place - 1].startswith("## "):
            place -= 1
            explained.insert(0, lines[place].removeprefix("## "))
        assert " ".join(explained).startswith(f"{setting.help} ("), (
            f"{setting.key} is not explained"
        )


@pytest.mark.parametrize("name", KINDS)
def test_every_line_of_the_sample_of_a_kind_is_known_when_it_is_made_active(
    name, kinds, capsys, tmp_path
):
    """Settings that exclude each other cannot all be active; but each is known, and its
    text is of its type.
    """
    lines = sample(capsys, name).splitlines()
    for place, line in enumerate(lines):
        if not re.match(r"#[^#\[]", line) or line.endswith("="):
            continue
        active = [*lines]
        active[place] = line[1:]
        table = next((above for above in range(place, -1, -1) if lines[above] == ""), 0)
        for header in range(table, place):
            if re.match(r"#\[", lines[header]):
                active[header] = lines[header][1:]
        key = line[1:].split(" =")[0]
        for each in understood(tmp_path, "\n".join(active), kinds).errors:
            assert "unknown" not in each.text, each
            missing_file = "No such file" in each.text
            assert each.key != key or missing_file or "got" not in each.text, each


def test_the_bundled_kinds_are_all_looked_at(kinds):
    assert sorted(kinds) == KINDS
