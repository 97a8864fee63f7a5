"""What was sent, acknowledged, replayed and lost, for tests to look up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from attrs import define, field

from bridge.api import RepeatedEvent


@define
class Recorder:
    """Knows events by the ids that ``publish`` returns."""

    sent: set[int] = field(factory=set)
    acked: set[int] = field(factory=set)
    """Acknowledged; with ``monAckOption`` off too, where the service has no use for it.
    """
    replayed: set[int] = field(factory=set)
    lost: set[int] = field(factory=set)
    """Dropped: nobody was attached and nothing recorded them, the record was full, or
    it was cleared.
    """
    withheld: set[int] = field(factory=set)
    """Never published: files that are too large, and files that were deleted."""
    times_sent: Counter[int] = field(factory=Counter)
    blocks: int = 0
    """Frames with a block, keep-alives among them."""
    keep_alives: int = 0
    full_acks: int = 0
    """Acks of ten bytes."""
    short_acks: int = 0
    """Acks of six bytes, as old clients send them."""
    stray_acks: int = 0
    """Acks of blocks that this connection does not wait for."""
    logins: int = 0
    refusals: int = 0
    protocol_errors: int = 0
    throttled: int = 0
    """REST calls that the rate rule refused."""
    calls: list[str] = field(factory=list)
    """REST calls: method and path."""
    queries: list[str] = field(factory=list)
    """Their queries, as sent; empty ones too, so that both lists go together."""
    bodies: list[bytes] = field(factory=list)
    """Bodies of the REST calls that had one."""
    _news: RepeatedEvent = field(factory=RepeatedEvent)

    @property
    def unacked(self) -> set[int]:
        """Sent, but not acknowledged."""
        return self.sent - self.acked

    def note_sent(self, events: Iterable[int], *, replayed: bool) -> None:
        """Note that a block went out."""
        ids = list(events)
        self.blocks += 1
        self.sent.update(ids)
        self.times_sent.update(ids)
        if replayed:
            self.replayed.update(ids)

    def changed(self) -> None:
        """Wake those who wait in :meth:`until`."""
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the record holds."""
        while not condition():
            await self._news.wait()
