"""Sink: Databoom, where every reading becomes a dated value of a signal of a device.

event ──▶ naming.py, values.py, encoding.py ──▶ pushes ──▶ sink.py ──▶ pusher.py, client.py ──▶ POST
                                                            └─────◀ verdict ◀── answers.py ◀── answer

settings.py, maps.py       what people say: settings, devices file
opening.py                 the parts put together, and the tasks beside the deliveries
memory.py, seen.py         what is remembered across restarts
limits.py, validation.py   what Databoom has shown: sizes, unknown devices, signals that are not validated
heartbeat.py, concerns.py  what is sent for silent devices; what a person is told
commands.py                ``bridged databoom map``
emulator*.py               a stand-in for Databoom, written from its documentation and not from these modules
README.rst                 the page for users

``docs/facts/databoom.rst`` lists what is known of Databoom, each fact with the test
that holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from bridge.api import Command, Sink, SinkContext, SinkKind, hookimpl

from .commands import map_command
from .settings import DataboomSettings


def _open(settings: DataboomSettings, context: SinkContext) -> AbstractAsyncContextManager[Sink]:
    from .opening import open_databoom  # with its HTTP client, which takes 100 ms to import

    return open_databoom(settings, context)


@hookimpl
def bridge_sink_kinds() -> Sequence[SinkKind[Any]]:
    """Give the sink."""
    return [
        SinkKind(
            "databoom",
            DataboomSettings,
            _open,
            one_device=True,
            batch=500,
            in_flight=4,
            help="values of signals in Databoom, by HTTP push",
        )
    ]


@hookimpl
def bridge_commands() -> Sequence[Command]:
    """Give the commands."""
    return [map_command()]
