"""Which state each instance is in, in one sentence, told once per change.

A destination that is away for a night is two lines in the log, not a million: every
report goes through the board, which logs it when its text changes and keeps it for
those who look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from attrs import frozen

from bridge.api import Report, printable

log = logging.getLogger("bridge")

MAX_TEXT = 1000  # characters of a state


@frozen
class State:
    """What an instance last said of itself."""

    text: str
    problem: bool
    since: datetime
    """When it began to be so, UTC."""


class Board:
    """The states of all instances, by name such as ``source:sensors``."""

    def __init__(self, now: Callable[[], datetime], redact: Callable[[str], str] = str) -> None:
        self._now = now
        self._redact = redact
        self.states: dict[str, State] = {}

    def report(self, instance: str) -> Report:
        """Give the function by which an instance says how it is."""
        _, _, name = instance.rpartition(":")

        def report(text: str, *, problem: bool = False) -> None:
            text = printable(
                self._redact(text)[:MAX_TEXT]
            )  # a reason may hold what a vendor answered
            before = self.states.get(instance)
            if before is not None and (before.text, before.problem) == (text, problem):
                return
            self.states[instance] = State(text, problem, self._now())
            log.log(logging.WARNING if problem else logging.INFO, "%s: %s", name, text)

        return report

    @property
    def problems(self) -> dict[str, State]:
        """The states that a person should look at."""
        return {instance: state for instance, state in self.states.items() if state.problem}
