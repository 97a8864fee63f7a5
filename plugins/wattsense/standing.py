"""What the receiver says of itself: who may send, who was refused, and what was not forwarded.

Reports are logged once for each change of text, so counts in them go up in powers of ten: 1, 10, 100 ...
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attrs import Factory, define

from bridge.api import Event, Report
from bridge_plugins.wattsense.settings import Settings

MOST_PROBLEMS = 20  # different ones remembered; texts come from outside, and memory is ours


@define
class Standing:
    """The report of one receiver."""

    settings: Settings
    address: str
    """Paths, as a person reads them."""
    report: Report
    dropped: Counter[str] = Factory(Counter)
    """Events that were kept and not forwarded, by reason."""
    refused: Counter[str] = Factory(Counter)
    """Requests that were not taken, by status."""
    problems: Counter[str] = Factory(Counter)
    """How often a person should have looked at something, by sentence."""

    def begin(self) -> None:
        """Report for the first time."""
        self._say()

    def refuse(self, status: int) -> None:
        """Count a request that was not taken."""
        before = _shown(self.refused)
        self.refused[str(status)] += 1
        if _shown(self.refused) != before:
            self._say()

    def took(self, events: Iterable[Event], problems: Iterable[str]) -> None:
        """Count what was taken in."""
        before = _shown(self.dropped), _shown(self.problems)
        for event in events:
            reasons = event.labels.get("dropped", "unreadable" if event.kind == "unreadable" else "")
            self.dropped.update(reason for reason in reasons.split(",") if reason)
        for problem in problems:
            if problem in self.problems or len(self.problems) < MOST_PROBLEMS:
                self.problems[problem] += 1
        if (_shown(self.dropped), _shown(self.problems)) != before:
            self._say()

    def _say(self) -> None:
        sentence, is_problem = standing(self.settings, self.address)
        parts = [sentence]
        if self.settings.discovery:
            parts.append("discovery is on, for set-up only: set discovery = 0 when the signature is known")
        parts += [f"{problem} ({times} times)" for problem, times in _shown(self.problems).items()]
        for what, counts in (("kept and not forwarded", self.dropped), ("refused requests", self.refused)):
            if counts:
                parts.append(
                    f"{what}: {', '.join(f'{name} {times}' for name, times in sorted(_shown(counts).items()))}"
                )
        self.report("; ".join(parts), problem=is_problem or bool(self.settings.discovery or self.problems))


def standing(settings: Settings, address: str) -> tuple[str, bool]:
    """Say who may send: a sentence, and whether it is a problem."""
    if settings.signature != "none":
        return f"receives on {address}, signature = {settings.signature}", False
    if (
        settings.username is None
        and settings.bearer_token is None
        and settings.api_key is None
        and not settings.callers
    ):
        return (
            f"receives on {address} from anybody, because signature = none; "
            "choose the signature that the datastream uses, or credentials of the caller",
            True,
        )
    return f"receives on {address} with credentials alone, because signature = none", False


def _shown(counts: Counter[str]) -> dict[str, str]:
    """Give counts as they are shown: 1+, 10+, 100+ ..."""
    return {name: f"{10 ** (len(str(times)) - 1)}+" for name, times in counts.items()}
