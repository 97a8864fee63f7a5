"""What a spool can say and prove of each sink."""

from __future__ import annotations

from datetime import datetime

from attrs import field, frozen


@frozen
class Account:
    """The balance of one sink: ``received + again == delivered + filtered + dead +
    expired + pending``.
    """

    sink: str
    received: int
    """Events stored since this sink began."""
    delivered: int
    filtered: int
    """Not wanted by its ``sources``, or without anything for it."""
    dead: int
    expired: int
    """Given up to a bound: of an orphan's grace, of the letters' budget, of
    ``max_backlog``.
    """
    pending: int
    """Waiting, the parked ones included."""
    oldest_pending: datetime | None
    """When the oldest waiting event was received; None if nothing waits."""
    orphaned: bool
    """True if no section of the configuration names this sink."""
    again: int = field(default=0, kw_only=True)
    """Put back by a rewind, or by a replay of letters of a purged life."""
    parked: int = field(default=0, kw_only=True)
    """Events of devices that wait apart."""
    parked_devices: int = field(default=0, kw_only=True)

    @property
    def balanced(self) -> bool:
        """Whether every received event is in exactly one state."""
        return self.received + self.again == (
            self.delivered + self.filtered + self.dead + self.expired + self.pending
        )

    def __str__(self) -> str:
        """Return the balance in one line."""
        again = f" + again {self.again}" if self.again else ""
        parked = f" ({self.parked} parked)" if self.parked else ""
        return (
            f"{self.sink}: received {self.received}{again} = delivered {self.delivered} "
            f"+ dead {self.dead} + filtered {self.filtered} + expired {self.expired} "
            f"+ pending {self.pending}{parked}"
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


@frozen
class ParkedDevice:
    """A device that waits apart at one sink."""

    sink: str
    device: str
    events: int
    since: datetime
    """When its first waiting event was received, UTC."""
    waited: float
    """Seconds for which it has waited while the bridge ran."""
    due: float
    """Seconds until it is tried; 0 or less: now."""
    attempts: int
    """Made for its first event."""
    why: str
