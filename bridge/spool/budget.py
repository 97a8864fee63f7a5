"""The budget: how many bytes events may use, and what gives way before a source is
refused. Figures in, a decision out; nothing here looks at a file.

    free + own files │ 10 % of the disk │ reserve │ longest log │ budget ≤ max_size
    budget           │ keys ≤ 1/5 │ kept ≤ 1/5 │ letters ≤ 1/5 │ orphans ≤ 1/5 │ owed

What a configured sink still owes may fill all of it; the others are memories of the
bridge itself, and must never stop it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen

from bridge.spool.disk import Disk

LEFT_TO_OTHERS = 0.1  # share of the file system that the default limit never takes
SHARE = 5  # of the budget, a memory may use one part in so many
# Share of the budget at which memories begin to give way: not the first source that
# finds no room should have to wait for it.
GIVE_WAY = 0.97
# Share of the budget at which sources are let in again: a full spool must not flicker.
RESUME = 0.95


class Memory(StrEnum):
    """What gives way, in this order."""

    KEPT = "kept"
    """Events that every sink has settled."""
    ORPHANS = "orphans"
    """What only sinks that no section names still owe, parked events included."""
    LETTERS = "letters"
    KEYS = "keys"


@frozen
class Decision:
    """What has to happen."""

    give_way: tuple[tuple[Memory, int], ...]
    """Bytes that have to go, in the order in which it is tried; none of 0."""
    refuse: bool
    """Whether there is no room even after that."""


def limit_of(max_size: int, *, explicit: bool, disk: Disk, own: int, reserve: int, log: int) -> int:
    """Return how many bytes events may use; 0: none.

    :param explicit: whether somebody wrote ``max_size``: then the share that is left to
        other programs may be used, too.
    :param own: what the files of the spool take up now: the database, its log, the
        reserve.
    :param log: the longest that the log becomes.
    """
    room = disk.free + own - reserve - log
    if not explicit:
        room -= int(disk.size * LEFT_TO_OTHERS)
    if disk.largest_file is not None:
        room = min(room, max(disk.largest_file - log, disk.largest_file // 2))
    return max(0, min(max_size, room))


def decide(limit: int, used: int, memories: Mapping[Memory, int], *, wanted: int = 0) -> Decision:
    """Decide what gives way.

    :param used: bytes in use, whatever for.
    :param memories: bytes of each memory that may go; what is not in it has nothing to
        give.
    :param wanted: bytes that are to be stored now.
    """
    share = limit // SHARE
    giving = {memory: max(0, memories.get(memory, 0) - share) for memory in Memory}
    over = used + wanted - int(limit * GIVE_WAY) - sum(giving.values())
    for memory in Memory:
        more = min(memories.get(memory, 0) - giving[memory], max(0, over))
        giving[memory] += more
        over -= more
    left = used + wanted - sum(giving.values())
    return Decision(tuple((memory, size) for memory, size in giving.items() if size), left > limit)
