"""Dead letters as a spool keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import frozen

from bridge.api.events import Stored


@frozen
class KeptLetter:
    """A dead letter as the spool keeps it."""

    id: int
    """Ascends in the order in which events were given up."""
    sink: str
    source: str
    device: str | None
    """None: its body cannot be read."""
    sequence: int
    received: datetime
    reason: str
    status: int | None
    attempts: int
    time: datetime
    """When it was given up, UTC."""
    purged: bool
    """Whether it belongs to an earlier life of its sink, which was purged since."""


@frozen
class LetterFilter:
    """Which dead letters; what is None does not matter."""

    sink: str | None = None
    source: str | None = None
    device: str | None = None
    reason: str | None = None
    """A part of the reason, in any case of letters."""
    since: datetime | None = None
    """Given up at this time or later."""
    until: datetime | None = None
    """Given up before this time."""
    ids: Sequence[int] | None = None


@frozen
class LetterEvent:
    """A dead letter with its event."""

    letter: KeptLetter
    stored: Stored | None
    """None: its body cannot be read."""
    body: bytes
    """As it was stored."""


@frozen
class Rewind:
    """What a rewind did."""

    again: int
    """Events that are pending again."""
    reaches: datetime | None
    """When the oldest of them was received; None: there were none."""
