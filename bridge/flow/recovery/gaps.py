"""Gaps: since when did a source receive nothing, and might it have missed something?

    last receipt, kept in the spool ──▶ start ──▶ gap
    silence of an hour or more, then an event ──▶ gap
    refused, or stored too late ──▶ gap, when the next event is stored

Looked at every half minute, so that the way of an event has nothing to do with it. What
is kept may therefore be half a minute old after a crash: the gap is then seen a little
longer than it was, which costs nothing but some reading.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import trio

from bridge.api import KeyValue, Report, SpoolUnavailable
from bridge.flow.ingest import Intake

TICK = 30.0  # seconds between two looks
FIRST_TICK = 1.0  # the same until the first event ever: before it is kept, no gap can be known
SILENCE = 3600.0  # seconds without an event that are a gap although the bridge was up
NOT_WORTH_A_WORD = 60.0  # seconds of a gap that nobody needs to hear of
RECEIVED = "received"  # key of the last receipt

Found = Callable[[datetime, bool], None]
"""Called with the beginning of a gap that ends now, and whether the bridge was up and
refused nothing all the while.
"""


async def watch_gaps(
    intake: Intake, state: KeyValue, found: Found, now: Callable[[], datetime]
) -> None:
    """Watch one source until cancelled; then keep when it last received."""
    kept = last_receipt(state)
    if kept is not None:
        found(kept, False)
    known = now()  # up to here every gap is known
    try:
        while True:
            await trio.sleep(FIRST_TICK if kept is None else TICK)
            last = intake.last
            if last is not None and last != kept:
                _look(intake, known, last, found)
                known = kept = last
                await _keep(state, last)
    finally:
        if intake.last is not None and intake.last != kept:
            with trio.move_on_after(1.0, shield=True):
                await _keep(state, intake.last)


def last_receipt(state: KeyValue) -> datetime | None:
    """Return the last receipt that was kept; None before the first."""
    kept = state.get(RECEIVED)
    return None if kept is None else datetime.fromisoformat(kept)


def _look(intake: Intake, known: datetime, last: datetime, found: Found) -> None:
    """Judge what happened since the look before."""
    if intake.refused_since is not None and last > intake.refused_since:
        since, intake.refused_since = intake.refused_since, None
        found(since, False)
    elif (last - known).total_seconds() >= SILENCE:
        found(known, True)


async def _keep(state: KeyValue, last: datetime) -> None:
    try:
        await state.put(RECEIVED, last.isoformat())
    except SpoolUnavailable:
        pass  # the spool reports why; the next look keeps it


def tell_of_gap(report: Report, now: Callable[[], datetime], since: datetime, up: bool) -> None:
    """Report a gap of a source that can read nothing back."""
    length = (now() - since).total_seconds()
    if length >= NOT_WORTH_A_WORD and not up:
        report(
            f"gap {span(length)}: what its vendor does not send again is missing; its plugin "
            "can read nothing back"
        )


def span(seconds: float) -> str:
    """Write a length of time as people say it: ``2 h 13 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((place for place, (number, _) in enumerate(parts) if number), 3)
    return (
        " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number) or "0 s"
    )
