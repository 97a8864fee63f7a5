"""Cursors that go back, and sinks and sources that get another name."""

from __future__ import annotations

from datetime import datetime

from attrs import evolve

from bridge.api import Stored
from bridge.api.spool import Rewind, lane_of
from bridge.testing.memory.letters import letters_of, take_back
from bridge.testing.memory.queues import ParkedEvent
from bridge.testing.memory.store import MemoryStore


def rewind(store: MemoryStore, sink: str, to: datetime, *, plan: bool) -> Rewind:
    """Move cursors back to the first event received at a time or later."""
    check_known(store, sink)
    again: list[Stored] = []
    for lane, cursor in enumerate(store.cursors[sink]):
        below = store.events.get(lane, [])[: cursor.position]
        position = next((at for at, stored in enumerate(below) if stored.received >= to), None)
        if position is None:
            continue
        parked = store.parked_in(sink, lane)
        again += [stored for stored in below[position:] if stored.sequence not in parked]
        if not plan:
            store.cursors[sink][lane] = evolve(
                cursor.counted(again=cursor.position - position),
                position=position,
                rewound=max(cursor.rewound, cursor.position),
            )
            take_back(store, sink, lane, position)
    if not plan:
        store.new_generation(sink)
    return Rewind(len(again), min((stored.received for stored in again), default=None))


def check_known(store: MemoryStore, sink: str) -> None:
    """Refuse a sink that has no cursors."""
    if sink not in store.cursors:
        raise LookupError(f"the spool knows no sink {sink!r}, it knows {sorted(store.cursors)}")


def purge(store: MemoryStore, sink: str) -> int:
    """Forget a sink; returns how many events were pending. Its letters are of an
    earlier life from now on.
    """
    cursors = store.cursors.pop(sink, [])
    parked = store.parked.pop(sink, {})
    store.generations.pop(sink, None)
    for number, letter in store.letters.items():
        if letter.sink == sink:
            store.letters[number] = evolve(letter, purged=True)
    pending = sum(store.head(lane) - cursor.position for lane, cursor in enumerate(cursors))
    return pending + sum(len(queue.events) for queue in parked.values())


def rename_sink(store: MemoryStore, sink: str, name: str) -> None:
    """Give what a sink owes and keeps another name."""
    check_known(store, sink)
    if sink == name:
        return
    merged = name in store.cursors
    if not merged:
        store.cursors[name] = list(store.cursors[sink])
    for lane in range(store.lanes):
        if merged and store.cursors[name][lane].position <= store.cursors[sink][lane].position:
            _merge(store, lane, goes=sink, stays=name)
            continue
        if merged:
            _merge(store, lane, goes=name, stays=sink)
        store.cursors[name][lane] = store.cursors[sink][lane]
        _move(store, lane, sink, name)
    for number, letter in store.letters.items():
        if letter.sink == sink:  # of earlier lives
            store.letters[number] = evolve(letter, sink=name)
    del store.cursors[sink], store.generations[sink]
    store.parked.pop(sink, None)
    _move_state(store, f"sink:{sink}", f"sink:{name}")
    store.new_generation(name)


def _merge(store: MemoryStore, lane: int, *, goes: str, stays: str) -> None:
    """Join two sinks in one lane: what is above the lower cursor is pending there, what
    the other one owes and keeps below it goes along.
    """
    for sink in (goes, stays):
        take_back(store, sink, lane, store.cursors[stays][lane].position)
    letters = letters_of(store, stays, lane)
    known = store.parked_in(stays, lane) | {letter.stored.sequence for letter in letters}
    for letter in letters_of(store, goes, lane):
        if letter.stored.sequence in known:
            del store.letters[letter.id]
        else:
            store.count(stays, letter.stored.sequence, again=1, dead=1)
    for sequence in store.parked_in(goes, lane):
        if sequence not in known:
            store.count(stays, sequence, again=1)
    _move(store, lane, goes, stays, known)


def _move(
    store: MemoryStore, lane: int, sink: str, name: str, known: frozenset[int] = frozenset()
) -> None:
    """Give the letters and the parked events of a lane to another sink."""
    for letter in letters_of(store, sink, lane):
        store.letters[letter.id] = evolve(letter, sink=name)
    for device, queue in list(store.queues(sink).items()):
        if lane_of(device, store.lanes) != lane:
            continue
        del store.parked[sink][device]
        for event in queue.events:
            if event.stored.sequence not in known:
                there = store.park(name, event, evolve(queue, events=[]))
                there.due = min(there.due, queue.due)


def _move_state(store: MemoryStore, instance: str, name: str) -> None:
    """Let what an instance keeps go along, but for what the other keeps itself."""
    there = store.state.setdefault(name, {})
    for key, value in store.state.pop(instance, {}).items():
        there.setdefault(key, value)


def rename_source(store: MemoryStore, source: str, name: str) -> None:
    """Give a source another name; its keys stay, for they are made with its salt."""
    if source not in store.salts:
        raise LookupError(f"the spool knows no source {source!r}, it knows {sorted(store.salts)}")
    if name == source:
        return
    if name in store.salts:
        raise ValueError(
            f"source {source!r} cannot be renamed to {name!r}: the spool knows another source of "
            f"that name"
        )
    store.salts[name] = store.salts.pop(source)
    for part in ("source", "intake"):
        _move_state(store, f"{part}:{source}", f"{part}:{name}")

    def renamed(stored: Stored) -> Stored:
        return evolve(stored, source=name) if stored.source == source else stored

    for lane, events in store.events.items():
        store.events[lane] = [renamed(stored) for stored in events]
    for number, letter in store.letters.items():
        store.letters[number] = evolve(letter, stored=renamed(letter.stored))
    for queues in store.parked.values():
        for queue in queues.values():
            queue.events = [
                ParkedEvent(renamed(event.stored), event.letter) for event in queue.events
            ]
