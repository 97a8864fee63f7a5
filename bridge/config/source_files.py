"""The files of one configuration: the main file and the folder beside it, joined.

    /etc/bridge/office.ini           first
    /etc/bridge/office.d/*.ini       then these, sorted by name

A later file wins key by key; where the earlier values stood is kept. A file that cannot
be read is a diagnostic, and the others are read all the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

import attrs
from attrs import frozen

from bridge.api import printable
from bridge.config.diagnostics import Diagnostic, Location
from bridge.config.ini import Section, Value, parse

MAX_FILE = 4 << 20  # bytes; far above any real one, far below what hurts


class UnreadableFileError(Exception):
    """A file that cannot be read. The text completes "cannot be read: ..."."""


@frozen
class SourceFiles:
    """What the files of a configuration say, not yet understood."""

    files: tuple[str, ...]
    """Names in the order read: the main file first."""
    sections: Mapping[str, Section]
    diagnostics: tuple[Diagnostic, ...]
    """Of reading and of the syntax."""
    complete: bool
    """False if a file could not be read."""
    exposed: frozenset[str]
    """Names of the files that may be read by others than the daemon and root."""

    @property
    def main(self) -> Location:
        """The main file as a whole."""
        return Location(self.files[0])

    @property
    def instance(self) -> str:
        """Name of the instance: the stem of the main file."""
        return Path(self.files[0]).stem

    def section(self, name: str) -> Section:
        """Return a section, empty if no file has it."""
        return self.sections.get(name) or Section(name, self.main)


def read(path: Path) -> SourceFiles:
    """Read a configuration. Never raises for what is in the files or in the file
    system.

    :param path: the main file.
    """
    names = {path: _label(path.name or str(path))}
    diagnostics: list[Diagnostic] = []
    try:
        names |= {
            extra: _label(f"{extra.parent.name}/{extra.name}") for extra in _extra_files(path)
        }
    except OSError as exc:
        folder = Location(_label(f"{path.stem}.d"))
        diagnostics.append(Diagnostic(folder, None, None, f"cannot be read: {exc.strerror}"))
    complete = not diagnostics
    sections: dict[str, Section] = {}
    exposed = set()
    groups = _own_groups()
    for file, name in names.items():
        try:
            content, status = read_file(file, MAX_FILE)
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            line = exc.object.count(b"\n", 0, exc.start) + 1
            text = "is not UTF-8 text; save the file as UTF-8"
            diagnostics.append(Diagnostic(Location(name, line), None, None, text))
            complete = False
        except UnreadableFileError as exc:
            diagnostics.append(Diagnostic(Location(name), None, None, f"cannot be read: {exc}"))
            complete = False
        else:
            if readable_by_strangers(status.st_mode, status.st_gid, groups):
                exposed.add(name)
            found, mistakes = parse(text, name)
            diagnostics += mistakes
            _merge(sections, found)
    return SourceFiles(
        tuple(names.values()), sections, tuple(diagnostics), complete, frozenset(exposed)
    )


def read_file(path: Path, largest: int) -> tuple[bytes, os.stat_result]:
    """Read a file that a person named.

    :param largest: bytes it may have.
    :raises UnreadableFileError: if it cannot be opened, is no ordinary file, or is
        larger.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            # Opening a pipe would wait for its other end.
            raise UnreadableFileError("it is not an ordinary file")
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as exc:
        raise UnreadableFileError(exc.strerror or type(exc).__name__) from exc
    except ValueError as exc:
        raise UnreadableFileError("its name has a NUL character") from exc
    if len(content) > largest:
        raise UnreadableFileError(f"it is larger than {largest >> 20} MiB")
    return content, status


def readable_by_strangers(mode: int, group: int, own_groups: Collection[int] | None) -> bool:
    """Whether a file may be read by others than its owner and the daemon.

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
    except (FileNotFoundError, NotADirectoryError):
        return []
    except ValueError:  # a NUL character, which will be said of the main file
        return []
    return [
        folder / name
        for name in sorted(names)
        if name.endswith(".ini") and not name.startswith(".")
    ]


def _merge(sections: dict[str, Section], later: list[Section]) -> None:
    for section in later:
        values = sections.setdefault(section.name, Section(section.name, section.location)).values
        for key, value in section.values.items():
            values[key] = _shadow(values.get(key), value)


def _shadow(earlier: Value | None, later: Value) -> Value:
    if earlier is None:
        return later
    return attrs.evolve(later, shadowed=(*earlier.shadowed, earlier.location))
