"""What people read and install is true: README, sample configuration, packages."""

from __future__ import annotations

import configparser
import re
import textwrap
from pathlib import Path

import pytest
import trustme

from bridge.cli.commands import run
from bridge.plugins.discovery import load_plugins

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.rst").read_text("utf-8")


@pytest.fixture
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", "utf-8")
    return parser


def test_no_package_is_forgotten_in_the_wheel(setup: configparser.ConfigParser):
    folders = [
        path.parent.relative_to(ROOT)
        for path in ROOT.glob("*/**/__init__.py")
        if path.parts[-2] != "tests"
    ]
    found = {
        ".".join(
            (
                "bridge_plugins" if folder.parts[0] == "plugins" else folder.parts[0],
                *folder.parts[1:],
            )
        )
        for folder in folders
        if folder.parts[0] in ("bridge", "plugins")
    }
    assert set(setup["options"]["packages"].split()) == found


def test_every_bundled_plugin_has_its_entry_point(setup: configparser.ConfigParser):
    lines = setup["options.entry_points"]["bridge"].strip().splitlines()
    named = {line.split("=")[1].strip() for line in lines}
    files = {
        path
        for path in (ROOT / "plugins").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert named >= {f"bridge_plugins.{path.stem}" for path in files if path.stem != "__init__"}


def check(path: Path, text: str) -> int:
    """Check a configuration as it would be where its certificate is."""
    pair = trustme.CA().issue_cert("localhost")
    (path.parent / "fullchain.pem").write_bytes(pair.cert_chain_pems[0].bytes())
    (path.parent / "privkey.pem").write_bytes(pair.private_key_pem.bytes())
    path.write_text(text.replace("/etc/bridge/tls", str(path.parent)), "utf-8")
    path.chmod(0o600)
    return run(["check", "--config", str(path)])


def test_the_configuration_that_is_shipped_is_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert check(tmp_path / "bridge.ini", (ROOT / "etc" / "bridge.ini").read_text("utf-8")) == 0
    assert capsys.readouterr().out.endswith("bridge.ini: good\n")


def test_the_configuration_in_the_readme_is_good(tmp_path: Path):
    blocks = re.findall(r"::\n\n((?:    .*\n|\n)+)", README)
    (example,) = [
        textwrap.dedent(block) for block in blocks if block.lstrip().startswith("[bridge]")
    ]
    assert check(tmp_path / "office.ini", example) == 0


def test_the_readme_names_only_commands_targets_and_files_that_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"\bmake ([a-z-]+)", README)) - {"of"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for words in set(
        re.findall(r"\bbridged ((?:disruptive|idigi|wattsense|databoom) [a-z]+|[a-z-]+)", README)
    ) - {"NAME"}:
        with pytest.raises(SystemExit) as ended:
            run([*words.split(), "--help"])
        assert ended.value.code == 0, words
    for path in set(re.findall(r"``((?:bridge|plugins|tests|etc|systemd|docs)/[\w/.]*)``", README)):
        assert (ROOT / path).exists(), path


def test_the_file_that_the_readme_copies_works_under_another_name(tmp_path: Path):
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    text = (ROOT / "plugins" / "jsonlines.py").read_text("utf-8")
    (folder / "lines.py").write_text(
        text.replace('SinkKind("jsonlines"', 'SinkKind("lines"'), "utf-8"
    )
    (folder / "lines.py").chmod(0o644)
    registry = load_plugins([folder])
    assert "lines" in registry.sinks, registry.unusable
