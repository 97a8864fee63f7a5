"""The files of one configuration: the main file and the folder beside it, joined.

    /etc/bridge/office.ini           first
    /etc/bridge/office.d/*.ini       then these, sorted by name

A later file wins key by key; where the earlier values stood is kept. A file that cannot
be read is a problem, and the others are read all the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

import attrs
from attrs import frozen

from bridge.api import printable
from bridge.config.diagnostics import Place, Problem
from bridge.config.files import Unreadable, read_file
from bridge.config.ini import Section, Value, parse

MAX_FILE = 4 << 20  # bytes; far above any real one, far below what hurts


@frozen
class Document:
    """What the files of a configuration say, not yet understood."""

    files: tuple[str, ...]
    """Names in the order read: the main file first."""
    sections: Mapping[str, Section]
    problems: tuple[Problem, ...]
    """Of reading and of the syntax."""
    complete: bool
    """False if a file could not be read."""
    exposed: frozenset[str]
    """Names of the files that may be read by others than the daemon and root."""

    @property
    def main(self) -> Place:
        """The main file as a whole."""
        return Place(self.files[0])

    @property
    def instance(self) -> str:
        """Name of the instance: the stem of the main file."""
        return Path(self.files[0]).stem

    def section(self, name: str) -> Section:
        """Give a section, empty if no file has it."""
        return self.sections.get(name) or Section(name, self.main)


def read(path: Path) -> Document:
    """Read a configuration. Never raises for what is in the files or in the file
    system.

    :param path: the main file.
    """
    names = {path: _label(path.name or str(path))}
    problems: list[Problem] = []
    try:
        names |= {
            extra: _label(f"{extra.parent.name}/{extra.name}") for extra in _extra_files(path)
        }
    except OSError as exc:
        problems.append(
            Problem(_label(f"{path.stem}.d"), None, None, None, f"cannot be read: {exc.strerror}")
        )
    complete = not problems
    sections: dict[str, Section] = {}
    exposed = set()
    groups = _own_groups()
    for file, name in names.items():
        try:
            content, status = read_file(file, MAX_FILE)
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            line = exc.object.count(b"\n", 0, exc.start) + 1
            problems.append(
                Problem(name, line, None, None, "is not UTF-8 text; save the file as UTF-8")
            )
            complete = False
        except Unreadable as exc:
            problems.append(Problem(name, None, None, None, f"cannot be read: {exc}"))
            complete = False
        else:
            if readable_by_strangers(status.st_mode, status.st_gid, groups):
                exposed.add(name)
            found, mistakes = parse(text, name)
            problems += mistakes
            _merge(sections, found)
    return Document(tuple(names.values()), sections, tuple(problems), complete, frozenset(exposed))


def readable_by_strangers(mode: int, group: int, own_groups: Collection[int] | None) -> bool:
    """Tell whether a file may be read by others than its owner and the daemon.

    :param own_groups: ids of the daemon's groups; None if they are not known, then its
        group is taken for one of them.
    """
    if mode & stat.S_IROTH:
        return True
    return bool(mode & stat.S_IRGRP) and own_groups is not None and group not in own_groups


def _own_groups() -> frozenset[int] | None:
    # root checks the configuration on behalf of a daemon whose group it cannot know
    return None if os.geteuid() == 0 else frozenset((os.getegid(), *os.getgroups()))


def _label(name: str) -> str:
    return printable(name.encode("utf-8", "backslashreplace").decode())


def _extra_files(path: Path) -> list[Path]:
    """List what stands beside the main file.

    :raises OSError: when the folder is there, but cannot be read.
    """
    folder = path.parent / f"{path.stem}.d"
    try:
        names = os.listdir(folder)
    except (
        FileNotFoundError,
        NotADirectoryError,
        ValueError,
    ):  # ValueError: a NUL character, said of the main file
        return []
    return [
        folder / name
        for name in sorted(names)
        if name.endswith(".ini") and not name.startswith(".")
    ]


def _merge(sections: dict[str, Section], later: list[Section]) -> None:
    for section in later:
        values = sections.setdefault(section.name, Section(section.name, section.place)).values
        for key, value in section.values.items():
            values[key] = _shadow(values.get(key), value)


def _shadow(earlier: Value | None, later: Value) -> Value:
    if earlier is None:
        return later
    return attrs.evolve(later, shadowed=(*earlier.shadowed, earlier.place))
