"""Sink: Databoom, where every reading becomes a dated value of a signal of a device.

event ── naming.py ──▶ tokens ── encoding.py ──▶ pushes ── sink.py ──▶ POST ── answers.py ──▶ verdict

emulator*.py   a stand-in for Databoom, written from its documentation and not from these modules
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bridge.api import EmulatorKind, SinkKind, hookimpl
from bridge_plugins.databoom.settings import DataboomSettings
from bridge_plugins.databoom.sink import open_databoom


@hookimpl
def bridge_sink_kinds() -> Sequence[SinkKind[Any]]:
    """Give the sink."""
    return [
        SinkKind(
            "databoom",
            DataboomSettings,
            open_databoom,
            one_device=True,
            batch=500,
            in_flight=4,
            help="values of signals in Databoom, by HTTP push",
        )
    ]


@hookimpl
def bridge_emulators() -> Sequence[EmulatorKind]:
    """Give the stand-in for Databoom."""
    from bridge_plugins.databoom.emulator import open_emulation  # the daemon never needs it

    return [EmulatorKind("databoom", open_emulation)]
