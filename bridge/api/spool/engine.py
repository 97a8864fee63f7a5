"""The engine: an open spool, and how one is opened."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from attrs import frozen

from bridge.api.context import KeyValue
from bridge.api.events import Arrival
from bridge.api.fields import Size
from bridge.api.problems import Problem
from bridge.api.spool.balance import Account, ParkedDevice
from bridge.api.spool.lending import Subscription
from bridge.api.spool.letters import KeptLetter, LetterEvent, LetterFilter, Rewind

S_contra = TypeVar("S_contra", contravariant=True)


def lane_of(device: str, lanes: int) -> int:
    """Return the lane of a device: the same in every process and version, for ever."""
    return zlib.crc32(device.encode("utf-8", "surrogatepass")) % lanes


class Spool(Protocol):
    """An open spool."""

    @property
    def refusal(self) -> str | None:
        """Why ``append`` refuses now (full, disk full, failing), or None."""
        ...

    async def append(self, arrivals: Sequence[Arrival]) -> int:
        """Store events together; returns how many were new, the others were known.
        Durable on return.

        Each source calls it for itself, many at once: an engine commits together what
        waits, and bounds how much that is.

        :raises SpoolUnavailable: nothing was stored. Sinks go on.
        """
        ...

    def subscribe(
        self,
        sink: str,
        *,
        batch: int,
        sources: Collection[str] | None = None,
        start: Literal["now", "beginning"] = "now",
        max_backlog: Size | None = None,
        when_full: Literal["refuse", "expire"] = "refuse",
    ) -> AbstractAsyncContextManager[Subscription]:
        """Open the way out for a sink. Its name is its identity.

        :param batch: most events in one lease.
        :param sources: names of the sources it wants; the events of others count as
            filtered. None: all.
        :param start: where a sink that the spool has never seen begins: after the
            newest event, or at the oldest kept.
        :param max_backlog: most bytes that it may owe; an engine that measures nothing
            has no such bound.
        :param when_full: what happens when it owes more, or the spool is full: sources
            are refused, or its oldest events go, counted as expired.
        """
        ...

    def state(self, instance: str) -> KeyValue:
        """Return the durable memory of an instance, such as ``source:sensors``."""
        ...

    async def accounts(self, configured: Collection[str]) -> list[Account]:
        """Return the balance of every sink the spool knows.

        Sinks not in ``configured`` are orphaned.
        """
        ...

    async def parked(self, sink: str, *, after: str = "", limit: int = 100) -> list[ParkedDevice]:
        """Return the parked devices of a sink behind this one, by their names."""
        ...

    async def retry_parked(self, sink: str, device: str | None = None) -> int:
        """Make a parked device, or all of them, due now; returns how many."""
        ...

    async def letters(
        self, wanted: LetterFilter, *, after: int = 0, limit: int = 100
    ) -> list[KeptLetter]:
        """Return dead letters with a higher number than ``after``, in order of their
        numbers.
        """
        ...

    async def letter(self, number: int) -> LetterEvent | None:
        """Return a dead letter with its event; None if there is none of this number."""
        ...

    async def replay(self, numbers: Sequence[int]) -> int:
        """Park the events of dead letters at their sinks, in order, due now; returns
        how many. Those that cannot be read back, and those of a sink that the spool
        does not know, stay.

        No append: they go to the sink that refused them, and to no other.
        """
        ...

    async def drop(self, numbers: Sequence[int]) -> int:
        """Forget dead letters, and count them as expired; returns how many."""
        ...

    async def purge(self, sink: str) -> int:
        """Forget a sink and what it owes; returns how many events were pending.

        Its dead letters stay.
        """
        ...

    async def rename(self, sink: str, name: str) -> None:
        """Give what a sink owes and keeps another name, the state ``sink:NAME``
        included.

        Where a sink of that name has begun, each lane goes on at the lower of both
        cursors: events may come again, none is lost.

        :raises LookupError: when the spool knows no such sink.
        """
        ...

    async def rename_source(self, source: str, name: str) -> None:
        """Give a source another name: what it stored is known under the new one, and
        the states ``source:NAME`` and ``intake:NAME`` go along.

        :raises LookupError: when the spool knows no such source.
        :raises ValueError: when it knows another one of the new name.
        """
        ...

    async def rewind(self, sink: str, to: datetime, *, plan: bool = False) -> Rewind:
        """Make pending again what was received at a time or later, as far as it is
        kept.

        :param plan: only say what would be pending again.
        :raises LookupError: when the spool knows no such sink.
        """
        ...


@frozen
class SpoolContext:
    """What an engine is given."""

    directory: Path
    """The state folder of the instance; exists."""
    sinks: tuple[str, ...]
    """Names of the configured sinks."""
    report: Callable[..., None]
    """As ``Report`` in ``bridge.api.context``."""
    now: Callable[[], datetime]


class OpenSpool(Protocol[S_contra]):
    """Open a spool.

    Refuses with ``SpoolError`` when another process has it or it cannot be used.
    """

    def __call__(
        self, settings: S_contra, context: SpoolContext
    ) -> AbstractAsyncContextManager[Spool]:
        """Open."""
        ...


class SpoolError(Exception):
    """The spool cannot be opened; the message says why and what to do."""


class WrongSpoolError(SpoolError):
    """What is there is not what was there last. Starting again does not help: a person
    must decide what to go on with.
    """

    def __init__(self, problem: Problem, message: str) -> None:
        super().__init__(f"{message} ({problem.name})")
        self.problem = problem
