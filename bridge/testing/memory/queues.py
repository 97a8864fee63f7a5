"""Events that wait apart, and dead letters, as a :class:`MemoryStore` keeps them."""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter

from attrs import define, field, frozen

from bridge.api import Stored
from bridge.api.spool import DeadLetter, KeptLetter

_SEQUENCE = attrgetter("stored.sequence")


@frozen
class MemoryLetter:
    """A dead letter with its event."""

    id: int
    sink: str
    stored: Stored
    letter: DeadLetter
    purged: bool = False
    """Whether its sink was purged since."""

    def kept(self) -> KeptLetter:
        """Return it as the contract says it."""
        return KeptLetter(
            self.id,
            self.sink,
            self.stored.source,
            self.stored.event.device,
            self.stored.sequence,
            self.stored.received,
            self.letter.reason,
            self.letter.status,
            self.letter.attempts,
            self.letter.time,
            self.purged,
        )


@frozen
class ParkedEvent:
    """An event that waits apart."""

    stored: Stored
    letter: MemoryLetter | None = None
    """The dead letter that it was, if it is a replay."""


@define(eq=False)
class ParkedQueue:
    """The events of one device that wait apart at one sink, in order."""

    due: float
    """In running seconds, as ``since``."""
    since: float
    why: str
    attempts: int = 0
    """Made for the first event."""
    events: list[ParkedEvent] = field(factory=list)

    @property
    def sequences(self) -> list[int]:
        """The numbers of its events."""
        return [event.stored.sequence for event in self.events]

    def insert(self, event: ParkedEvent) -> None:
        """Put an event where its sequence belongs."""
        index = bisect_left(self.events, event.stored.sequence, key=_SEQUENCE)
        self.events.insert(index, event)

    def first(self, most: int) -> list[ParkedEvent]:
        """Return the first events, as many as are all replays or all not."""
        replay = self.events[0].letter is not None
        found: list[ParkedEvent] = []
        for event in self.events[:most]:
            if (event.letter is not None) is not replay:
                break
            found.append(event)
        return found
