"""One report out of several: what receives, what fetches and what manages each say how
they are.

The core shows one sentence for an instance. While anything is a problem it is made of
the problems alone; a part that is well again takes only its own words back.
"""

from __future__ import annotations

from attrs import define, field, frozen

from bridge.api import Report


@frozen
class _State:
    text: str
    problem: bool


@define(eq=False)
class Reports:
    """The parts of one instance, by topic."""

    _report: Report
    _states: dict[str, _State] = field(factory=dict, init=False)

    def about(self, topic: str) -> Report:
        """Give the function by which one part reports.

        An empty text: there is nothing to say of it any more.
        """

        def report(text: str, *, problem: bool = False, topic: str = topic) -> None:
            if text:
                self._states[topic] = _State(text, problem)
            elif self._states.pop(topic, None) is None:
                return
            self._tell()

        return report

    def _tell(self) -> None:
        states = self._states.values()
        problems = [state.text for state in states if state.problem]
        if texts := problems or [state.text for state in states]:
            self._report("; ".join(texts), problem=bool(problems))
