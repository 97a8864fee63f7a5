"""What the loop is told after each serving of the writer."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define, field

from bridge.spool.writer import Writer


@define(eq=False)
class Bell:
    """Wakes whoever waits, once."""

    _rung: trio.Event = field(factory=trio.Event)

    def ring(self) -> None:
        """Wake all."""
        self._rung.set()
        self._rung = trio.Event()

    async def wait(self) -> None:
        """Wait for the next ring."""
        await self._rung.wait()


@define(eq=False)
class Notices:
    """Wakes subscriptions when there is something new, and reports when the spool begins or ceases to refuse."""

    _writer: Writer
    _report: Callable[..., None]
    bells: set[Bell] = field(factory=set)
    """One for each subscription."""
    _heads: list[int] | None = None
    _reported: str | None = None

    def served(self) -> None:
        """Look at what changed. Runs in the loop before those who asked the writer go on."""
        if self._heads is not self._writer.memory.heads:
            self._heads = self._writer.memory.heads
            self.ring()
        if self._reported != self._writer.refusal:
            self._reported = self._writer.refusal
            self._report(self._reported or "stores events", problem=self._reported is not None)

    def ring(self) -> None:
        """Let every subscription look again."""
        for bell in self.bells:
            bell.ring()
