"""Emulator of the Wattsense cloud, written from what is known of the vendor; nothing
here imports the plugin.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.api import hookimpl
from bridge.testing.emulation import EmulatorKind

from .demo import open_emulation


@hookimpl
def bridge_emulators() -> Sequence[EmulatorKind]:
    """Return the emulator for ``bridged demo`` and the tests."""
    return [EmulatorKind("wattsense", open_emulation)]
