"""The way in: what the sources emit, into the spool.

    source ── outlet.emit ──▶ memory channel of the spool ──▶ commit, fsync
                 ◀──────── durable, or refused ──────────────────┘

An outlet makes an event ready to be stored, waits for its commit, and counts. Emits are
not gathered here: the engine commits together what waits (``bridge.spool.thread``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

import trio
from attrs import define, field, frozen

from bridge.api import Arrival, Event, Outlet, SpoolUnavailable, encode
from bridge.api.spool import Spool

log = logging.getLogger(__name__)


@define
class Intake:
    """What one source brought in since the bridge was started."""

    events: int = 0
    """Events acknowledged, duplicates included."""
    refused: int = 0
    """Events that the spool refused."""
    last: datetime | None = None
    """When the newest was acknowledged, UTC."""
    refused_since: datetime | None = None
    """When the spool first refused, or was too slow, since somebody took note of it;
    None if it did not.
    """
    devices: dict[str, float] = field(factory=dict)
    """Device to the time it was heard last, seconds since 1970; emptied by who watches
    the devices.
    """
    watched: bool = False
    """Whether somebody does, so that ``devices`` is kept."""

    def acknowledged(self, arrivals: Sequence[Arrival]) -> None:
        """Note what is on disk now."""
        received = arrivals[-1].received
        self.events += len(arrivals)
        self.last = received
        if self.watched:
            seconds = received.timestamp()
            for arrival in arrivals:
                self.devices[arrival.device] = seconds

    def not_acknowledged(self, count: int, since: datetime) -> None:
        """Note what was not stored, as far as its sender knows."""
        self.refused += count
        self.refused_since = self.refused_since or since


class Ingest:
    """The way into one spool, for all sources."""

    def __init__(self, spool: Spool, now: Callable[[], datetime]) -> None:
        self._spool = spool
        self._now = now
        self.intakes: dict[str, Intake] = {}
        """By name of the source."""

    def outlet(self, source: str) -> Outlet:
        """Return the outlet of a source."""
        intake = self.intakes.setdefault(source, Intake())
        return _SourceOutlet(source, self._spool, self._now, intake)

    async def recover(self, source: str, events: Sequence[Event]) -> int:
        """Store events that were read back from a history; returns how many were new.
        Durable on return.

        They do not count as received: nobody called.

        :raises SpoolUnavailable: when the spool takes nothing now.
        :raises ValueError: when one of them cannot be stored whatever the spool does.
        """
        return await self._spool.append(_arrivals(source, events, self._now()))


@frozen
class _SourceOutlet:
    source: str
    spool: Spool
    now: Callable[[], datetime]
    intake: Intake

    async def emit(self, *events: Event) -> None:
        """See :class:`bridge.api.Outlet`."""
        received = self.now()
        arrivals = _arrivals(self.source, events, received)
        if not arrivals:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self.spool.append(arrivals)
        except (SpoolUnavailable, trio.Cancelled):
            self.intake.not_acknowledged(len(events), received)
            raise
        except Exception as exc:
            # A defect of the engine must not end the source: nothing is acknowledged,
            # its senders try again.
            log.exception("spool: append failed unexpectedly; nothing was acknowledged")
            self.intake.not_acknowledged(len(events), received)
            raise SpoolUnavailable("the spool failed unexpectedly") from exc
        self.intake.acknowledged(arrivals)


def _arrivals(source: str, events: Sequence[Event], received: datetime) -> list[Arrival]:
    return [
        Arrival(
            source,
            event.key,
            event.device,
            encode(event),
            received,
            event.former_keys,
            event.key_time,
        )
        for event in events
    ]
