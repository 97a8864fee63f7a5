"""Loading a configuration: the files read, every section structured, everything that is
wrong found at once.

    read(path) ─▶ SourceFiles ─┬─▶ section_alone: [bridge] names folders of plugins
                               └─▶ understand, with what the plugins say ─▶ Loaded

In two steps, because plugins are loaded in between: their settings classes say what the
other sections may hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
from attrs import field, frozen

from bridge.api import SettingError
from bridge.config import checks
from bridge.config.diagnostics import Diagnostic, Location
from bridge.config.redaction import Redaction
from bridge.config.references import References
from bridge.config.sections import (
    Core,
    Kinds,
    arrange,
    structure_sink,
    structure_source,
    structure_spool,
)
from bridge.config.source_files import SourceFiles, read
from bridge.config.structure import Entry, StructuredSection, Structurer
from bridge.config.values import Reader

C = TypeVar("C")
S = TypeVar("S")


@frozen
class Loaded(Generic[C]):
    """What came of reading a configuration."""

    config: C | None = field(repr=False)
    """What ``Core.config`` made. None if anything is wrong; also if ``checking`` met a
    credential that it could not do without.
    """
    diagnostics: tuple[Diagnostic, ...]
    """In the order of files and lines."""
    entries: tuple[Entry, ...]
    """What is in effect, as far as it could be read."""
    headers: Mapping[str, Location]
    """Where each section begins, by name."""
    redact: Redaction
    """Takes out of a sentence what must not be shown."""
    listeners: Mapping[str, Any] = field(repr=False)
    """Settings of those whose settings are all known here: none of them comes from a
    credential that could not be looked up.
    """

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The diagnostics that refuse a start."""
        return tuple(each for each in self.diagnostics if each.severity == "error")


def load(
    path: Path,
    core: Core[C],
    kinds: Kinds,
    *,
    environ: Mapping[str, str],
    checking: bool = False,
) -> Loaded[C]:
    """Read and understand a configuration in one step.

    :param path: the main file.
    :param environ: for ``${env:NAME}``, and for the folder of the credentials.
    :param checking: True if this is not the daemon: credentials it cannot know are
        warnings then.
    """
    return understand(read(path), core, kinds, environ=environ, checking=checking)


def section_alone(
    files: SourceFiles, name: str, settings: type[S], *, environ: Mapping[str, str]
) -> S:
    """Structure one section, with defaults in place of what is wrong there:
    ``understand`` will report that.
    """
    structurer = _structurer(files, environ, checking=True)
    values = dict(structurer.structure(files.section(name), settings).values)
    try:
        return settings(**values)
    except SettingError as exc:
        return settings(**{key: value for key, value in values.items() if key != exc.setting})


def understand(
    files: SourceFiles,
    core: Core[C],
    kinds: Kinds,
    *,
    environ: Mapping[str, str],
    checking: bool = False,
) -> Loaded[C]:
    """Structure all sections, with what core and plugins say about them.

    Parameters as for ``load``.
    """
    structurer = _structurer(files, environ, checking=checking)
    sections, unknown = arrange(files)
    # In the order in which they are shown.
    bridge: StructuredSection[Any] = structurer.structure(files.section("bridge"), core.bridge)
    spool = structure_spool(files.section("spool"), core, kinds, structurer)
    admin: StructuredSection[Any] = structurer.structure(files.section("admin"), core.admin)
    listeners: list[StructuredSection[Any]] = [
        structurer.structure(each, core.listener) for each in sections["listener"]
    ]
    sources = [structure_source(each, core, kinds, structurer) for each in sections["source"]]
    sinks = [structure_sink(each, core, kinds, structurer) for each in sections["sink"]]

    redact = Redaction(tuple(structurer.confidential))
    seen_together = (
        *checks.unknown_listeners(sources, [each.name for each in listeners]),
        *checks.unknown_sources(sinks, sources),
        *checks.claimed_names(sources),
        *checks.claimed_paths(sources),
        *checks.claimed_addresses([*listeners, admin]),
    )
    diagnostics = [
        *files.diagnostics,
        *unknown,
        *structurer.diagnostics,
        # They quote values that are good, and may come from a credential.
        *(attrs.evolve(each, text=redact(each.text)) for each in seen_together),
        *checks.missing_ends(files, sources, sinks),
        *checks.exposed_secrets(files, structurer.entries),
    ]
    refused = any(each.severity == "error" for each in diagnostics)
    # Without a mistake, a section is not complete if it needs a credential that is not
    # here.
    known = all(each.core is not None for each in (bridge, admin, *listeners))
    plugins: list[StructuredSection[Any]] = [spool, *sources, *sinks]
    complete = known and all(each.complete for each in plugins)
    return Loaded(
        config=core.config(
            bridge=bridge.core,
            admin=admin.core,
            spool=spool,
            listeners={each.name: each.core for each in listeners},
            sources=sources,
            sinks=sinks,
            redact=redact,
        )
        if complete and not refused
        else None,
        diagnostics=_in_order(files, diagnostics),
        entries=tuple(structurer.entries),
        headers={name: section.location for name, section in files.sections.items()},
        redact=redact,
        listeners={
            each.name: each.core for each in listeners if each.core is not None and not each.pending
        },
    )


def _structurer(files: SourceFiles, environ: Mapping[str, str], *, checking: bool) -> Structurer:
    references = References.from_environment(environ, instance=files.instance, checking=checking)
    return Structurer(Reader(references))


def _in_order(files: SourceFiles, diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Sort by file, as read, and line; what two checks found is said once."""
    rank = {name: number for number, name in enumerate(files.files)}

    def place(each: Diagnostic) -> tuple[int, int]:
        return rank.get(each.location.file, len(rank)), each.location.line or 0

    return tuple(sorted(dict.fromkeys(diagnostics), key=place))
