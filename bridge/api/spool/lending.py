"""What a spool lends to a sink, and how it is settled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from attrs import frozen

from bridge.api.events import Stored


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


@frozen
class Parking:
    """Events of one device that wait apart from their lane, because of this device
    alone.
    """

    device: str
    indexes: tuple[int, ...]
    """Positions in the lent events, ascending: the last ones of the device among those
    that are settled. Of a lease that was parked already: empty, what is left of it
    waits on.
    """
    why: str
    after: float
    """Seconds until its first event may be tried again."""
    attempts: int = 0
    """Made for its first event so far."""


class Lease(Protocol):
    """Events of one lane, or of one parked device, lent to one sink until settled in
    whole or given back.
    """

    @property
    def lane(self) -> int:
        """Number of the lane."""
        ...

    @property
    def events(self) -> tuple[Stored, ...]:
        """Events in order, at least one. What ``settle`` covered is gone from it."""
        ...

    @property
    def parked(self) -> bool:
        """Whether these are the first events of a parked device, and of it alone."""
        ...

    @property
    def attempts(self) -> int:
        """Attempts that were made before for the first event of a parked device; 0 for
        a lane.
        """
        ...

    @property
    def replay(self) -> bool:
        """Whether these were dead letters, or are lent again after a rewind: they stand
        outside the order of their devices' other events.
        """
        ...

    async def settle(
        self,
        count: int,
        *,
        filtered: int = 0,
        dead: Sequence[DeadLetter] = (),
        park: Sequence[Parking] = (),
        rest: float = 0.0,
    ) -> None:
        """Say that the first ``count`` events are done here: dead letters,
        ``filtered``, those that are parked, and the rest delivered.

        Moves the lane's cursor over them; of a parked device, takes them from its
        front. When all are settled the lane or the device is free again.

        :param count: may be 0 with ``park`` where a device waits on.
        :param rest: seconds for which the lane is not lent again after its last event
            was settled, so that what arrives meanwhile comes together.

        :raises Stale: when the cursor is not where this lease began.
        :raises SpoolUnavailable: when the store cannot write now. Nothing has moved:
            settle again later.
        """
        ...

    def give_back(self) -> None:
        """End the lease without settling the rest; it may be lent again.

        Nothing happens if it has ended.
        """
        ...


class Subscription(Protocol):
    """The way out of the spool for one sink."""

    async def take(self, linger: float = 0.0) -> Lease:
        """Wait until a lane that is not in hand has events for this sink, and lend the
        first of them.

        Lanes take turns. At most ``batch`` events. Events of parked devices are left
        out: they are parked behind the others of their device when what surrounds them
        is settled.

        :param linger: seconds to let more events arrive, where this call had to wait
            for the first.
        """
        ...

    async def take_parked(self) -> Lease:
        """Wait until a parked device is due that no lease in hand holds, and lend its
        first events: the one that is due longest first.
        """
        ...

    async def stop_replay(self) -> int:
        """Make what is still parked of a replay dead letters again, as they were;
        returns how many.
        """
        ...
