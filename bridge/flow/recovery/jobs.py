"""A job of recovery: a span of time to be read back, and how far that is."""

from __future__ import annotations

from datetime import datetime

from attrs import define, field

from bridge.api import JSON

MAX_LEFT_OUT = 3  # named in a report


@define
class Job:
    """A span of time to be read back."""

    number: int
    why: str
    start: datetime
    end: datetime
    lost_before: datetime | None = None
    """Begin of the gap, if the vendor's record does not reach so far; what is between
    it and ``start`` is lost.
    """
    done: list[str] = field(factory=list)
    parts: int = 0
    """How many there are; 0 until they are known."""
    events: int = 0
    new: int = 0
    left_out: list[str] = field(factory=list)
    """Parts that could not be read, and why."""

    def as_json(self) -> JSON:
        return {
            "number": self.number,
            "why": self.why,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "lost_before": self.lost_before.isoformat() if self.lost_before else None,
            "done": self.done,
            "parts": self.parts,
            "events": self.events,
            "new": self.new,
            "left_out": self.left_out,
        }

    @classmethod
    def from_json(cls, kept: JSON) -> Job:
        """The inverse of :meth:`as_json`."""
        lost = kept["lost_before"]
        times = {
            "start": datetime.fromisoformat(kept["start"]),
            "end": datetime.fromisoformat(kept["end"]),
        }
        return cls(
            **{**kept, **times, "lost_before": datetime.fromisoformat(lost) if lost else None}
        )

    def result(self, parts: str) -> str:
        """What became of it, in one sentence. ``parts``: what they are called."""
        text = (
            f"{self.why}: read back {self.parts} {parts}, {self.events} events, {self.new} of "
            "them new"
        )
        if self.left_out:
            rest = len(self.left_out) - MAX_LEFT_OUT
            more = f"; and {rest} more" if rest > 0 else ""
            named = "; ".join(self.left_out[:MAX_LEFT_OUT])
            text += f"; not read: {named}{more} (a backfill by command tries again)"
        if self.lost_before is not None:
            text += (
                f"; what happened from {self.lost_before:%Y-%m-%d %H:%M} "
                f"to {self.start:%Y-%m-%d %H:%M} UTC is older than the vendor's record and lost"
            )
        return text
