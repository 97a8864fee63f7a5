"""Loading a configuration: the files read, every section understood, everything that is
wrong found at once.

    read(path) ─▶ Document ─┬─▶ bridge_settings(document)             names the folders of drop-in plugins
                            └─▶ understand(document, kinds) ─▶ Loaded

In two steps, because plugins are loaded in between: their settings classes say what the
other sections may hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from bridge.api import SettingError, SinkKind, SourceKind, SpoolKind
from bridge.config import checks
from bridge.config.diagnostics import Problem
from bridge.config.fields import keys
from bridge.config.ini import Section
from bridge.config.model import Config, Kinds, Loaded, SinkConfig, SourceConfig, SpoolConfig
from bridge.config.plugin_sections import Part, read_sink, read_source, read_spool
from bridge.config.redaction import Redaction
from bridge.config.references import References
from bridge.config.schema import AdminSettings, BridgeSettings
from bridge.config.sections import arrange
from bridge.config.source_files import Document, read
from bridge.config.structure import Filled, fill, unknown_keys
from bridge.config.values import Reader
from bridge.http.settings import ListenerSettings

S = TypeVar("S")


def load(path: Path, kinds: Kinds, *, environ: Mapping[str, str], checking: bool = False) -> Loaded:
    """Read and understand a configuration in one step.

    :param path: the main file.
    :param environ: for ``${env:NAME}``, and for the folder of the credentials.
    :param checking: True if this is not the daemon: credentials it cannot know are
        warnings then.
    """
    return understand(read(path), kinds, environ=environ, checking=checking)


def bridge_settings(document: Document, *, environ: Mapping[str, str]) -> BridgeSettings:
    """Give ``[bridge]`` alone, with defaults in place of what is wrong there:
    ``understand`` will report that.
    """
    reader = _reader(document, environ, checking=True)
    return BridgeSettings(**fill(BridgeSettings, document.section("bridge"), reader).values)


def admin_settings(document: Document, *, environ: Mapping[str, str]) -> AdminSettings:
    """Give ``[admin]`` alone, likewise."""
    reader = _reader(document, environ, checking=True)
    values = fill(AdminSettings, document.section("admin"), reader).values
    try:
        return AdminSettings(**values)
    except SettingError:
        return AdminSettings(socket=values.get("socket"))


def _reader(document: Document, environ: Mapping[str, str], *, checking: bool) -> Reader:
    return Reader(
        References.from_environment(environ, instance=document.instance, checking=checking)
    )


def section_names(document: Document, kind: SourceKind[Any] | SinkKind[Any]) -> list[str]:
    """Give the NAMEs of the sections of a kind, as far as ``plugin`` says it in plain
    text.
    """
    layout = arrange(document)
    sections = layout.sources if isinstance(kind, SourceKind) else layout.sinks
    return [
        name
        for name, section in sections.items()
        if (section.values["plugin"].text if "plugin" in section.values else name) == kind.name
    ]


def understand(
    document: Document, kinds: Kinds, *, environ: Mapping[str, str], checking: bool = False
) -> Loaded:
    """Understand a document with what the plugins say about their sections.

    Parameters as for ``load``.
    """
    reader = _reader(document, environ, checking=checking)
    layout = arrange(document)

    bridge = _fill_core(BridgeSettings, document.section("bridge"), reader)
    admin = _fill_core(AdminSettings, document.section("admin"), reader)
    listeners = {
        name: _fill_core(ListenerSettings, section, reader)
        for name, section in layout.listeners.items()
    }
    spool = read_spool(document.section("spool"), kinds, reader)
    sources = [
        read_source(name, section, layout.tables.get(section.name, {}), kinds, reader)
        for name, section in layout.sources.items()
    ]
    sinks = [
        read_sink(name, section, layout.tables.get(section.name, {}), kinds, reader)
        for name, section in layout.sinks.items()
    ]

    understood: list[Filled[Any] | Part[Any]] = [
        bridge,
        spool,
        admin,
        *listeners.values(),
        *sources,
        *sinks,
    ]
    entries = tuple(entry for each in understood for entry in each.entries)
    addresses = [
        (layout.listeners[name], filled.values.get("address")) for name, filled in listeners.items()
    ]
    problems = [
        *document.problems,
        *layout.problems,
        *(problem for each in understood for problem in each.problems),
        *checks.unknown_listeners(sources, listeners),
        *checks.unknown_sources(sinks, sources),
        *checks.claimed_paths(sources),
        *checks.claimed_addresses(
            [*addresses, (document.section("admin"), admin.values.get("address"))]
        ),
        *checks.missing_ends(document, sources, sinks),
        *checks.exposed_secrets(document, entries),
    ]
    refused = any(problem.severity == "error" for problem in problems)
    redact = Redaction(tuple(text for each in understood for text in each.confidential))
    return Loaded(
        None if refused else _config(bridge, admin, listeners, spool, sources, sinks, redact),
        _in_order(document, problems),
        entries,
        {name: section.place for name, section in document.sections.items()},
        redact,
        {
            name: filled.settings
            for name, filled in listeners.items()
            if filled.settings is not None and not filled.pending
        },
    )


def _config(
    bridge: Filled[BridgeSettings],
    admin: Filled[AdminSettings],
    listeners: Mapping[str, Filled[ListenerSettings]],
    spool: Part[SpoolKind[Any]],
    sources: Sequence[Part[SourceKind[Any]]],
    sinks: Sequence[Part[SinkKind[Any]]],
    redact: Redaction,
) -> Config | None:
    """Put the parts together; None if one lacks a credential that could not be looked
    up.
    """
    listening = {
        name: filled.settings for name, filled in listeners.items() if filled.settings is not None
    }
    if bridge.settings is None or admin.settings is None or len(listening) < len(listeners):
        return None
    parts: list[Part[Any]] = [spool, *sources, *sinks]
    if spool.kind is None or not all(part.complete for part in parts):
        return None
    return Config(
        bridge=bridge.settings,
        admin=admin.settings,
        spool=SpoolConfig(spool.kind, spool.core, spool.settings, str(spool.section.place)),
        listeners=listening,
        sources=tuple(
            SourceConfig(part.name, part.kind, part.core, part.settings, str(part.section.place))
            for part in sources
            if part.enabled and part.kind is not None
        ),
        sinks=tuple(
            SinkConfig(part.name, part.kind, part.core, part.settings, str(part.section.place))
            for part in sinks
            if part.enabled and part.kind is not None
        ),
        source_names=tuple(part.name for part in sources),
        sink_names=tuple(part.name for part in sinks),
        redact=redact,
    )


def _fill_core(wanted: type[S], section: Section, reader: Reader) -> Filled[S]:
    filled = fill(wanted, section, reader)
    strangers = unknown_keys(section, keys(wanted))
    return attrs.evolve(filled, problems=(*filled.problems, *strangers))


def _in_order(document: Document, problems: list[Problem]) -> tuple[Problem, ...]:
    """Sort problems by file, as read, and line; what two checks found is said once."""
    rank = {name: number for number, name in enumerate(document.files)}
    return tuple(
        sorted(
            dict.fromkeys(problems),
            key=lambda problem: (rank.get(problem.file, len(rank)), problem.line or 0),
        )
    )
