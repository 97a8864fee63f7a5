"""History: how a kind of source gets back what happened while nobody listened.

A vendor's cloud keeps a record. A kind that can read it gives a :class:`Recovery`; the
core decides when to read, from when to when, and how fast:

    gap known (start, silence, refusals, a command) ──▶ job, kept in the spool
        └─ part by part, page by page ──▶ events, marked ──▶ spool, behind what is live
                     └─ part done, kept in the spool

Recovered events have the keys that the live ones have: what was received already is
known once. Each gets the label ``bridge.recovered``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from attrs import frozen

from bridge.api.context import SourceContext
from bridge.api.events import Event

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)

RECOVERED = "bridge.recovered"
"""Label of an event that was read back from a history; its text is ``true``."""


@frozen
class Page:
    """Some of what a history holds."""

    events: tuple[Event, ...] = ()
    """Oldest first, as far as the vendor tells."""
    cursor: str | None = None
    """Where the next page begins, in the vendor's words; None: this was the last."""


class History(Protocol):
    """The vendor's record, open for reading. Called by one task at a time.

    Each call makes one attempt:

    :raises Retry: another attempt may succeed; ``after`` is what the vendor asked for.
    :raises Pause: nothing can be read until a person acts.
    """

    async def parts(self) -> Sequence[str]:
        """Name what is read one after the other: devices, points, monitors; in the
        vendor's words, each once.
        """
        ...

    async def page(self, part: str, start: datetime, end: datetime, cursor: str | None) -> Page:
        """Read a page of what happened from ``start`` to ``end``; more at either side
        does no harm.

        :param cursor: None for the first page, then what the page before gave.
        :raises Reject: this part cannot be read (unknown device); the others may.
        """
        ...


class OpenHistory(Protocol[S_contra]):
    """Open a history. An exception on entry is handled as one of its calls."""

    def __call__(
        self, settings: S_contra, context: SourceContext
    ) -> AbstractAsyncContextManager[History]:
        """Open."""
        ...


def _sends_again(_settings: object) -> str:
    return "its vendor sends again what was not taken"


@frozen
class Recovery(Generic[S]):
    """How instances of a kind read back what they missed."""

    open: OpenHistory[S]
    lacks: Callable[[S], str | None]
    """What these settings lack to read the history, and what is missing therefore, in
    one sentence; None: nothing.
    """
    meanwhile: Callable[[S], str] = _sends_again
    """What the vendor does about a gap by itself with these settings, to be said of one
    that is not read back.
    """
    parts: str = "devices"
    """What the parts are called in reports, in the plural."""
    automatic: bool = True
    """Default of the setting ``backfill``: whether a gap is read back by itself."""
    after: float = 0.0
    """Seconds: default of the setting ``backfill_after``. A shorter gap the vendor
    closes by sending again.
    """
    overlap: float = 60.0
    """Seconds: default of the setting ``backfill_overlap``, how far before the gap
    reading begins.
    """
    delay: float = 0.0
    """Seconds until what happened can be read from the history."""
    reach: float | None = None
    """Seconds for which the vendor keeps its record; None: not known."""
