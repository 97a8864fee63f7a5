"""What follows an attempt, for the lease and for its sink."""

from __future__ import annotations

from enum import Enum, auto
from typing import TypeAlias

from attrs import field, frozen

from bridge.api import Pause, Retry
from bridge.api.spool import DeadLetter, Parking


class Next(Enum):
    """What follows an attempt."""

    GO_ON = auto()
    PLUGIN_FAILS = auto()
    """The plugin made a mistake: this lease waits before it is tried again."""
    SINK_FAILS = auto()
    SINK_PAUSES = auto()
    """A person must act: the destination refuses credentials or everything."""
    REPLAY_STOPS = auto()
    """The destination refuses again what it refused before."""


@frozen
class Decision:
    """What follows an attempt, and why."""

    next: Next
    why: str = ""
    after: float | None = None
    """Seconds that the destination asked for."""


GO_ON = Decision(Next.GO_ON)


@frozen
class Front:
    """What is done at the front of a lease, to be settled together."""

    count: int = 0
    filtered: int = 0
    dead: list[DeadLetter] = field(factory=list)
    park: list[Parking] = field(factory=list)

    @property
    def delivered(self) -> int:
        """How many the destination took."""
        aside = sum(len(parking.indexes) for parking in self.park)
        return self.count - self.filtered - len(self.dead) - aside

    def __bool__(self) -> bool:
        """Whether there is anything to settle."""
        return bool(self.count or self.park)


DeviceVerdict: TypeAlias = Retry | Pause
"""With ``scope="device"``."""
