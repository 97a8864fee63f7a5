"""A log line for the first of many alike at once, then their number at most once a
minute.

What strangers send must not fill the disk with log lines, and one line about 3,000
refusals is read where 3,000 are not. A line is about a *topic*, such as the refusals of
one source; topics come from our own code, so they are few.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable

import attrs
import trio

from bridge.api import printable

PERIOD = 60.0  # seconds between two lines about one topic
MAX_TEXT = 500  # characters of a line: foreign text stands in it


@attrs.define
class _Topic:
    level: int
    text: str
    due: float
    """When the next line may be written."""
    unsaid: int = 0


class ThrottledLog:
    """Writes to a logger, sparingly."""

    __slots__ = ("_logger", "_now", "_topics", "_unsaid")

    def __init__(
        self, logger: logging.Logger, now: Callable[[], float] = trio.current_time
    ) -> None:
        self._logger = logger
        self._now = now
        """Seconds on any clock that does not jump."""
        self._topics: dict[Hashable, _Topic] = {}
        self._unsaid = 0

    def log(
        self, topic: Hashable, level: int, text: str, *, error: BaseException | None = None
    ) -> None:
        """Write a line, or count it if there was one about this topic within the last
        minute.

        :param error: an exception whose traceback goes with the line, if it is written.
        """
        now = self._now()
        known = self._topics.get(topic)
        if known is not None and now < known.due:
            known.text = text
            known.unsaid += 1
            self._unsaid += 1
            return
        unsaid = known.unsaid if known is not None else 0
        self._unsaid -= unsaid
        self._topics[topic] = _Topic(level, text, now + PERIOD)
        self._write(level, text, unsaid, error)

    def catch_up(self) -> None:
        """Write what has been counted for a minute.

        Costs nothing when there is nothing.
        """
        if not self._unsaid:
            return
        now = self._now()
        for topic in self._topics.values():
            if topic.unsaid and topic.due <= now:
                self._write(topic.level, topic.text, topic.unsaid - 1, None)
                self._unsaid -= topic.unsaid
                topic.unsaid = 0
                topic.due = now + PERIOD

    def _write(self, level: int, text: str, unsaid: int, error: BaseException | None) -> None:
        line = printable(text[: MAX_TEXT + 1])
        if len(line) > MAX_TEXT:
            line = line[:MAX_TEXT] + "..."
        if unsaid:
            line += f" ({unsaid} more alike since the last line about it)"
        self._logger.log(level, "%s", line, exc_info=error)
