"""Long work in steps: whoever waits for the writer waits for one step of it.

How many rows a step may take is learned from how long the last one took, so that the
same work is quick on a server and still harmless on a memory card.
"""

from __future__ import annotations

from attrs import define

STEP = 0.2  # seconds that a step may take
AIM = 0.1  # seconds that it should take: the next one may be slower


@define(eq=False)
class StepSize:
    """How many rows the next step takes."""

    rows: int = 500
    least: int = 10
    most: int = 20_000

    def took(self, seconds: float) -> None:
        """Learn from a step of so many rows."""
        factor = min(2.0, max(0.25, AIM / seconds)) if seconds > 0 else 2.0
        self.rows = int(min(self.most, max(self.least, self.rows * factor)))
