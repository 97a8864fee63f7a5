"""The floors of the house: a room imports only from floors below its own, and never
sideways into another vendor.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VENDORS = re.compile(r"idigi|disruptive|wattsense|databoom", re.IGNORECASE)

FLOORS = {
    "bridge.api": 1,
    "bridge.config": 2,
    "bridge.spool": 2,
    "bridge.plugins": 2,
    "bridge.testing": 2,
    "bridge.flow": 3,
    "bridge.http": 3,
    "bridge.daemon": 4,
    "bridge.admin": 4,
    "bridge.cli": 5,
    "bridge.__main__": 5,
}
SAME_FLOOR = {
    ("bridge.plugins", "bridge.testing"),  # emulators are found as plugins are
    ("bridge.daemon", "bridge.admin"),
    ("bridge.__main__", "bridge.cli"),
}
"""Pairs of rooms of one floor of which the first may see the second."""

STRANGERS = {("bridge.flow", "bridge.config"), ("bridge.http", "bridge.config")}
"""Pairs of rooms of which the first may not see the second, although that is on a floor
below.
"""


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "plugins":
        parts[0] = "bridge_plugins"
    return ".".join(part for part in parts if part != "__init__")


def package_of(path: Path) -> list[str]:
    parts = name_of(path).split(".")
    return parts if path.name == "__init__.py" else parts[:-1]


@cache
def imports(path: Path) -> tuple[str, ...]:
    """All that a module imports, wherever it does so, by absolute names."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path)
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def relative_imports(path: Path) -> bool:
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return any(isinstance(node, ast.ImportFrom) and node.level for node in nodes)


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("path", modules("bridge"), ids=name_of)
def test_a_room_imports_only_from_floors_below(path: Path):
    name = name_of(path)
    assert not relative_imports(path), "the rooms of the core name each other in full"
    if name == "bridge":
        return
    own = room(name)
    for imported in imports(path):
        if (
            not imported.startswith("bridge.")
            or room(imported) == own
            or imported == "bridge.__version__"
        ):
            continue
        pair = own, room(imported)
        assert FLOORS[pair[1]] < FLOORS[own] or pair in SAME_FLOOR, f"{name} imports {imported}"
        assert pair not in STRANGERS, f"{name} imports {imported}"


@pytest.mark.parametrize("path", modules("plugins"), ids=name_of)
def test_a_plugin_imports_the_contract_and_itself(path: Path):
    name = name_of(path)
    own = ".".join(name.split(".")[:2])
    allowed = ["bridge.api"]
    if is_in(name, f"{own}.emulator"):
        allowed.append("bridge.testing")
    for imported in imports(path):
        if is_in(imported, "bridge"):
            assert any(is_in(imported, room) for room in allowed), f"{name} imports {imported}"
        elif is_in(imported, "bridge_plugins"):
            assert is_in(imported, own), f"{name} imports {imported}"


@pytest.mark.parametrize("path", modules("plugins"), ids=name_of)
def test_within_a_vendor_imports_are_relative(path: Path):
    assert "bridge_plugins." not in path.read_text("utf-8")


@pytest.mark.fact("The emulator shares no code with the client", vendor="idigi")
@pytest.mark.parametrize("path", modules("plugins"), ids=name_of)
def test_product_and_emulator_are_apart(path: Path):
    name = name_of(path)
    own = ".".join(name.split(".")[:2])
    emulator = f"{own}.emulator"
    for imported in imports(path):
        if is_in(imported, own):
            assert is_in(imported, emulator) == is_in(name, emulator), f"{name} imports {imported}"


def test_no_modules_import_each_other_in_a_circle():
    paths = {name_of(path): path for path in modules("bridge", "plugins")}
    graph = {name: set(targets(path, paths)) for name, path in paths.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        pytest.fail(" → ".join(reversed(exc.args[1])))


def targets(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules that a module imports:

    ``from package import name`` means the module of that name, if there is one.
    """
    for imported in imports(path):
        for module in (imported, imported.rpartition(".")[0]):
            if module in known:
                yield module
                break


@pytest.mark.parametrize("path", modules("bridge"), ids=name_of)
def test_the_core_names_no_vendor(path: Path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        words = [
            word
            for word in (
                getattr(node, "id", None),
                getattr(node, "attr", None),
                getattr(node, "name", None),
                node.value
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
                else None,
            )
            if isinstance(word, str)
        ]
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" in node.value:
            continue  # docstrings may use a vendor as an example
        for word in words:
            assert not VENDORS.search(word), f"{path}: {word!r}"


@pytest.mark.parametrize("path", modules("bridge", "plugins"), ids=name_of)
def test_a_module_holds_one_idea(path: Path):
    assert len(path.read_text("utf-8").splitlines()) <= 400, f"{path} has more than one idea in it"
