"""What ``bridged KIND backfill`` asks a running source.

It may ask to read back a span of time, or only what that would be, and then how far it
is.
"""

from __future__ import annotations

from datetime import UTC, datetime

from bridge.api import JSON, CommandError, CommandHandler, Pause, Reject, Retry
from bridge.flow.recovery.recoverer import Recoverer

BACKFILL = "backfill"
PROGRESS = "backfill-progress"


def command_handlers(recoverer: Recoverer) -> dict[str, CommandHandler]:
    """Return the functions that answer, by request."""

    async def backfill(arguments: JSON) -> JSON:
        """Begin a job, or say what one would read."""
        start, end = _time(arguments["from"]), _time(arguments["to"])
        if end <= start:
            raise CommandError(
                f"--to must be after --from, got {start.isoformat()} to {end.isoformat()}"
            )
        if (lacks := recoverer.recovery.lacks(recoverer.settings)) is not None:
            raise CommandError(f"nothing can be read back: {lacks}")
        if arguments["dry_run"]:
            return {"parts": await _parts(recoverer), "called": recoverer.recovery.parts}
        job = recoverer.ask("asked for", start, end)
        await recoverer.keep()
        return {"job": job.number}

    async def progress(arguments: JSON) -> JSON:
        number = arguments["job"]
        for job in recoverer.jobs:
            if job.number == number:
                return {"finished": False, "text": recoverer.progress(job)}
        if number in recoverer.results:
            return {"finished": True, "text": recoverer.results[number]}
        raise CommandError(
            f"there is no job {number}; the bridge may have finished it before it was started again"
        )

    return {BACKFILL: backfill, PROGRESS: progress}


async def _parts(recoverer: Recoverer) -> list[str]:
    try:
        return await recoverer.list_parts()
    except (Retry, Pause, Reject) as verdict:
        raise CommandError(f"the history cannot be read now: {verdict.why}") from verdict


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
