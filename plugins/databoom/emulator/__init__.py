"""Emulator of Databoom: the push in its three forms, the lists, and the chart that
reads values back.

Written from what is known of the vendor; nothing here imports the plugin. Where nothing
is known, ``Rules`` and ``Faults`` let a test choose.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.api import hookimpl
from bridge.testing.emulation import EmulatorKind

from .server import open_emulation


@hookimpl
def bridge_emulators() -> Sequence[EmulatorKind]:
    """Return the emulator for ``bridged demo`` and the tests."""
    return [EmulatorKind("databoom", open_emulation)]
