"""What will happen if it goes on like this: told while there is time to do something.

Figures in, sentences out; nothing here looks at a file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from attrs import define, field

from bridge.api import Duration, Problem
from bridge.api.spool.problems import (
    KEEP_WINDOW_SHORT,
    KEY_WINDOW_SHORT,
    LETTERS_EXPIRE,
    SPOOL_FILLS,
)
from bridge.spool.budget import SHARE, Memory
from bridge.spool.keys_survey import KeySurvey
from bridge.spool.usage import Usage

FORESEEN = 48 * 3600.0  # seconds; who looks twice a year has mail for what comes sooner
LOOKED_BACK = 3600.0  # seconds over which it is seen how fast the spool fills
FULL = 0.95  # share of their room at which what is kept cannot grow any more
EARLY = 0.8  # share of their room at which the letters' end is told
HOUR = 3600.0
DAY = 86400.0


@define(eq=False)
class Outlook:
    """Remembers how the spool filled."""

    _samples: deque[tuple[float, int]] = field(factory=deque)
    """Seconds of running, and bytes that sinks owed."""

    def note(self, running: float, owed: int) -> None:
        """Note how much is owed now."""
        self._samples.append((running, owed))
        while running - self._samples[0][0] > LOOKED_BACK:
            self._samples.popleft()

    def seconds_left(self, limit: int) -> float | None:
        """Return after how many seconds what is owed reaches the limit; None: it does
        not grow, or nobody has looked for long enough.
        """
        (first, before), (last, owed) = self._samples[0], self._samples[-1]
        if last - first < LOOKED_BACK / 12 or owed <= before:
            return None
        return (limit - owed) * (last - first) / (owed - before)

    def problems(
        self, usage: Usage, limit: int, keys: KeySurvey | None, window: float
    ) -> Iterator[tuple[str, Problem, str]]:
        """Yield topic, problem and sentence of what is to be told.

        :param limit: bytes that events may use.
        :param window: seconds for which keys should be known.
        """
        left = self.seconds_left(limit) if self._samples else None
        if left is not None and left < FORESEEN:
            text = f"full in {_hours(left)} at the rate of the last hour; then sources are refused"
            yield "fills", SPOOL_FILLS, text
        kept = usage.memories.get(Memory.KEPT, 0)
        if kept > FULL * limit / SHARE:
            text = (
                f"delivered events take all of the {limit // SHARE >> 20} MiB that they may: "
                "they are kept for less than keep"
            )
            yield "keep", KEEP_WINDOW_SHORT, text
        letters = usage.memories.get(Memory.LETTERS, 0)
        if letters > EARLY * limit / SHARE:
            share = limit // SHARE
            text = (
                f"dead letters take {letters >> 20} of {share >> 20} MiB that they may; beyond it "
                "the oldest are given up"
            )
            yield "letters", LETTERS_EXPIRE, text
        known = window if keys is None else min(keys.window, keys.foretold or window)
        if known < window:
            text = (
                f"at this rate keys are known for {known / DAY:.0f} d, the wish is "
                f"dedup_window = {Duration(window)}"
            )
            yield "keys", KEY_WINDOW_SHORT, text


def _hours(seconds: float) -> str:
    return f"{seconds / HOUR:.0f} h" if seconds >= HOUR else "less than an hour"
