"""How often a lane goes.

A request costs this machine about the same whatever it carries. So a lane rests after a
delivery that was not full, some times as long as it took: some milliseconds while all
is quiet, and longer the busier this machine or the destination is. What arrives
meanwhile goes in one request.

A lane that has to wait tries again by itself. While the whole sink fails or is paused,
its breaker holds all lanes back (``retry``). A device that has to wait does so in the
spool, for an hour at most: it costs no more than one attempt in that time.
"""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import field, frozen

from bridge.api import Pause, backoff
from bridge.flow.delivery.decisions import Decision, DeviceVerdict, Next
from bridge.flow.delivery.retry import MAX_RETRY_AFTER

REST = 8.0  # times as long as its delivery took a lane rests
MAX_REST = 1.0  # seconds that a reading may come late because somebody is busy
MAX_DEVICE_WAIT = 3600.0  # seconds until a device that waits apart is tried again


@frozen
class Policy:
    """The core's settings of one sink."""

    batch: int
    in_flight: int
    timeout: float
    """Seconds for one attempt."""
    linger: float
    retry_base: float
    retry_cap: float
    pause_probe: float
    reject_limit: int
    one_device: bool

    def wait(self, decision: Decision, failures: int, random: Callable[[], float]) -> float:
        """Return the seconds that a lease waits before its next attempt.

        :param failures: of this lease in a row, the last one counted.
        """
        if decision.next is Next.SINK_PAUSES:
            return 0.0  # the breaker holds it
        return backoff(failures, self.retry_base, self.retry_cap, random)

    def device_wait(
        self, verdict: DeviceVerdict, attempts: int, random: Callable[[], float]
    ) -> float:
        """Return the seconds that a device waits apart before its next attempt.

        :param attempts: for its first event, the last one counted.
        """
        wait = backoff(attempts, self.retry_base, MAX_DEVICE_WAIT, random)
        if isinstance(verdict, Pause):
            return min(max(wait, self.pause_probe), MAX_DEVICE_WAIT)
        return max(wait, min(verdict.after or 0.0, MAX_RETRY_AFTER))


@frozen
class Stopwatch:
    """Measures a delivery, from when its lease was taken."""

    rests: bool
    """False for a full lease: more of the same waits, and it goes at once."""
    _began: float = field(factory=trio.current_time)

    def rest(self) -> float:
        """Return the seconds that the lane rests if the delivery ends now."""
        return min(REST * (trio.current_time() - self._began), MAX_REST) if self.rests else 0.0
