"""What a spool on disk would have on disk."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, count
from typing import Literal

from attrs import define, field

from bridge.api import Arrival, Stored, decode
from bridge.api.spool import DeadLetter, lane_of
from bridge.testing.memory.cursors import LANE, Cursor, lane_part, position_of
from bridge.testing.memory.keys import Key
from bridge.testing.memory.queues import MemoryLetter, ParkedEvent, ParkedQueue


@define(eq=False)
class MemoryStore:
    """Outlives the spools that are opened over it."""

    lanes: int = 16
    events: dict[int, list[Stored]] = field(factory=dict)
    """Events of each lane; the first has position 1."""
    keys: set[Key] = field(factory=set)
    salts: dict[str, str] = field(factory=dict)
    """By source: what its keys are made with. Renaming keeps it."""
    cursors: dict[str, list[Cursor]] = field(factory=dict)
    """By sink, one for each lane."""
    generations: dict[str, int] = field(factory=dict)
    """By sink: leases of an older one are stale."""
    parked: dict[str, dict[str, ParkedQueue]] = field(factory=dict)
    """By sink and device; no queue is empty."""
    letters: dict[int, MemoryLetter] = field(factory=dict)
    state: dict[str, dict[str, bytes]] = field(factory=dict)
    running: float = 0.0
    """Seconds for which spools were open over it."""
    commits: list[tuple[Arrival, ...]] = field(factory=list)
    """The new arrivals of each append, in the order in which they were stored."""
    _generation: int = 0
    _letter: int = 0

    def head(self, lane: int) -> int:
        """Return the position of the newest event of a lane; 0 if it has none."""
        return len(self.events.get(lane, ()))

    def salt_of(self, source: str) -> str:
        """Return the salt of a source; that of a new one nobody had before."""
        if source not in self.salts:
            taken = set(self.salts.values())
            self.salts[source] = next(
                salt
                for salt in chain([source], (f"{source}#{number}" for number in count(2)))
                if salt not in taken
            )
        return self.salts[source]

    def append(self, arrival: Arrival) -> None:
        """Store an event."""
        lane = lane_of(arrival.device, self.lanes)
        events = self.events.setdefault(lane, [])
        sequence = lane * LANE + len(events) + 1
        events.append(Stored(sequence, arrival.source, arrival.received, decode(arrival.body)))

    def begin(self, sink: str, start: Literal["now", "beginning"]) -> None:
        """Make cursors for a sink."""
        positions = [self.head(lane) if start == "now" else 0 for lane in range(self.lanes)]
        self.cursors[sink] = [Cursor(position, position) for position in positions]
        self.new_generation(sink)

    def new_generation(self, sink: str) -> None:
        """Make every lease of a sink stale."""
        self._generation += 1
        self.generations[sink] = self._generation

    def queues(self, sink: str) -> dict[str, ParkedQueue]:
        """Return the parked devices of a sink."""
        return self.parked.get(sink, {})

    def park(self, sink: str, event: ParkedEvent, new: ParkedQueue) -> ParkedQueue:
        """Put an event into the queue of its device, a new one if it has none."""
        queue = self.parked.setdefault(sink, {}).setdefault(event.stored.event.device, new)
        queue.insert(event)
        return queue

    def unpark(self, sink: str, device: str, sequences: Iterable[int]) -> None:
        """Take events out of the queue of a device; an empty one goes."""
        gone = set(sequences)
        queue = self.parked[sink][device]
        queue.events = [event for event in queue.events if event.stored.sequence not in gone]
        if not queue.events:
            del self.parked[sink][device]

    def parked_in(self, sink: str, lane: int) -> frozenset[int]:
        """Return which events of a lane are parked."""
        return frozenset(
            sequence
            for device, queue in self.queues(sink).items()
            if lane_of(device, self.lanes) == lane
            for sequence in queue.sequences
        )

    def add_letter(
        self, sink: str, stored: Stored, letter: DeadLetter, *, purged: bool = False
    ) -> None:
        """Keep a dead letter."""
        self._letter += 1
        self.letters[self._letter] = MemoryLetter(self._letter, sink, stored, letter, purged)

    def cursor_of(self, sink: str, sequence: int) -> Cursor:
        """Return the cursor of a sink in the lane of an event."""
        return self.cursors[sink][lane_part(sequence)]

    def count(
        self, sink: str, sequence: int, *, dead: int = 0, expired: int = 0, again: int = 0
    ) -> None:
        """Change counters of the lane of an event."""
        cursor = self.cursor_of(sink, sequence)
        self.cursors[sink][lane_part(sequence)] = cursor.counted(
            dead=dead, expired=expired, again=again
        )

    def event(self, sequence: int) -> Stored:
        """Return an event, as it is called now."""
        return self.events[lane_part(sequence)][position_of(sequence) - 1]
