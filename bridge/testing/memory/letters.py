"""Dead letters of a :class:`MemoryStore`: found, parked again, given up for good."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.api.spool import LetterFilter
from bridge.testing.memory.cursors import lane_part, position_of
from bridge.testing.memory.queues import MemoryLetter, ParkedEvent, ParkedQueue
from bridge.testing.memory.store import MemoryStore


def matches(kept: MemoryLetter, wanted: LetterFilter) -> bool:
    """Check whether a letter is one of those that are wanted."""
    return (
        wanted.sink in (None, kept.sink)
        and wanted.source in (None, kept.stored.source)
        and wanted.device in (None, kept.stored.event.device)
        and (wanted.reason or "").lower() in kept.letter.reason.lower()
        and (wanted.since is None or kept.letter.time >= wanted.since)
        and (wanted.until is None or kept.letter.time < wanted.until)
        and (wanted.ids is None or kept.id in wanted.ids)
    )


def replay(store: MemoryStore, numbers: Iterable[int], now: float) -> int:
    """Park events of letters; returns how many letters went."""
    before = len(store.letters)
    for number in sorted(set(numbers)):
        letter = store.letters.get(number)
        if letter is not None and letter.sink in store.cursors:
            _replay(store, letter, now)
    return before - len(store.letters)


def _replay(store: MemoryStore, letter: MemoryLetter, now: float) -> None:
    sink, stored = letter.sink, letter.stored
    del store.letters[letter.id]
    if letter.purged and (twin := _twin(store, letter)):
        # The same event is a letter of today's life: an event is owed once.
        _replay(store, twin, now)
        return
    queue = store.queues(sink).get(stored.event.device)
    pending = position_of(stored.sequence) > store.cursor_of(sink, stored.sequence).position or (
        queue is not None and stored.sequence in queue.sequences
    )
    if not pending:
        new = ParkedQueue(now, now, f"replayed: {letter.letter.reason}")
        queue = store.park(sink, ParkedEvent(stored, letter), new)
        queue.due = min(queue.due, now)
    # What is pending already stays so, once: of two letters of one event, one may have
    # been of a purged life, and put back.
    if letter.purged and not pending:
        store.count(sink, stored.sequence, again=1)
    elif not letter.purged:
        store.count(sink, stored.sequence, dead=-1, again=-1 if pending else 0)


def _twin(store: MemoryStore, letter: MemoryLetter) -> MemoryLetter | None:
    event = letter.sink, letter.stored.sequence
    for other in store.letters.values():
        if not other.purged and (other.sink, other.stored.sequence) == event:
            return other
    return None


def drop(store: MemoryStore, numbers: Iterable[int]) -> int:
    """Forget letters; returns how many."""
    letters = [letter for number in set(numbers) if (letter := store.letters.pop(number, None))]
    for letter in letters:
        if not letter.purged:
            store.count(letter.sink, letter.stored.sequence, dead=-1, expired=1)
    return len(letters)


def stop_replay(store: MemoryStore, sink: str) -> int:
    """Make letters again of what is parked of a replay; returns how many."""
    replays = [
        (event.stored, event.letter)
        for _, queue in sorted(store.queues(sink).items())
        for event in queue.events
        if event.letter is not None
    ]
    for stored, letter in replays:
        store.unpark(sink, stored.event.device, [stored.sequence])
        store.add_letter(sink, stored, letter.letter, purged=letter.purged)
        if letter.purged:
            store.count(sink, stored.sequence, again=-1)
        else:
            store.count(sink, stored.sequence, dead=1)
    return len(replays)


def letters_of(store: MemoryStore, sink: str, lane: int) -> list[MemoryLetter]:
    """Return the letters of a sink in a lane, but for those of earlier lives."""
    return [
        letter
        for letter in store.letters.values()
        if letter.sink == sink and not letter.purged and lane_part(letter.stored.sequence) == lane
    ]


def take_back(store: MemoryStore, sink: str, lane: int, above: int) -> None:
    """Take out of the queues and the letters what is of higher positions of a lane: it
    is pending in the lane again.
    """
    parked = [sequence for sequence in store.parked_in(sink, lane) if position_of(sequence) > above]
    for device in list(store.queues(sink)):
        store.unpark(sink, device, parked)
    dead = [
        letter
        for letter in letters_of(store, sink, lane)
        if position_of(letter.stored.sequence) > above
    ]
    for letter in dead:
        del store.letters[letter.id]
    cursor = store.cursors[sink][lane]
    store.cursors[sink][lane] = cursor.counted(dead=-len(dead), again=-len(parked) - len(dead))
