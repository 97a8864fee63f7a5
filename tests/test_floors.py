"""The floors of the house: a room imports only from floors below its own, and never sideways into another vendor."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VENDORS = re.compile(r"idigi|disruptive|wattsense|databoom", re.IGNORECASE)

FLOORS = {
    "bridge.api": 1,
    "bridge.config": 2,
    "bridge.spool": 2,
    "bridge.plugins": 2,
    "bridge.dropins": 2,
    "bridge.systemd": 2,
    "bridge.testing": 2,
    "bridge.flow": 3,
    "bridge.http": 3,
    "bridge.instance": 4,
    "bridge.running": 4,
    "bridge.daemon": 4,
    "bridge.admin": 4,
    "bridge.demo": 5,
    "bridge.certificates": 5,
    "bridge.commands": 5,
    "bridge.cli": 5,
    "bridge.__main__": 5,
}
SAME_FLOOR = {
    ("bridge.plugins", "bridge.dropins"),
    ("bridge.daemon", "bridge.admin"),
    ("bridge.daemon", "bridge.instance"),
    ("bridge.daemon", "bridge.running"),
    ("bridge.running", "bridge.instance"),
    ("bridge.instance", "bridge.admin"),
    ("bridge.__main__", "bridge.cli"),
    ("bridge.cli", "bridge.certificates"),
    ("bridge.cli", "bridge.demo"),
    ("bridge.cli", "bridge.commands"),
}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "plugins":
        parts[0] = "bridge_plugins"
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("path", modules("bridge"), ids=name_of)
def test_a_room_imports_only_from_floors_below(path: Path):
    name = name_of(path)
    if name == "bridge":
        return
    own = room(name)
    for imported in imports(path):
        if not imported.startswith("bridge.") or room(imported) == own or imported == "bridge.__version__":
            continue
        other = room(imported)
        assert FLOORS[other] < FLOORS[own] or (own, other) in SAME_FLOOR, f"{name} imports {imported}"


@pytest.mark.parametrize("path", modules("plugins"), ids=name_of)
def test_a_plugin_imports_the_contract_and_its_own_package_only(path: Path):
    own = ".".join(name_of(path).split(".")[:2])
    for imported in imports(path):
        top = imported.split(".")[0]
        if top == "bridge":
            assert room(imported) == "bridge.api", f"{path} imports {imported}"
        elif top == "bridge_plugins":
            assert imported == own or imported.startswith(f"{own}."), f"{path} imports {imported}"


@pytest.mark.parametrize("path", modules("bridge"), ids=name_of)
def test_the_core_names_no_vendor(path: Path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        words = [
            word
            for word in (
                getattr(node, "id", None),
                getattr(node, "attr", None),
                getattr(node, "name", None),
                node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None,
            )
            if isinstance(word, str)
        ]
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" in node.value:
            continue  # docstrings may use a vendor as an example
        for word in words:
            assert not VENDORS.search(word), f"{path}: {word!r}"


@pytest.mark.parametrize("path", [*modules("bridge"), *modules("plugins")], ids=name_of)
def test_a_module_holds_one_idea(path: Path):
    assert len(path.read_text("utf-8").splitlines()) <= 400, f"{path} has more than one idea in it"
