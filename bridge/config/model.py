"""A configuration as the daemon gets it: every section checked and typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from bridge.api import SinkKind, SourceKind, SpoolKind
from bridge.config.diagnostics import Place, Problem
from bridge.config.redaction import Redaction
from bridge.config.schema import (
    AdminSettings,
    BridgeSettings,
    SinkSettings,
    SourceSettings,
    SpoolSettings,
    WebhookRecoverySettings,
    WebhookSettings,
)
from bridge.config.structure import Entry
from bridge.http.settings import ListenerSettings


@frozen
class Kinds:
    """What the sections may name with ``plugin = ...``, by name."""

    sources: Mapping[str, SourceKind[Any]] = field(factory=dict)
    sinks: Mapping[str, SinkKind[Any]] = field(factory=dict)
    spools: Mapping[str, SpoolKind[Any]] = field(factory=dict)
    unusable: Mapping[str, str] = field(factory=dict)
    """Plugins that could not be loaded, with the reason."""


@frozen
class SourceConfig:
    """One enabled section ``[source:NAME]``."""

    name: str
    kind: SourceKind[Any]
    core: SourceSettings
    settings: Any = field(repr=False)
    """Of the class ``kind.settings``.

    Not shown: a plain text in it may come from a credential.
    """
    where: str
    """``FILE:LINE`` of the section."""

    @property
    def listener(self) -> str | None:
        """NAME of the listener on which it is called; None if it is not called."""
        return (
            self.core.listener
            if isinstance(self.core, WebhookSettings | WebhookRecoverySettings)
            else None
        )


@frozen
class SinkConfig:
    """One enabled section ``[sink:NAME]``."""

    name: str
    kind: SinkKind[Any]
    core: SinkSettings
    settings: Any = field(repr=False)
    """Of the class ``kind.settings``.

    Not shown: a plain text in it may come from a credential.
    """
    where: str
    """``FILE:LINE`` of the section."""

    @property
    def batch(self) -> int:
        """Most events in one attempt: as configured, else the kind's default."""
        return self.kind.batch if self.core.batch is None else self.core.batch

    @property
    def in_flight(self) -> int:
        """Most attempts at one time: as configured, else the kind's default."""
        return self.kind.in_flight if self.core.in_flight is None else self.core.in_flight


@frozen
class SpoolConfig:
    """The section ``[spool]``."""

    kind: SpoolKind[Any]
    core: SpoolSettings
    settings: Any = field(repr=False)
    """Of the class ``kind.settings``.

    Not shown: a plain text in it may come from a credential.
    """
    where: str


@frozen
class Config:
    """A whole configuration without a mistake.

    Sections with ``enabled = no`` were checked and are left out.
    """

    bridge: BridgeSettings
    admin: AdminSettings
    spool: SpoolConfig
    listeners: Mapping[str, ListenerSettings]
    sources: tuple[SourceConfig, ...]
    sinks: tuple[SinkConfig, ...]
    sink_names: tuple[str, ...]
    """All that are configured, disabled ones too: what is pending for another sink is
    orphaned.
    """
    source_names: tuple[str, ...]
    """All that are configured, disabled ones too."""
    redact: Redaction = Redaction()
    """Takes out of a sentence what must not be shown."""


@frozen
class Loaded:
    """What came of reading a configuration."""

    config: Config | None = field(repr=False)
    """None if anything is wrong; also if ``checking`` met a credential that it could
    not do without.
    """
    problems: tuple[Problem, ...]
    """In the order of files and lines."""
    entries: tuple[Entry, ...]
    """What is in effect, as far as it could be read."""
    headers: Mapping[str, Place]
    """Where each section begins, by name."""
    redact: Redaction
    """Takes out of a sentence what must not be shown."""
    listeners: Mapping[str, ListenerSettings]
    """Those whose settings are all known here: none of them comes from a credential
    that could not be looked up.
    """

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that refuse a start."""
        return tuple(problem for problem in self.problems if problem.severity == "error")
