"""Digi Remote Manager, earlier called iDigi and Device Cloud: a source, and a stand-in for the service."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from bridge.api import Emulation, EmulatorContext, EmulatorKind, SourceKind, hookimpl
from bridge_plugins.idigi.settings import Settings
from bridge_plugins.idigi.source import run


@hookimpl
def bridge_source_kinds() -> Sequence[SourceKind[Any]]:
    """Give the source."""
    return [SourceKind("idigi", Settings, run, help="Digi Remote Manager (iDigi, Device Cloud), TCP push monitors")]


@hookimpl
def bridge_emulators() -> Sequence[EmulatorKind]:
    """Give the stand-in. It is imported when it is opened: a bridge that runs does not need it."""

    def open_emulation(context: EmulatorContext) -> AbstractAsyncContextManager[Emulation]:
        from bridge_plugins.idigi.emulator import open_emulation as open_it

        return open_it(context)

    return [EmulatorKind("idigi", open_emulation)]
