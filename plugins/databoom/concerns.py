"""What a person should look at while readings go through: several things, told in one
report.

What changed is told once. Counts are told at once when the first of them arises, and
then at most once an hour.
"""

from __future__ import annotations

from collections import Counter

import trio

from bridge.api import Report

CLEARED = "no concern any more"
REMARKS_AGAIN = 3600.0  # seconds between two reports of counts that grow


class Concerns:
    """Keeps the standing concerns of a sink, by topic."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._concerns: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._told = ""
        self._remarked: dict[str, float] = {}  # when a count was last told

    def set(self, topic: str, text: str) -> None:
        """Note a concern, or by an empty text that there is none any more."""
        if text != self._concerns.get(topic, ""):
            self._concerns[topic] = text
            self._tell()

    def once(self, topic: str, text: str) -> None:
        """Note a concern, unless there is one of this topic."""
        if not self._concerns.get(topic):
            self.set(topic, text)

    def count(self, what: str, example: str, times: int = 1) -> None:
        """Count what is not a concern, but must not be silent: ``what`` is a sentence
        that ends with the count.
        """
        self._counts[what] += times
        now = trio.current_time()
        if now - self._remarked.get(what, -REMARKS_AGAIN) >= REMARKS_AGAIN:
            self._remarked[what] = now
            remark = f"{what}: {self._counts[what]} since the start, the newest: {example}"
            self._report("; ".join(filter(None, (self._told, remark))), problem=bool(self._told))

    def _tell(self) -> None:
        concern = "; ".join(text for text in self._concerns.values() if text)
        if concern != self._told:
            self._told = concern
            self._report(concern or CLEARED, problem=bool(concern))
