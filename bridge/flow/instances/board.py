"""Which state each instance is in, in one sentence, told once per change.

A destination that is away for a night is two lines in the log, not a million: every
report goes through the board, which logs it when its text changes and keeps it for
those who look. An instance may say several things side by side, each under a topic of
its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from attrs import frozen

from bridge.api import Problem, Report, printable
from bridge.api.former import problem_of

log = logging.getLogger("bridge")

MAX_TEXT = 1000  # characters of a state


@frozen
class State:
    """What an instance last said of itself, or of one topic."""

    text: str
    problem: Problem | None
    """What a person should look at; None: all is well."""
    since: datetime
    """When it began to be so, UTC."""


class Board:
    """The states of all instances.

    They stand under the instance, such as ``source:sensors``, and its topics below it:
    ``source:sensors/keys``.
    """

    def __init__(self, now: Callable[[], datetime], redact: Callable[[str], str] = str) -> None:
        self._now = now
        self._redact = redact
        self.states: dict[str, State] = {}

    def report(self, instance: str) -> Report:
        """Return the function by which an instance says how it is."""
        _, _, name = instance.rpartition(":")

        def report(text: str, *, problem: Problem | None = None, topic: str = "") -> None:
            problem = problem_of(problem)
            place = f"{instance}/{topic}" if topic else instance
            # A reason may hold what a vendor answered.
            text = printable(self._redact(text)[:MAX_TEXT])
            before = self.states.get(place)
            if topic and not text:
                self._take_back(place, name)
            elif before is None or (before.text, before.problem) != (text, problem):
                self.states[place] = State(text, problem, self._now())
                if problem is None:
                    log.info("%s: %s", name, text)
                else:
                    log.warning("%s: %s [%s]", name, text, problem.name)

        return report

    def _take_back(self, place: str, name: str) -> None:
        state = self.states.pop(place, None)
        if state is not None and state.problem is not None:
            log.info("%s: no longer so: %s", name, state.text)

    def topics(self, instance: str) -> Mapping[str, State]:
        """Return what an instance says by topic, in the order in which it began to."""
        return {
            place.removeprefix(f"{instance}/"): state
            for place, state in self.states.items()
            if place.startswith(f"{instance}/")
        }

    @property
    def problems(self) -> dict[str, State]:
        """The states that a person should look at."""
        return {place: state for place, state in self.states.items() if state.problem is not None}
