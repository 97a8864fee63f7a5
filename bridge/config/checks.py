"""What only shows when sections are seen together: names that must exist, things that
only one may have.

Each check is a generator of diagnostics and looks at what is good so far: a mistake
elsewhere in a section does not hide one of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bridge.api import NetworkAddress, SinkKind, SourceKind
from bridge.config.diagnostics import Diagnostic, excerpt, listed, nearest
from bridge.config.ini import Section
from bridge.config.references import STORE_CREDENTIAL
from bridge.config.source_files import SourceFiles
from bridge.config.structure import Entry, StructuredSection

Sources = Sequence[StructuredSection[SourceKind[Any]]]
Sinks = Sequence[StructuredSection[SinkKind[Any]]]


def unknown_listeners(sources: Sources, listeners: Iterable[str]) -> Iterator[Diagnostic]:
    """Report sources that name a listener which does not exist."""
    names = list(listeners)
    for source in sources:
        wanted = source.values.get("listener")
        if wanted is not None and wanted not in names:
            text = f"there is no section [listener:{wanted}]{_meant(wanted, names)}"
            yield _at(source.section, "listener", text)


def unknown_sources(sinks: Sinks, sources: Sources) -> Iterator[Diagnostic]:
    """Report sinks that want a source which does not exist."""
    names = [source.name for source in sources]
    renamed = {source.values.get("formerly") or None: source.name for source in sources}
    for sink in sinks:
        for wanted in sink.values.get("sources", ()):
            if wanted in names:
                continue
            if wanted in renamed:
                meant = f"; '{wanted}' is called '{renamed[wanted]}' now"
            else:
                meant = _meant(wanted, names)
            text = f"there is no section [source:{wanted}]{meant}"
            yield _at(sink.section, "sources", text)


def claimed_names(sources: Sources) -> Iterator[Diagnostic]:
    """Report sources that had a name which another has, or had as well."""
    names = {source.name: source.section for source in sources}
    heirs: dict[str, Section] = {}
    for source in sources:
        former = source.values.get("formerly")
        if not former:
            continue
        owner = names.get(former) or heirs.setdefault(former, source.section)
        if owner is source.section and former == source.name:
            yield _at(source.section, "formerly", "expected another name than that of the section")
        elif owner is not source.section:
            text = (
                f"'{excerpt(former)}' belongs to [{owner.name}] ({owner.location}); only one "
                "section can take over what was stored under a name"
            )
            yield _at(source.section, "formerly", text)


def claimed_paths(sources: Sources) -> Iterator[Diagnostic]:
    """Report sources that want a path which another has on the same listener."""
    owners: dict[tuple[str, str], Section] = {}
    for source in sources:
        kind, section = source.kind, source.section
        if kind is None or kind.paths is None or not (source.enabled and source.complete):
            continue
        listener = source.core.listener
        try:
            paths = list(kind.paths(source.settings))
        except Exception as exc:
            text = (
                f"the plugin cannot name its paths ({type(exc).__name__}); report it to the author "
                "of the plugin"
            )
            yield _at(section, "plugin", text)
            continue
        for path in paths:
            owner = owners.setdefault((listener, path), section)
            if owner is not section:
                where = owner.location_of("path")
                text = (
                    f"'{excerpt(path)}' on listener '{listener}' belongs to [{owner.name}] "
                    f"({where}); choose another path"
                )
                yield _at(section, "path", text)


def claimed_addresses(sections: Iterable[StructuredSection[Any]]) -> Iterator[Diagnostic]:
    """Report sections that want an address which another has."""
    owners: dict[NetworkAddress, Section] = {}
    for structured in sections:
        section, address = structured.section, structured.values.get("address")
        if address is None or (address.port == 0 and address.systemd is None):
            continue  # port 0: the kernel chooses a free one
        owner = owners.setdefault(address, section)
        if owner is not section:
            where = owner.location_of("address")
            text = f"'{address}' belongs to [{owner.name}] ({where}); choose another address"
            yield _at(section, "address", text)


def missing_ends(files: SourceFiles, sources: Sources, sinks: Sinks) -> Iterator[Diagnostic]:
    """Report a bridge that leads from nowhere or to nowhere.

    A file that could not be read may hold the rest.
    """
    ends: dict[str, Sequence[Any]] = {"[source:NAME]": sources, "[sink:NAME]": sinks}
    missing = [name for name, sections in ends.items() if not sections]
    if missing and files.complete:
        text = (
            f"there is no section {listed(missing)}; a bridge needs at least one source and one "
            "sink"
        )
        yield Diagnostic(files.main, None, None, text)


def exposed_secrets(files: SourceFiles, entries: Iterable[Entry]) -> Iterator[Diagnostic]:
    """Warn of secrets written into a file that may be read by strangers."""
    for entry in entries:
        at = entry.location
        if at is None or not entry.secret or entry.references or not entry.text:
            continue
        if at.file in files.exposed:
            setting = f"{entry.section.replace(':', '.')}.{entry.key}"
            credential = re.sub(r"[^A-Za-z0-9._-]", "_", setting)
            command = STORE_CREDENTIAL.format(instance=files.instance, name=credential)
            text = (
                f"a secret in a file that others may read; write ${{credential:{credential}}} "
                f"instead and put it there with: {command}; "
                "or make the file root:bridge with mode 0640"
            )
            yield Diagnostic(at, entry.section, entry.key, text, "warning")


def _at(section: Section, key: str, text: str) -> Diagnostic:
    return Diagnostic(section.location_of(key), section.name, key, text)


def _meant(name: str, known: Iterable[str]) -> str:
    known = list(known)
    if meant := nearest(name, known):
        return f", did you mean '{meant}'?"
    return f"; known: {listed(known)}" if known else ""
