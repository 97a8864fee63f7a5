"""Why the events of a device wait apart, and until when."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from bridge.api.spool import Parking


@frozen
class Waiting:
    """Why a device waits, and for how long."""

    why: str
    after: float
    """Seconds until it is tried again."""
    attempts: int
    """Made for its first event."""

    def parking(self, device: str, indexes: Iterable[int] = ()) -> Parking:
        """Return how the spool is told.

        :param indexes: positions of its events in the lease; none: it was parked
            already.
        """
        return Parking(device, tuple(indexes), self.why, self.after, self.attempts)
