"""The room for events: measured, given way to, refused. Used in the writer's thread.

    append ─▶ fits? ─▶ yes
                └ no ─▶ memories give way, in steps ─▶ fits? ─▶ no: sources are refused
    each second, while it is tight or refused: measured again

Pages that are free inside the file are room, so that a disk which the spool itself
filled is over it as soon as sinks deliver.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Protocol

from attrs import define, field

from bridge.api import Size
from bridge.spool.budget import GIVE_WAY, RESUME, Decision, Memory, decide, limit_of
from bridge.spool.disk import look_at_disk, taken
from bridge.spool.files import Files, Reserve
from bridge.spool.log import LONGEST, Log
from bridge.spool.transaction import Transaction, WriterState
from bridge.spool.usage import Usage, measure, used_and_free

LOOK = 60.0  # seconds between two looks at the disk while nothing is tight
MEASURE = 1 << 20  # bytes stored between two looks at the size of the file
# Bytes; what a file that must not grow keeps free inside, for cursors and the like.
SLACK = 1 << 20
NOTABLE = 0.1  # share by which the room on the disk changes before it is told again


class GiveWay(Protocol):
    """An operation: makes room."""

    def __call__(self, transaction: Transaction, size: int) -> int:
        """Delete about so many bytes of a memory, what was stored first before the
        rest, in a step of some 100 ms that copies no more than ``TRANSACTION`` bytes.
        Returns about how many bytes went; 0: nothing more may go.
        """
        ...


@define(eq=False)
class Room:
    """What events may use of the disk, and what they use."""

    files: Files
    reserve: Reserve
    log: Log
    max_size: int
    explicit: bool
    """Whether somebody wrote ``max_size``."""
    monotonic: Callable[[], float]
    giving: Mapping[Memory, GiveWay] = field(factory=dict)
    limit: int = 0
    """Bytes that events may use; ``max_size``, or what the disk leaves of it."""
    may_grow: bool = True
    """Whether the reserve is there. Without it the file stays as long as it is: a disk
    that is full, or a quota that nobody told of, has no room for more of it, and what
    is committed in the log must always find its place in the database.
    """
    usage: Usage = field(factory=lambda: Usage(0, 0, {}))
    disk_full: str | None = None
    too_large: str | None = None
    bounded: str | None = None
    """Why sources are refused although there is room: a sink owes more than it may."""
    watched: bool = False
    """Whether figures of a minute ago are too old: a sink may owe so much only."""
    notice: str | None = None
    """What should be told of the limit; a new text when it should be told again."""
    _grown: int = 0
    """Bytes stored since the last measurement, about."""
    _excess: int = 0
    """Bytes by which the log is longer than was reckoned with."""
    _looked: float | None = None
    _filled: float | None = None
    """When the disk refused to store."""
    _patience: float = 0.0
    """Seconds for which it is not tried again after that."""
    _told: int = 0

    @property
    def refusal(self) -> str | None:
        """Why there is no room for events, or None."""
        return self.disk_full or self.too_large or self.bounded

    @property
    def used(self) -> int:
        """Bytes in use: what the log is too long by is lost to events as well."""
        return self.usage.used + self._grown + self._excess

    @property
    def tight(self) -> bool:
        """Whether memories have to give way, or soon will."""
        return self.refusal is not None or self.used > GIVE_WAY * self.bound

    @property
    def bound(self) -> int:
        """Bytes that events may use now."""
        if self.may_grow:
            return self.limit
        return max(0, min(self.limit, self.usage.used + self.usage.free_inside - SLACK))

    def stored(self, size: int) -> None:
        """So many bytes were stored."""
        self._grown += size

    @property
    def worth_measuring(self) -> bool:
        """Whether so much was stored that the figures are old."""
        return self._grown >= min(MEASURE, self.limit // 64)

    def measure(self, connection: sqlite3.Connection, state: WriterState) -> None:
        """Look at the file."""
        if self.tight or self.watched or self._due():
            self.usage = measure(connection, state.heads)
        else:
            used, free = used_and_free(connection)
            self.usage = Usage(used, free, self.usage.memories, self.usage.each)
        self._grown, self._excess = 0, self.log.excess

    def look(self, connection: sqlite3.Connection, state: WriterState) -> None:
        """Look at the disk, now and then; at the file each time."""
        if self.tight or self._due():
            self._look_at_disk()
        self.measure(connection, state)
        if self._due():
            self._looked = self.monotonic()

    def decide(self, wanted: int, stuck: set[Memory]) -> Decision:
        """Decide what gives way.

        :param stuck: memories that have nothing more to give.
        """
        memories = {
            memory: size
            for memory, size in self.usage.memories.items()
            if memory in self.giving and memory not in stuck
        }
        return decide(self.bound, self.used, memories, wanted=wanted)

    def fits(self, size: int) -> bool:
        """Whether so many bytes may be stored now."""
        return self.used + size <= self.bound

    def refuse_growth(self) -> None:
        """There is no room for what is to be stored."""
        used = f"the spool holds {self.usage.used / (1 << 20):.1f} MiB"
        if self.bound < self.max_size:
            self.too_large = (
                f"{used}, the disk has room for {self.bound / (1 << 20):.1f} MiB of it; let the "
                "sinks deliver, purge sinks that are gone, or make room on the disk"
            )
        else:
            self.too_large = (
                f"{used}, the limit is max_size = {Size(self.max_size)}; "
                "let the sinks deliver, purge sinks that are gone, or raise the limit"
            )

    def refuse_all(self) -> None:
        """The disk refused to store: the reserve is given back to it."""
        self.reserve.release()
        self.may_grow = False
        if self.disk_full is None:
            # Where the system promises room that a quota does not give, it would be
            # full again at once.
            now = self.monotonic()
            lately = self._filled is not None and now - self._filled < LOOK
            self._patience = min(LOOK, max(1.0, 2 * self._patience)) if lately else 0.0
            self._filled = now
        self.disk_full = (
            f"no room left in {self.files.directory}; sources are refused until there is, sinks "
            "go on"
        )

    def reconsider(self) -> None:
        """See whether sources can be let in again."""
        laid_down = self.log.lay_down()
        # A reserve that cannot be made is none that is needed, as long as the file has
        # as much room inside and commits find theirs in the log.
        self.may_grow = self.reserve.make()
        waited = self._filled is None or self.monotonic() - self._filled >= self._patience
        inside = laid_down and self.usage.free_inside >= self.reserve.size
        if inside or (self.may_grow and waited):
            self.disk_full = None
        elif self.disk_full is None and not self.may_grow:
            self.refuse_all()
        if self.used <= RESUME * self.bound:
            self.too_large = None

    def _due(self) -> bool:
        return self._looked is None or self.monotonic() - self._looked >= LOOK

    def _look_at_disk(self) -> None:
        own = taken(self.files.database, self.files.log, self.files.reserve)
        self.limit = limit_of(
            self.max_size,
            explicit=self.explicit,
            disk=look_at_disk(self.files),
            own=own,
            reserve=self.reserve.size,
            log=LONGEST,
        )
        if self.limit == self.max_size:
            self.notice, self._told = None, 0
        elif self.notice is None or abs(self.limit - self._told) > NOTABLE * self._told:
            self._told = self.limit
            room = f"{self.limit / (1 << 20):.0f} MiB"
            if self.explicit:
                self.notice = (
                    f"max_size = {Size(self.max_size)} does not fit on the disk of "
                    f"{self.files.directory}, which has room for {room}; lower it, or make room"
                )
            else:
                self.notice = (
                    f"the disk of {self.files.directory} has room for {room} of events: that is "
                    f"the limit, not the {Size(self.max_size)} that max_size is by itself"
                )
