"""A configuration as the daemon gets it: every section checked and typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from bridge import config
from bridge.admin.settings import AdminSettings
from bridge.api import SinkKind, SourceKind, SpoolKind
from bridge.config import Core, Kinds, Loaded, StructuredSection
from bridge.config.redaction import Redaction
from bridge.daemon.settings import (
    BridgeSettings,
    SinkSettings,
    SourceSettings,
    SpoolSettings,
    WebhookRecoverySettings,
    WebhookSettings,
    kind_defaults,
    source_settings,
)
from bridge.http.settings import ListenerSettings

# No ``repr`` below shows settings: the plainest of them may come from a credential.


@frozen
class SourceConfig:
    """One enabled section ``[source:NAME]``."""

    name: str
    kind: SourceKind[Any]
    core: SourceSettings = field(repr=False)
    settings: Any = field(repr=False)
    """Of the class ``kind.settings``."""
    where: str
    """``FILE:LINE`` of the section."""

    @property
    def listener(self) -> str | None:
        """NAME of the listener on which it is called; None if it is not called."""
        if isinstance(self.core, WebhookSettings | WebhookRecoverySettings):
            return self.core.listener
        return None


@frozen
class SinkConfig:
    """One enabled section ``[sink:NAME]``."""

    name: str
    kind: SinkKind[Any]
    core: SinkSettings = field(repr=False)
    settings: Any = field(repr=False)
    """Of the class ``kind.settings``."""
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
    core: SpoolSettings = field(repr=False)
    settings: Any = field(repr=False)
    """Of the class ``kind.settings``."""
    where: str


@frozen
class Config:
    """A whole configuration without a mistake.

    Sections with ``enabled = no`` were checked and are left out.
    """

    bridge: BridgeSettings = field(repr=False)
    admin: AdminSettings = field(repr=False)
    spool: SpoolConfig
    listeners: Mapping[str, ListenerSettings] = field(repr=False)
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


def make_config(
    *,
    bridge: BridgeSettings,
    admin: AdminSettings,
    spool: StructuredSection[SpoolKind[Any]],
    listeners: Mapping[str, ListenerSettings],
    sources: Sequence[StructuredSection[SourceKind[Any]]],
    sinks: Sequence[StructuredSection[SinkKind[Any]]],
    redact: Redaction,
) -> Config:
    """Put the sections of a configuration without a mistake together."""
    return Config(
        bridge=bridge,
        admin=admin,
        spool=SpoolConfig(*_parts(spool)),
        listeners=listeners,
        sources=tuple(SourceConfig(each.name, *_parts(each)) for each in sources if each.enabled),
        sinks=tuple(SinkConfig(each.name, *_parts(each)) for each in sinks if each.enabled),
        source_names=tuple(each.name for each in sources),
        sink_names=tuple(each.name for each in sinks),
        redact=redact,
    )


def _parts(section: StructuredSection[Any]) -> tuple[Any, Any, Any, str]:
    return section.kind, section.core, section.settings, str(section.section.location)


CORE = Core(
    bridge=BridgeSettings,
    admin=AdminSettings,
    listener=ListenerSettings,
    spool=SpoolSettings,
    source=source_settings,
    sink=SinkSettings,
    defaults=kind_defaults,
    config=make_config,
)
"""What the core's sections may hold."""


def load(
    path: Path, kinds: Kinds, *, environ: Mapping[str, str], checking: bool = False
) -> Loaded[Config]:
    """Read and understand a configuration, as :func:`bridge.config.load`."""
    return config.load(path, CORE, kinds, environ=environ, checking=checking)
