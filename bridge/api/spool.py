"""The spool contract: the durable log between sources and sinks.

It is small enough that an engine shared by several nodes can keep it as well:

* ``append`` is atomic, durable on return, and knows duplicates by (source, key) in the
  same transaction.
* A *lane* is a share of the devices (:func:`lane_of`); the events of a lane are read in
  order.
* ``subscribe`` lends batches, each of one lane, in order, one in hand per lane.
* ``settle`` moves the lane's cursor by compare-and-set, together with dead letters, in
  one transaction.
* What was not settled is lent again. What was cancelled may have been done.
* Every sink keeps its own cursors, under its name. Nothing is deleted that a sink still
  owes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from attrs import frozen

from bridge.api.context import KeyValue
from bridge.api.events import Arrival, Stored

S_contra = TypeVar("S_contra", contravariant=True)


def lane_of(device: str, lanes: int) -> int:
    """Return the lane of a device: the same in every process and version, for ever."""
    return zlib.crc32(device.encode("utf-8", "surrogatepass")) % lanes


class Stale(Exception):
    """Somebody else moved this lane's cursor, or the lease has ended: what was
    delivered will be lent again.
    """


@frozen
class DeadLetter:
    """An event that a sink refused for good."""

    index: int
    """Position in the lent events."""
    reason: str
    status: int | None
    """HTTP status, if there was one."""
    attempts: int
    time: datetime
    """When it was given up, UTC."""


class Lease(Protocol):
    """Events of one lane, lent to one sink until settled in whole or given back."""

    @property
    def lane(self) -> int:
        """Number of the lane."""
        ...

    @property
    def events(self) -> tuple[Stored, ...]:
        """Events in order, at least one. What ``settle`` covered is gone from it."""
        ...

    async def settle(
        self, count: int, *, filtered: int = 0, dead: Sequence[DeadLetter] = (), rest: float = 0.0
    ) -> None:
        """Say that the first ``count`` events are done: dead letters, ``filtered``, and
        the rest delivered.

        Moves the lane's cursor over them. When all are settled the lane is free again.

        :param rest: seconds for which the lane is not lent again after its last event
            was settled, so that what arrives meanwhile comes together.

        :raises Stale: when the cursor is not where this lease began.
        :raises SpoolUnavailable: when the store cannot write now. Nothing has moved:
            settle again later.
        """
        ...

    def give_back(self) -> None:
        """End the lease without settling the rest; the lane may be lent again.

        Nothing happens if it has ended.
        """
        ...


class Subscription(Protocol):
    """The way out of the spool for one sink."""

    async def take(self, linger: float = 0.0) -> Lease:
        """Wait until a lane that is not in hand has events for this sink, and lend the
        first of them.

        Lanes take turns. At most ``batch`` events.

        :param linger: seconds to let more events arrive, where this call had to wait
            for the first.
        """
        ...


@frozen
class Account:
    """The balance of one sink: ``received == delivered + filtered + dead + expired +
    pending``.
    """

    sink: str
    received: int
    """Events stored since this sink began."""
    delivered: int
    filtered: int
    """Not wanted by its ``sources``, or without anything for it."""
    dead: int
    expired: int
    pending: int
    oldest_pending: datetime | None
    """When the oldest waiting event was received; None if nothing waits."""
    orphaned: bool
    """True if no section of the configuration names this sink: its backlog is kept
    until purged.
    """

    @property
    def balanced(self) -> bool:
        """Whether every received event is in exactly one state."""
        return (
            self.received
            == self.delivered + self.filtered + self.dead + self.expired + self.pending
        )

    def __str__(self) -> str:
        """Return the balance in one line."""
        return (
            f"{self.sink}: received {self.received} = delivered {self.delivered} "
            f"+ dead {self.dead} + filtered {self.filtered} + expired {self.expired} "
            f"+ pending {self.pending}"
            f"{'' if self.balanced else '   DOES NOT ADD UP'}"
            f"{'   (orphaned)' if self.orphaned else ''}"
        )


@frozen
class Audit:
    """What the rows of a spool prove, whatever its counters say."""

    accounts: tuple[Account, ...]
    problems: tuple[str, ...]
    """What does not hold, in sentences."""

    @property
    def balanced(self) -> bool:
        """Whether every received event is in exactly one state, for every sink."""
        return not self.problems and all(account.balanced for account in self.accounts)


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
    ) -> AbstractAsyncContextManager[Subscription]:
        """Open the way out for a sink. Its name is its identity.

        :param batch: most events in one lease.
        :param sources: names of the sources it wants; the events of others count as
            filtered. None: all.
        :param start: where a sink that the spool has never seen begins: after the
            newest event, or at the oldest kept.
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

    async def purge(self, sink: str) -> int:
        """Forget a sink and what it owes; returns how many events were pending.

        Its dead letters stay.
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
