"""What a session says of itself once it is attached: where, what is dangerous, and what
may be missing.

    attached to monitor 178008 at remotemanager.digi.com:3201
    ... after 5m away; what happened meanwhile ... is replayed
    ... after 5m away, NOT RECORDED (replay = no): ...; what happened ... is missing

A short absence is the service's daily life and not worth a word.
"""

from __future__ import annotations

from attrs import frozen

from bridge.api import Duration, Problem

from ..problems import MONITOR_CHANGED, RECORD_LOST, UNSAFE_SETTINGS
from ..settings import Settings

LONG_ABSENCE = 60.0  # seconds without a session that are told


@frozen
class SessionStatus:
    """What is known when a session begins."""

    monitor: int
    away: float | None = None
    """Seconds since the session before; None: this is the first."""
    loss: str | None = None
    """What was lost with a monitor since then."""
    altered: str = ""
    """How somebody has changed the monitor since then."""

    def problem(self, settings: Settings) -> Problem | None:
        """What a person should look at first; None: nothing."""
        if self.loss is not None:
            return RECORD_LOST
        if self.altered:
            return MONITOR_CHANGED
        return UNSAFE_SETTINGS if settings.dangers else None

    def text(self, settings: Settings) -> str:
        """The sentence for the board."""
        where = f"attached to monitor {self.monitor} at {settings.host}:{settings.port}"
        long = self.away is not None and self.away >= LONG_ABSENCE
        if self.away is not None and long:
            where += f" after {Duration(round(self.away))} away"
        said = [", ".join([where, *settings.dangers])]
        if self.loss is not None:
            said.append(self.loss)
        elif self.altered:
            said.append(
                f"somebody has changed it, and what it had recorded is gone: {self.altered}; "
                "change it back, or the settings"
            )
        elif long:
            said.append(_meanwhile(settings))
        return "; ".join(said)


def _meanwhile(settings: Settings) -> str:
    """What became of the events of an absence. How replay treats blocks without an ack
    is assumed.
    """
    if not settings.replay:
        return "what happened meanwhile is missing"
    if settings.ack_mode == "off":
        return (
            "what happened meanwhile is replayed, what was under way when the connection broke "
            "is missing"
        )
    return "what happened meanwhile was recorded by the monitor and is replayed"
