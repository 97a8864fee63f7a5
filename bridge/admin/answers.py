"""What answers to commands have in common: the names that are known, and what is said
of one that is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.api import JSON, CommandError, CommandHandler, SpoolUnavailable
from bridge.config.diagnostics import listed, nearest


def meant(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about a name that is not known."""
    known = sorted(known)
    if near := nearest(name, known):
        return f", did you mean {near!r}?"
    return f"; there are: {listed(known)}" if known else "; there is none"


def sink_unknown(sink: str, known: Iterable[str]) -> str:
    return f"the spool knows no sink {sink!r}{meant(sink, known)}"


def telling_refusals(handlers: Mapping[str, CommandHandler]) -> dict[str, CommandHandler]:
    """Let a spool that refuses be a sentence for the person, not a failure."""
    return {request: _telling(respond) for request, respond in handlers.items()}


def _telling(respond: CommandHandler) -> CommandHandler:
    async def answer(arguments: JSON) -> JSON:
        try:
            return await respond(arguments)
        except SpoolUnavailable as refused:
            raise CommandError(f"the spool cannot be written now: {refused.reason}") from refused

    return answer
