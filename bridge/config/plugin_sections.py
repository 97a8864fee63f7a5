"""Sections that name a plugin: sources, sinks and the spool.

Such a section holds the core's settings and the plugin's side by side, and a source or
sink may have tables in sections of their own. The plugin is found first, because only
then is it known what the section may hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import attrs
from attrs import frozen

from bridge.api import SinkKind, SourceKind, SpoolKind
from bridge.config.diagnostics import Problem, listed, nearest
from bridge.config.fields import Declared, Mistake, declared, keys
from bridge.config.ini import Section
from bridge.config.model import Kinds
from bridge.config.redaction import Confidential
from bridge.config.references import BadReference
from bridge.config.schema import (
    SinkSettings,
    SourceSettings,
    SpoolSettings,
    recovery_defaults,
    source_settings,
)
from bridge.config.structure import Entry, fill, unknown_keys
from bridge.config.values import Reader, Unchecked, Unfit

K = TypeVar("K", bound=SourceKind[Any] | SinkKind[Any] | SpoolKind[Any])


@frozen
class Part(Generic[K]):
    """One such section, as far as it was understood."""

    name: str
    section: Section
    kind: K | None = None
    core: Any = None
    settings: Any = None
    values: Mapping[str, Any] = attrs.field(factory=dict)
    """The core's settings that are good, each by itself."""
    entries: tuple[Entry, ...] = ()
    problems: tuple[Problem, ...] = ()
    confidential: tuple[Confidential, ...] = ()
    """What no message may show."""

    @property
    def complete(self) -> bool:
        """Whether it can be run."""
        return self.core is not None and self.settings is not None

    @property
    def enabled(self) -> bool:
        """Whether it is to be run."""
        return bool(self.values.get("enabled", True))


def read_source(
    name: str, section: Section, tables: Mapping[str, Section], kinds: Kinds, reader: Reader
) -> Part[SourceKind[Any]]:
    """Understand a section ``[source:NAME]``."""
    kind, problems = _find_plugin("source", section, name, kinds.sources, kinds, reader)
    if kind is None:
        return _read(Part(name, section, kind, problems=problems), SourceSettings, tables, reader)
    core = source_settings(called=kind.paths is not None, recovers=kind.recovery is not None)
    part = _read(Part(name, section, kind, problems=problems), core, tables, reader)
    return part if kind.recovery is None else _with_defaults(part, recovery_defaults(kind.recovery))


def read_sink(
    name: str, section: Section, tables: Mapping[str, Section], kinds: Kinds, reader: Reader
) -> Part[SinkKind[Any]]:
    """Understand a section ``[sink:NAME]``."""
    kind, problems = _find_plugin("sink", section, name, kinds.sinks, kinds, reader)
    part = _read(Part(name, section, kind, problems=problems), SinkSettings, tables, reader)
    if kind is None:
        return part
    return _with_defaults(part, {"batch": str(kind.batch), "in_flight": str(kind.in_flight)})


def read_spool(section: Section, kinds: Kinds, reader: Reader) -> Part[SpoolKind[Any]]:
    """Understand the section ``[spool]``."""
    default = next(
        setting.default for setting in declared(SpoolSettings) if setting.key == "plugin"
    )
    kind, problems = _find_plugin("spool", section, default, kinds.spools, kinds, reader)
    return _read(Part("spool", section, kind, problems=problems), SpoolSettings, {}, reader)


def _find_plugin(
    role: str,
    section: Section,
    default: str,
    choices: Mapping[str, K],
    kinds: Kinds,
    reader: Reader,
) -> tuple[K | None, tuple[Problem, ...]]:
    """Give the kind that a section names.

    Without one there is a problem, here or where the value is read.
    """
    value = section.values.get("plugin")
    try:
        name = default if value is None else reader.read(value.text, str).value or default
    except (BadReference, Unchecked, Unfit):
        return None, ()
    if name in choices:
        return choices[name], ()
    if name in kinds.unusable:
        text = f"the plugin '{name}' cannot be used: {kinds.unusable[name]}"
    else:
        text = f"no {role} plugin is called '{name}'{_hint(role, name, choices, kinds)}"
    return None, (Problem.at(section.place_of("plugin"), section.name, "plugin", text),)


def _hint(role: str, name: str, choices: Mapping[str, Any], kinds: Kinds) -> str:
    others: dict[str, Mapping[str, Any]] = {
        "source": kinds.sources,
        "sink": kinds.sinks,
        "spool": kinds.spools,
    }
    for other, names in others.items():
        if name in names:
            return f"; the plugin of this name is a {other}"
    meant = nearest(name, [*choices, *kinds.unusable])
    return f"; did you mean '{meant}'?" if meant else f"; known: {listed(sorted(choices))}"


def _read(part: Part[K], core: type[Any], tables: Mapping[str, Section], reader: Reader) -> Part[K]:
    core_filled = fill(core, part.section, reader)
    part = attrs.evolve(
        part,
        core=core_filled.settings,
        values=core_filled.values,
        entries=core_filled.entries,
        problems=(*part.problems, *core_filled.problems),
        confidential=core_filled.confidential,
    )
    kind = part.kind
    if kind is None:
        return part
    try:
        filled = fill(kind.settings, part.section, reader, tables)
        known = keys(core, kind.settings)
    except Mistake as exc:
        problem = Problem.at(part.section.place_of("plugin"), part.section.name, "plugin", str(exc))
        return attrs.evolve(part, problems=(*part.problems, problem))
    shared = {setting.key for setting in declared(core)}  # what both declare is listed once
    own_entries = [
        entry
        for entry in filled.entries
        if entry.section != part.section.name or entry.key not in shared
    ]
    strangers = (
        *unknown_keys(part.section, known),
        *_unknown_tables(kind.name, part.section, known, tables),
    )
    part = attrs.evolve(
        part,
        settings=filled.settings,
        entries=(*part.entries, *own_entries),
        problems=(*part.problems, *filled.problems, *strangers),
        confidential=(*part.confidential, *filled.confidential),
    )
    return _with_defaults(part, {"plugin": kind.name})


def _unknown_tables(
    plugin: str, owner: Section, known: Mapping[str, Declared], tables: Mapping[str, Section]
) -> Iterator[Problem]:
    fields = [key for key, setting in known.items() if setting.is_table]
    for field, section in tables.items():
        if field in fields:
            continue
        if meant := nearest(field, fields):
            text = f"unknown table, did you mean [{owner.name}:{meant}]?"
        elif fields:
            text = f"unknown table; known: {listed(f'[{owner.name}:{each}]' for each in fields)}"
        else:
            text = f"unknown table; the plugin '{plugin}' has none"
        yield Problem.at(section.place, section.name, None, text)


def _with_defaults(part: Part[K], defaults: Mapping[str, str]) -> Part[K]:
    """Name the defaults that depend on the plugin."""
    return attrs.evolve(
        part,
        entries=tuple(
            attrs.evolve(entry, text=defaults[entry.key])
            if entry.section == part.section.name and entry.key in defaults and not entry.text
            else entry
            for entry in part.entries
        ),
    )
