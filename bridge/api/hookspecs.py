"""The hooks: how a plugin tells what it has. Each is called once, at start, and returns
plain values.

A plugin is a module, found by the entry-point group ``bridge`` or as a file in a plugin
folder:

    from bridge.api import SinkKind, hookimpl

    BRIDGE_API = (1, 2)  # in a drop-in file: for which version of this contract

    @hookimpl
    def bridge_sink_kinds():
        return [SinkKind("acme", Settings, open_acme)]

Events never pass through a hook.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pluggy

from bridge.api.commands import Command
from bridge.api.kinds import SinkKind, SourceKind, SpoolKind

API_VERSION = (1, 2)
"""Major and minor version of everything in ``bridge.api``."""

hookspec = pluggy.HookspecMarker("bridge")
hookimpl = pluggy.HookimplMarker("bridge")


@hookspec
def bridge_source_kinds() -> Sequence[SourceKind[Any]]:  # type: ignore[empty-body]
    """Return the kinds of source that this plugin has."""


@hookspec
def bridge_sink_kinds() -> Sequence[SinkKind[Any]]:  # type: ignore[empty-body]
    """Return the kinds of sink that this plugin has."""


@hookspec
def bridge_spool_kinds() -> Sequence[SpoolKind[Any]]:  # type: ignore[empty-body]
    """Return the kinds of spool that this plugin has."""


@hookspec
def bridge_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Return the commands that this plugin adds to ``bridged``."""


@hookspec
def bridge_emulators() -> Sequence[Any]:  # type: ignore[empty-body]
    """Return the emulators, of type ``bridge.testing.emulation.EmulatorKind``, that
    ``bridged demo`` runs.
    """
