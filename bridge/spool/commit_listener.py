"""What the loop is told after each serving of the writer."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from bridge.api import RepeatedEvent
from bridge.spool.writer import Writer


@define(eq=False)
class CommitListener:
    """Wakes subscriptions when there is something new, and reports when the spool
    begins or ceases to refuse.
    """

    _writer: Writer
    _report: Callable[..., None]
    waiting: set[RepeatedEvent] = field(factory=set)
    """One for each subscription."""
    _heads: list[int] | None = None
    _reported: str | None = None

    def served(self) -> None:
        """Look at what changed.

        Runs in the loop before those who asked the writer go on.
        """
        if self._heads is not self._writer.state.heads:
            self._heads = self._writer.state.heads
            self.wake()
        if self._reported != self._writer.refusal:
            self._reported = self._writer.refusal
            self._report(self._reported or "stores events", problem=self._reported is not None)

    def wake(self) -> None:
        """Let every subscription look again."""
        for each in self.waiting:
            each.set()
