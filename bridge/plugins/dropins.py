"""Drop-in plugins: files of Python code in the folders of ``[bridge] plugins``.

A file is code that runs with all rights and secrets of the bridge, so before any of it
runs:

1. its name must be an identifier (``my_sink.py``, or a folder with ``__init__.py``);
2. it and every folder above belong to root or to the bridge's user, and nobody else may
   write there;
3. it says for which version of the contract it was written: ``BRIDGE_API = (1, 2)``;
4. the packages of its PEP 723 block are installed. Nothing is ever installed by itself.

It becomes the module ``bridge_dropin.STEM``: a file called ``json.py`` shadows nothing.
"""

from __future__ import annotations

import ast
import enum
import importlib.util
import os
import re
import stat
import sys
import tomllib
import traceback
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType

from attrs import frozen
from packaging.requirements import InvalidRequirement, Requirement

from bridge.api import API_VERSION
from bridge.api.former import FORMER_NAMES

PACKAGE = "bridge_dropin"


class LoadOutcome(enum.Enum):
    """What became of a plugin."""

    loaded = "loaded"
    refused = "refused"
    incompatible = "incompatible"
    missing_dependency = "missing dependency"
    failed = "failed"


class BadDropinError(Exception):
    """A file is not loaded, or failed while it was."""

    def __init__(self, outcome: LoadOutcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


@frozen
class DropinFile:
    """A file, or a folder with ``__init__.py``, in a plugin folder."""

    name: str
    path: Path


def find_dropins(folders: Sequence[Path]) -> Iterator[DropinFile]:
    """Yield the candidates of all folders, sorted by name within each.

    Hidden files and backups are left out.
    """
    for folder in folders:
        try:
            paths = sorted(folder.iterdir())
        except OSError:
            continue  # `unreadable_folders` says so
        for path in paths:
            if path.name.startswith(("_", ".")):
                continue
            if path.suffix == ".py" and path.is_file():
                yield DropinFile(path.stem, path)
            elif (path / "__init__.py").is_file():
                yield DropinFile(path.name, path / "__init__.py")


def unreadable_folders(folders: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the plugin folders that cannot be listed, each with the reason."""
    for folder in folders:
        try:
            os.listdir(folder)
        except OSError as exc:
            yield folder, f"the folder cannot be read: {exc.strerror}; see [bridge] plugins"


def load_dropin(file: DropinFile) -> ModuleType:
    """Check a file, then run it.

    :raises BadDropinError: saying why it was not run, or how it failed and in which of
        its lines.
    """
    if not file.name.isidentifier():
        raise BadDropinError(
            LoadOutcome.refused,
            f"{file.name!r} is no Python name; use letters, digits and _, such as my_sink.py",
        )
    _check_permissions(file.path)
    try:
        source = file.path.read_text("utf-8")
        tree = ast.parse(source)
    except (OSError, ValueError, SyntaxError) as exc:
        line = f"line {exc.lineno}: " if isinstance(exc, SyntaxError) else ""
        raise BadDropinError(LoadOutcome.failed, f"{line}{exc}") from exc
    _check_version(tree)
    _check_requirements(source)
    return _run(file)


def _check_permissions(path: Path) -> None:
    """Refuse what others could have written.

    A sticky folder further up, such as that for temporary files, is fine.
    """
    trusted = {0, os.geteuid()}
    real = path.resolve()
    for index, place in enumerate((real, *real.parents)):
        info = place.stat()
        if info.st_uid not in trusted:
            raise BadDropinError(
                LoadOutcome.refused,
                f"{place} belongs to another user; give it to root or to the bridge's user",
            )
        sticky = index > 1 and info.st_mode & stat.S_ISVTX
        if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky:
            raise BadDropinError(
                LoadOutcome.refused, f"{place} can be written by others; run: chmod go-w {place}"
            )


def _check_version(tree: ast.Module) -> None:
    """Read ``BRIDGE_API`` without running anything."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(name, ast.Name) and name.id == "BRIDGE_API" for name in node.targets
        ):
            try:
                major, minor = map(int, ast.literal_eval(node.value))
            except (ValueError, TypeError):
                break
            if major != API_VERSION[0]:
                here = ".".join(map(str, API_VERSION))
                text = f"was written for version {major}.{minor}, this is {here}"
                raise BadDropinError(LoadOutcome.incompatible, text + _names_to_change(tree))
            return
    raise BadDropinError(
        LoadOutcome.incompatible,
        f"does not say for which version it was written; add the line BRIDGE_API = {API_VERSION}",
    )


def _names_to_change(tree: ast.Module) -> str:
    """Return which of the names that a file imports are called otherwise now."""
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "bridge.api"
        for alias in node.names
    }
    changed = [f"{name} is {FORMER_NAMES[name]}" for name in sorted(imported & FORMER_NAMES.keys())]
    return f"; names to change: {', '.join(changed)}" if changed else ""


def _check_requirements(source: str) -> None:
    """Compare the PEP 723 block with what is installed."""
    block = re.search(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$", source)
    if block is None:
        return
    text = "".join(
        line[2:] if line.startswith("# ") else line[1:]
        for line in block["content"].splitlines(True)
    )
    try:
        needed = [Requirement(item) for item in tomllib.loads(text).get("dependencies", [])]
    except (tomllib.TOMLDecodeError, InvalidRequirement, TypeError) as exc:
        raise BadDropinError(
            LoadOutcome.failed, f"its block '# /// script' cannot be read: {exc}"
        ) from exc
    missing = [str(requirement) for requirement in needed if not _installed(requirement)]
    if missing:
        command = "pip install " + " ".join(f"'{item}'" for item in missing)
        raise BadDropinError(
            LoadOutcome.missing_dependency,
            f"needs {', '.join(missing)}; install beside bridge, then restart: {command}",
        )


def _installed(requirement: Requirement) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def _run(file: DropinFile) -> ModuleType:
    name = f"{PACKAGE}.{file.name}"
    package = sys.modules.setdefault(PACKAGE, ModuleType(PACKAGE))
    package.__path__ = []
    folders = [str(file.path.parent)] if file.path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(
        name, file.path, submodule_search_locations=folders
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: annotations are resolved through here
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as exc:
        for loaded in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
            del sys.modules[loaded]
        raise BadDropinError(LoadOutcome.failed, failure(exc, file.path)) from exc
    finally:
        sys.dont_write_bytecode = writes_bytecode
    return module


def failure(exc: BaseException, path: Path | None = None) -> str:
    """Return what was raised, and in which line of the plugin's own file."""
    text = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    frames = traceback.extract_tb(exc.__traceback__)
    lines = [frame.lineno for frame in frames if path is not None and frame.filename == str(path)]
    return f"line {lines[-1]}: {text}" if lines else text
