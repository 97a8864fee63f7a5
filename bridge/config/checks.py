"""What only shows when sections are seen together: names that must exist, things that
only one may have.

Each check is a generator of problems and looks at what is good so far: a mistake
elsewhere in a section does not hide one of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bridge.api import NetworkAddress, SinkKind, SourceKind
from bridge.config.diagnostics import Place, Problem, excerpt, listed, nearest
from bridge.config.ini import Section
from bridge.config.plugin_sections import Part
from bridge.config.references import STORE_CREDENTIAL
from bridge.config.source_files import Document
from bridge.config.structure import Entry

Sources = Sequence[Part[SourceKind[Any]]]
Sinks = Sequence[Part[SinkKind[Any]]]


def unknown_listeners(sources: Sources, listeners: Iterable[str]) -> Iterator[Problem]:
    """Report sources that name a listener which does not exist."""
    names = list(listeners)
    for source in sources:
        wanted = source.values.get("listener")
        if wanted is not None and wanted not in names:
            text = f"there is no section [listener:{wanted}]{_meant(wanted, names)}"
            yield Problem.at(
                source.section.place_of("listener"), source.section.name, "listener", text
            )


def unknown_sources(sinks: Sinks, sources: Sources) -> Iterator[Problem]:
    """Report sinks that want a source which does not exist."""
    names = [source.name for source in sources]
    for sink in sinks:
        for wanted in sink.values.get("sources", ()):
            if wanted not in names:
                text = f"there is no section [source:{wanted}]{_meant(wanted, names)}"
                yield Problem.at(
                    sink.section.place_of("sources"), sink.section.name, "sources", text
                )


def claimed_paths(sources: Sources) -> Iterator[Problem]:
    """Report sources that want a path which another has on the same listener."""
    owners: dict[tuple[str, str], tuple[Section, Place]] = {}
    for source in sources:
        if not (
            source.enabled
            and source.complete
            and source.kind is not None
            and source.kind.paths is not None
        ):
            continue
        section, listener = source.section, source.core.listener
        try:
            paths = list(source.kind.paths(source.settings))
        except Exception as exc:
            text = (
                f"the plugin cannot name its paths ({type(exc).__name__}); report it to the author of "
                "the plugin"
            )
            yield Problem.at(section.place_of("plugin"), section.name, "plugin", text)
            continue
        place = section.place_of("path")
        for path in paths:
            owner, where = owners.setdefault((listener, path), (section, place))
            if owner is not section:
                text = (
                    f"'{excerpt(path)}' on listener '{listener}' belongs to [{owner.name}] ({where}); "
                    "choose another path"
                )
                yield Problem.at(place, section.name, "path", text)


def claimed_addresses(
    sections: Iterable[tuple[Section, NetworkAddress | None]],
) -> Iterator[Problem]:
    """Report sections that want an address which another has."""
    owners: dict[NetworkAddress, Section] = {}
    for section, address in sections:
        if address is None or (address.port == 0 and address.systemd is None):
            continue  # port 0: the kernel chooses a free one
        owner = owners.setdefault(address, section)
        if owner is not section:
            where = owner.place_of("address")
            text = f"'{address}' belongs to [{owner.name}] ({where}); choose another address"
            yield Problem.at(section.place_of("address"), section.name, "address", text)


def missing_ends(document: Document, sources: Sources, sinks: Sinks) -> Iterator[Problem]:
    """Report a bridge that leads from nowhere or to nowhere.

    A file that could not be read may hold the rest.
    """
    missing = [
        name for name, parts in (("[source:NAME]", sources), ("[sink:NAME]", sinks)) if not parts
    ]
    if missing and document.complete:
        text = (
            f"there is no section {listed(missing)}; a bridge needs at least one source and one "
            "sink"
        )
        yield Problem.at(document.main, None, None, text)


def exposed_secrets(document: Document, entries: Iterable[Entry]) -> Iterator[Problem]:
    """Warn of secrets written into a file that may be read by strangers."""
    for entry in entries:
        place = entry.place
        if place is None or not entry.secret or entry.references or not entry.text:
            continue
        if place.file in document.exposed:
            credential = re.sub(
                r"[^A-Za-z0-9._-]", "_", f"{entry.section.replace(':', '.')}.{entry.key}"
            )
            command = STORE_CREDENTIAL.format(instance=document.instance, name=credential)
            text = (
                f"a secret in a file that others may read; write ${{credential:{credential}}} instead and put it "
                f"there with: {command}; or make the file root:bridge with mode 0640"
            )
            yield Problem.warning(place, entry.section, entry.key, text)


def _meant(name: str, known: Iterable[str]) -> str:
    known = list(known)
    if meant := nearest(name, known):
        return f", did you mean '{meant}'?"
    return f"; known: {listed(known)}" if known else ""
