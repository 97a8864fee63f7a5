"""Emulators: faithful copies of vendor clouds, for the demo, for tests and for
benchmarks.

An emulator is written from what is known of the vendor, never from the plugin's own
code, so that the two cannot share a mistake. It is a package of its own, found through
the entry-point group ``bridge.emulators``.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path

from attrs import frozen

from bridge.api import Value


@frozen
class EmulatorContext:
    """What an emulator is given by the demo."""

    bridge_url: str
    """Base URL of the bridge's listener, without a trailing slash."""
    listener: str
    """NAME of that listener in the INI file."""
    ca_file: Path
    """The CA, PEM, that signed every certificate of the demo."""
    certificate: Path
    """A chain for localhost and 127.0.0.1, PEM."""
    key: Path
    random: random.Random
    arrived: Callable[[str, str, Value, datetime], None]
    """Called by the emulator of a destination for each value: device, signal, value,
    time of measurement.
    """


@frozen
class Emulation:
    """An emulator that is up."""

    section: str
    """Section of the INI file that connects the bridge to it, such as
    ``source:sensors``.
    """
    settings: Mapping[str, str]
    """Keys and values of that section."""
    run: Callable[[float], Awaitable[None]]
    """Produce about so many events a second until cancelled; a destination returns at
    once.
    """


@frozen
class EmulatorKind:
    """A kind of emulator."""

    name: str
    open: Callable[[EmulatorContext], AbstractAsyncContextManager[Emulation]]
