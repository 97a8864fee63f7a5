"""What an open spool has beside its store: a clock, a bell, and a knob."""

from __future__ import annotations

import trio
from attrs import define, field

from bridge.api import SpoolUnavailable
from bridge.api.spool import Stale
from bridge.testing.memory.cursors import Cursor
from bridge.testing.memory.store import MemoryStore


@define(eq=False)
class Life:
    """One opening of a store."""

    store: MemoryStore
    refuse_writes: str | None = field(default=None, kw_only=True)
    """Set to a reason: everything but ``append`` that writes raises it."""
    _changed: trio.Event = field(factory=trio.Event, init=False)
    _opened: float | None = field(default=None, init=False)
    """On trio's clock; None until it is asked, for a spool may be made before trio
    runs.
    """

    def running(self) -> float:
        """Return for how many seconds the store was open so far."""
        if self._opened is None:
            self._opened = trio.current_time()
        return self.store.running + trio.current_time() - self._opened

    def close(self) -> None:
        """Keep for how long it ran."""
        self.store.running = self.running()
        self._opened = None

    def check_writes(self) -> None:
        """Refuse, if told so."""
        if self.refuse_writes is not None:
            raise SpoolUnavailable(self.refuse_writes)

    def wake(self) -> None:
        """Let every subscription look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def change(self) -> None:
        """Wait until something was stored, settled or given back."""
        await self._changed.wait()

    def cursors(self, sink: str) -> list[Cursor]:
        """Return the cursors of a subscribed sink.

        One that was purged meanwhile begins again, now.
        """
        if sink not in self.store.cursors:
            self.store.begin(sink, "now")
        return self.store.cursors[sink]

    def check_generation(self, sink: str, generation: int) -> None:
        """Refuse to settle what was lent before a purge, a rewind or a rename."""
        if self.store.generations.get(sink) != generation:
            raise Stale(f"{sink} was purged, rewound or renamed since this was lent")
