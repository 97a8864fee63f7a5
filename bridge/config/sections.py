"""Which sections there may be, and which classes say what they hold.

    [bridge] [admin]                               one of each
    [spool]                                        one, of a plugin
    [listener:NAME]                                as many as wanted
    [source:NAME] [sink:NAME]                      as many as wanted, each of a plugin
    [source:NAME:FIELD] [sink:NAME:FIELD]          tables of a source or sink

A section of a plugin holds the core's settings and the plugin's side by side. The
plugin is found first, because only then is it known what the section may hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import attrs
from attrs import field, frozen

from bridge.api import AnyKind, SinkKind, SourceKind, SpoolKind
from bridge.config.diagnostics import Diagnostic, listed, nearest
from bridge.config.fields import fields_by_key
from bridge.config.ini import Section
from bridge.config.references import BadReferenceError
from bridge.config.source_files import SourceFiles
from bridge.config.structure import StructuredSection, Structurer
from bridge.config.values import UncheckedError, UnfitTextError, shown

SINGLE = ("bridge", "spool", "admin")
NAMED = ("listener", "source", "sink")
WITH_TABLES = ("source", "sink")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

C = TypeVar("C")
K = TypeVar("K", bound=AnyKind)


@frozen
class Core(Generic[C]):
    """The settings classes of the core's sections, by the rooms that use them."""

    bridge: type[Any]
    admin: type[Any]
    listener: type[Any]
    spool: type[Any]
    """The core's part of ``[spool]``; the rest belongs to the kind of spool."""
    source: Callable[[SourceKind[Any] | None], type[Any]]
    """Its part of a source of a kind; None: of a kind that was not found."""
    sink: type[Any]
    defaults: Callable[[AnyKind], Mapping[str, str]]
    """Texts of the defaults that depend on the kind."""
    config: Callable[..., C]
    """Makes the whole configuration: see ``load.understand``."""


@frozen
class Kinds:
    """What the sections may name with ``plugin = ...``, by name."""

    sources: Mapping[str, SourceKind[Any]] = field(factory=dict)
    sinks: Mapping[str, SinkKind[Any]] = field(factory=dict)
    spools: Mapping[str, SpoolKind[Any]] = field(factory=dict)
    unusable: Mapping[str, str] = field(factory=dict)
    """Plugins that could not be loaded, with the reason."""


def arrange(files: SourceFiles) -> tuple[dict[str, list[Section]], list[Diagnostic]]:
    """Sort the sections of a configuration, and report those that there may not be.

    :return: the sections that have a NAME by what they are, with their tables.
    """
    arranged: dict[str, list[Section]] = {role: [] for role in NAMED}
    tables: dict[str, dict[str, Section]] = {}
    diagnostics = []
    for section in files.sections.values():
        role, *names = section.name.split(":")
        if text := _misnamed(role, names):
            diagnostics.append(Diagnostic(section.location, section.name, None, text))
        elif len(names) == 1:
            arranged[role].append(section)
        elif len(names) == 2:
            tables.setdefault(f"{role}:{names[0]}", {})[names[1]] = section
    owners = [section.name for role in WITH_TABLES for section in arranged[role]]
    for owner in tables.keys() - set(owners):
        meant = nearest(owner, owners)
        for name, table in tables[owner].items():
            hint = f", did you mean [{meant}:{name}]?" if meant else ""
            text = f"there is no section [{owner}]{hint}"
            diagnostics.append(Diagnostic(table.location, table.name, None, text))
    with_tables = {
        role: [attrs.evolve(section, tables=tables.get(section.name, {})) for section in sections]
        for role, sections in arranged.items()
    }
    return with_tables, diagnostics


def _misnamed(role: str, names: list[str]) -> str | None:
    """Return what is wrong with the name of a section."""
    if role in SINGLE and not names:
        return None
    if role not in NAMED or not names:
        return _unknown(role, names)
    if not _NAME.fullmatch(names[0]):
        return f"expected [{role}:NAME], where NAME has 1 to 64 letters, digits, '-' and '_'"
    if len(names) > 1 + (role in WITH_TABLES):
        table = f" or [{role}:NAME:TABLE]" * (role in WITH_TABLES)
        return f"unknown section; expected [{role}:NAME]{table}"
    return None


def _unknown(role: str, names: list[str]) -> str:
    if role in NAMED:
        return f"expected a name, such as [{role}:office]"
    if role in SINGLE:
        return f"expected [{role}], without a name"
    meant = nearest(role, (*SINGLE, *NAMED))
    if meant in NAMED:
        return f"unknown section, did you mean [{':'.join((meant, *(names or ['NAME'])))}]?"
    if meant is not None:
        return f"unknown section, did you mean [{meant}]?"
    known = [f"[{name}]" for name in SINGLE] + [f"[{name}:NAME]" for name in NAMED]
    return f"unknown section; known: {', '.join(known)}"


def section_names(files: SourceFiles, kind: SourceKind[Any] | SinkKind[Any]) -> list[str]:
    """Return the NAMEs of the sections of a kind, as far as ``plugin`` says it in plain
    text.
    """
    sections, _ = arrange(files)
    return [
        section.label
        for section in sections["source" if isinstance(kind, SourceKind) else "sink"]
        if (section.values["plugin"].text if "plugin" in section.values else section.label)
        == kind.name
    ]


def structure_source(
    section: Section, core: Core[Any], kinds: Kinds, structurer: Structurer
) -> StructuredSection[SourceKind[Any]]:
    """Structure a section ``[source:NAME]``."""
    kind = _find_plugin("source", section, section.label, kinds.sources, kinds, structurer)
    return _structure(section, core.source(kind), kind, core, structurer)


def structure_sink(
    section: Section, core: Core[Any], kinds: Kinds, structurer: Structurer
) -> StructuredSection[SinkKind[Any]]:
    """Structure a section ``[sink:NAME]``."""
    kind = _find_plugin("sink", section, section.label, kinds.sinks, kinds, structurer)
    return _structure(section, core.sink, kind, core, structurer)


def structure_spool(
    section: Section, core: Core[Any], kinds: Kinds, structurer: Structurer
) -> StructuredSection[SpoolKind[Any]]:
    """Structure the section ``[spool]``."""
    default = fields_by_key(core.spool)["plugin"].default
    kind = _find_plugin("spool", section, default, kinds.spools, kinds, structurer)
    return _structure(section, core.spool, kind, core, structurer)


def _structure(
    section: Section, settings: type[Any], kind: K | None, core: Core[Any], structurer: Structurer
) -> StructuredSection[K]:
    if kind is None:
        return structurer.structure(section, settings, strict=False)
    defaults = {"plugin": kind.name, **core.defaults(kind)}
    return structurer.structure(section, settings, kind, defaults=defaults)


def _find_plugin(
    role: str,
    section: Section,
    default: str,
    choices: Mapping[str, K],
    kinds: Kinds,
    structurer: Structurer,
) -> K | None:
    """Return the kind that a section names; None, which is reported, if it is none."""
    value = section.values.get("plugin")
    name, written = default, f"'{default}'"
    try:
        if value is not None:
            text, references = structurer.reader.read(value.text, str)
            name, written = text or default, shown(value.text or default, str, references)
    except (BadReferenceError, UncheckedError, UnfitTextError):
        return None  # reported with the other settings of the section
    if name in choices:
        return choices[name]
    if name in kinds.unusable:
        text = f"the plugin {written} cannot be used: {kinds.unusable[name]}"
    else:
        text = f"no {role} plugin is called {written}{_hint(role, name, choices, kinds)}"
    structurer.report(section, "plugin", section.location_of("plugin"), text)
    return None


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
