"""Sink: Databoom, where every reading becomes a dated value of a signal of a device.

    event ─ tokens, encoding ─▶ pushes ─ sink ─▶ pusher ─▶ POST
                                          ▲ verdict ◀─ answers ─┘

Databoom publishes no limits, and acknowledges values that it throws away. So what it
shows of itself is remembered (``push.PushSize``, ``missing_devices``, ``ledger``),
and whether it records what it took is looked up (``validation``).
``docs/facts/databoom.rst`` lists what is known of it, each fact with the test that
holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bridge.api import Command, SinkKind, hookimpl

from .commands import map_command
from .open_databoom import open_databoom
from .preview import preview
from .problems import PROBLEMS
from .settings import DataboomSettings


@hookimpl
def bridge_sink_kinds() -> Sequence[SinkKind[Any]]:
    """Return the sink."""
    return [
        SinkKind(
            "databoom",
            DataboomSettings,
            open_databoom,
            one_device=True,
            batch=500,
            in_flight=4,
            help="values of signals in Databoom, by HTTP push",
            problems=PROBLEMS,
            preview=preview,
        )
    ]


@hookimpl
def bridge_commands() -> Sequence[Command]:
    """Return ``bridged databoom map``."""
    return [map_command()]
