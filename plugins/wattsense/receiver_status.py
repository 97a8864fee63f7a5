"""What the receiver says of itself: who may send, who is refused, and what was not
forwarded.

Reports are logged once for each change of text, so counts in them go up in powers of
ten: 1, 10, 100 ...

Anybody can send garbage to a public address: while requests are taken, those that are
refused are counted and no more. While none is taken, refusals are a problem, until one
is taken again. What only another setting can help against (a text without a number, a
request with too many values) stays a problem until the bridge is started with that
setting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime

from attrs import Factory, define

from bridge.api import Event, Report

from .settings import Settings

MAX_PROBLEMS = 20  # different ones remembered; texts come from outside, and memory is ours
QUIET = 60.0  # seconds after a request was taken for which refusals are no problem

TOO_LARGE = (
    "requests are refused because they hold too much; raise most_items, or content_limit "
    "of the listener"
)
REMEDIES = {
    400: "their bodies are not JSON; see what the datastream sends, or keep them as they are "
    "by unreadable = keep",
    401: "signature or credentials are missing or others; compare the datastream with signature, secret and the "
    "settings of the caller, and see the log",
    415: "their Content-Encoding is not gzip; does a proxy compress them?",
}
"""What refused requests have in common, and what to do about it, by status."""


@define
class Standing:
    """The report of one receiver."""

    settings: Settings
    address: str
    """Paths, as a person reads them."""
    report: Report
    now: Callable[[], datetime]
    dropped: Counter[str] = Factory(Counter)
    """Events that were kept and not forwarded, by reason."""
    refused: Counter[str] = Factory(Counter)
    """Requests that were not taken, by status."""
    problems: Counter[str] = Factory(Counter)
    """How often a person should have looked at something, by sentence."""
    refusing: set[int] = Factory(set)
    """Statuses of refusals since a request was taken, if that is long ago."""
    taken: datetime | None = None
    """When a request was last taken."""

    def begin(self) -> None:
        """Report for the first time."""
        self._say()

    def refuse(self, status: int) -> None:
        """Count a request that was not taken."""
        before = self._shown()
        self.refused[str(status)] += 1
        if status not in REMEDIES:
            self._count(TOO_LARGE)
        elif self.taken is None or (self.now() - self.taken).total_seconds() >= QUIET:
            self.refusing.add(status)
        if self._shown() != before:
            self._say()

    def took(self, events: Iterable[Event], problems: Iterable[str]) -> None:
        """Count what was taken in."""
        before = self._shown()
        self.taken = self.now()
        self.refusing.clear()
        for event in events:
            reasons = event.labels.get(
                "dropped", "unreadable" if event.kind == "unreadable" else ""
            )
            self.dropped.update(reason for reason in reasons.split(",") if reason)
        for problem in problems:
            self._count(problem)
        if self._shown() != before:
            self._say()

    def _count(self, problem: str) -> None:
        if problem in self.problems or len(self.problems) < MAX_PROBLEMS:
            self.problems[problem] += 1

    def _shown(self) -> tuple[object, ...]:
        return (
            _shown(self.dropped),
            _shown(self.refused),
            _shown(self.problems),
            frozenset(self.refusing),
        )

    def _say(self) -> None:
        sentence, is_problem = standing(self.settings, self.address)
        parts = [
            f"requests are refused ({status}): {REMEDIES[status]}"
            for status in sorted(self.refusing)
        ]
        parts.append(sentence)
        if self.settings.discovery:
            parts.append(
                "discovery is on, for set-up only: set discovery = 0 when the signature is known"
            )
        parts += [f"{problem} ({times} times)" for problem, times in _shown(self.problems).items()]
        for what, counts in (
            ("kept and not forwarded", self.dropped),
            ("refused requests", self.refused),
        ):
            if counts:
                parts.append(
                    f"{what}: "
                    f"{', '.join(f'{name} {times}' for name, times in sorted(_shown(counts).items()))}"
                )
        wrong = bool(self.settings.discovery or self.problems or self.refusing)
        self.report("; ".join(parts), problem=is_problem or wrong)


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
