"""The phone book: which plugins there are, what became of each, and what they have.

    entry points of the group "bridge" ──┐
                                         ├─▶ pluggy ─▶ kinds by name, a record each
    files of the plugin folders ─────────┘ (dropins decides which may run)

The bundled plugins come through the same door as a stranger's. Every implementation is
called by itself, so that one that raises harms nobody else. A plugin that could not be
loaded is a record with a reason; it stops the start only if a section of the
configuration needs it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
from attrs import define, field, frozen

from bridge.api import Command, SinkKind, SourceKind, SpoolKind, hookspecs
from bridge.plugins.dropins import (
    BadDropinError,
    DropinFile,
    LoadOutcome,
    failure,
    find_dropins,
    load_dropin,
    unreadable_folders,
)
from bridge.testing.emulation import EmulatorKind

GROUP = "bridge"
EMULATORS = "bridge.emulators"
"""Group of the emulators, which the daemon never loads."""


@frozen
class Record:
    """What became of one plugin."""

    name: str
    origin: str
    """Distribution and version, or the path of the file."""
    outcome: LoadOutcome
    reason: str = ""
    """Why it is not loaded, in one sentence."""
    kinds: tuple[str, ...] = ()
    """What it has, such as ``source acme``."""


class _Family(enum.Enum):
    """The hooks that give named things, and the class of what each gives."""

    source = ("bridge_source_kinds", SourceKind)
    sink = ("bridge_sink_kinds", SinkKind)
    spool = ("bridge_spool_kinds", SpoolKind)
    emulator = ("bridge_emulators", EmulatorKind)
    command = ("bridge_commands", Command)


@define
class Registry:
    """All plugins that were found."""

    sources: dict[str, SourceKind[Any]] = field(factory=dict)
    sinks: dict[str, SinkKind[Any]] = field(factory=dict)
    spools: dict[str, SpoolKind[Any]] = field(factory=dict)
    emulators: dict[str, EmulatorKind] = field(factory=dict)
    commands: dict[str, Command] = field(factory=dict)
    """By both words, such as ``acme devices``."""
    records: list[Record] = field(factory=list)

    def family(self, family: _Family) -> dict[str, Any]:
        """Return the kinds of one family by name."""
        families: dict[_Family, dict[str, Any]] = {
            _Family.source: self.sources,
            _Family.sink: self.sinks,
            _Family.spool: self.spools,
            _Family.emulator: self.emulators,
            _Family.command: self.commands,
        }
        return families[family]

    @property
    def unusable(self) -> Mapping[str, str]:
        """Names of plugins that are not loaded, and why."""
        bad = [record for record in self.records if record.outcome is not LoadOutcome.loaded]
        return {
            record.name: f"{record.origin}: {record.outcome.value}: {record.reason}"
            for record in bad
        }


def load_plugins(folders: Sequence[Path]) -> Registry:
    """Find and load all plugins: installed ones first, then the files of the folders,
    sorted by name.
    """
    manager = pluggy.PluginManager("bridge")
    manager.add_hookspecs(hookspecs)
    registry = Registry()
    _load_group(GROUP, manager, registry)
    for folder, reason in unreadable_folders(folders):
        registry.records.append(Record(str(folder), str(folder), LoadOutcome.failed, reason))
    for file in find_dropins(folders):
        _load_file(file, manager, registry)
    return registry


def load_emulators() -> Registry:
    """Find and load the plugins, and besides them the emulators."""
    registry = load_plugins(())
    manager = pluggy.PluginManager("bridge")
    manager.add_hookspecs(hookspecs)
    # A plugin of version 1.0 may bring one along.
    emulators = Registry(emulators=registry.emulators)
    _load_group(EMULATORS, manager, emulators)
    registry.records += emulators.records
    return registry


def _load_group(group: str, manager: pluggy.PluginManager, registry: Registry) -> None:
    for entry in sorted(
        metadata.entry_points(group=group), key=lambda entry: (entry.name, entry.value)
    ):
        _load_entry_point(entry, manager, registry)


def _load_entry_point(
    entry: metadata.EntryPoint, manager: pluggy.PluginManager, registry: Registry
) -> None:
    origin = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
    if _taken(entry.name, origin, registry):
        return
    try:
        module = entry.load()
    except (Exception, SystemExit) as exc:
        registry.records.append(Record(entry.name, origin, LoadOutcome.failed, failure(exc)))
    else:
        _register(entry.name, origin, module, manager, registry)


def _load_file(file: DropinFile, manager: pluggy.PluginManager, registry: Registry) -> None:
    origin = str(file.path)
    if _taken(file.name, origin, registry):
        return
    try:
        module = load_dropin(file)
    except BadDropinError as bad:
        registry.records.append(Record(file.name, origin, bad.outcome, bad.reason))
    else:
        _register(file.name, origin, module, manager, registry)


def _taken(name: str, origin: str, registry: Registry) -> bool:
    """Refuse a second plugin of one name, before any of its code runs."""
    first = next((record for record in registry.records if record.name == name), None)
    if first is None or first.outcome is not LoadOutcome.loaded:
        return False
    reason = f"the name {name!r} is taken by the plugin of {first.origin}; rename one of them"
    registry.records.append(Record(name, origin, LoadOutcome.refused, reason))
    return True


def _register(
    name: str, origin: str, module: ModuleType, manager: pluggy.PluginManager, registry: Registry
) -> None:
    """Register one module and collect what it has, or record why not."""
    try:
        manager.register(module, name=name)
        found = sorted(
            _collect(name, module, manager), key=lambda pair: list(_Family).index(pair[0])
        )
        _check_names(found, registry)
    except (Exception, SystemExit) as exc:
        if manager.has_plugin(name):
            manager.unregister(name=name)
        reason = str(exc) if isinstance(exc, _UnfitPluginError) else failure(exc)
        registry.records.append(Record(name, origin, LoadOutcome.failed, reason))
        return
    for family, kind in found:
        registry.family(family)[_key(kind)] = kind
    kinds = tuple(
        f"{family.name} {_key(kind)}" for family, kind in found if family is not _Family.emulator
    )
    registry.records.append(Record(name, origin, LoadOutcome.loaded, kinds=kinds))


def _key(kind: Any) -> str:
    return f"{kind.kind} {kind.name}" if isinstance(kind, Command) else str(kind.name)


class _UnfitPluginError(Exception):
    """A plugin does not keep the contract; the message says how."""


def _collect(
    name: str, module: ModuleType, manager: pluggy.PluginManager
) -> Iterable[tuple[_Family, Any]]:
    """Call each hook implementation of one plugin by itself."""
    callers = manager.get_hookcallers(module) or []
    if not callers:
        raise _UnfitPluginError(
            "has no hook; expected a function such as bridge_sink_kinds, marked with @hookimpl"
        )
    known = {family.value[0]: family for family in _Family}
    for caller in callers:
        family = known.get(caller.name)
        if family is None:
            raise _UnfitPluginError(
                f"has an unknown hook {caller.name!r}; the hooks are {', '.join(known)}"
            )
        for implementation in caller.get_hookimpls():
            if implementation.plugin_name != name:
                continue
            function: Callable[[], Iterable[Any]] = implementation.function  # type: ignore[assignment]
            for kind in function():
                if not isinstance(kind, family.value[1]):
                    expected = family.value[1].__name__
                    raise _UnfitPluginError(
                        f"{caller.name} gave a {type(kind).__name__}; expected {expected} objects"
                    )
                yield family, kind


def _check_names(found: Sequence[tuple[_Family, Any]], registry: Registry) -> None:
    for family, kind in found:
        if _key(kind) in registry.family(family):
            raise _UnfitPluginError(
                f"the {family.name} {_key(kind)!r} is taken by another plugin; rename one of them"
            )
