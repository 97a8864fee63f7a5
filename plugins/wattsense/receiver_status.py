"""What the receiver says of itself: who may send, who is refused, and what was not
forwarded; each under a topic of its own.

The board logs each change of text, so counts go up in powers of ten: 1+, 10+, 100+ ...

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

from .problems import DISCOVERY_ON, OPEN_TO_ALL, REQUESTS_REFUSED, SETTINGS_UNFIT

MAX_PROBLEMS = 20  # different ones remembered; texts come from outside, and memory is ours
QUIET = 60.0  # seconds after a request was taken for which refusals are no problem

TOO_LARGE = (
    "requests are refused because they hold too much; raise most_items, or content_limit "
    "of the listener"
)
REMEDIES = {
    400: "their bodies are not JSON; see what the datastream sends, or keep them as they are "
    "by unreadable = keep",
    401: "signature or credentials are missing or others; compare the datastream with "
    "signature, secret and the settings of the caller, and see the log",
    415: "their Content-Encoding is not gzip; does a proxy compress them?",
}
"""What refused requests have in common, and what to do about it, by status."""


@define
class ReceiverStatus:
    """The reports of one receiver."""

    report: Report
    now: Callable[[], datetime]
    dropped: Counter[str] = Factory(Counter)
    """Events that were kept and not forwarded, by reason."""
    refused: Counter[str] = Factory(Counter)
    """Requests that were not taken, by status."""
    problems: Counter[str] = Factory(Counter)
    """What only another setting ends: how often it was met, by sentence."""
    refusing: set[int] = Factory(set)
    """Statuses of refusals since a request was taken, if that is long ago."""
    taken: datetime | None = None
    """When a request was last taken."""

    def refuse(self, status: int) -> None:
        """Count a request that was not taken."""
        self.refused[str(status)] += 1
        if status not in REMEDIES:
            self._count([TOO_LARGE])
        elif self.taken is None or (self.now() - self.taken).total_seconds() >= QUIET:
            self.refusing.add(status)
        self._tell_of_refusals()

    def take(self, events: Iterable[Event], problems: Iterable[str]) -> None:
        """Count what was taken in, and what a person should look at in it."""
        self.taken = self.now()
        if self.refusing:
            self.refusing.clear()
            self._tell_of_refusals()
        dropped = [reason for event in events for reason in _reasons(event)]
        if dropped:
            self.dropped.update(dropped)
            self.report(f"kept and not forwarded: {_shown(self.dropped)}", topic="dropped")
        self._count(problems)

    def _tell_of_refusals(self) -> None:
        texts = [
            f"requests are refused ({status}): {REMEDIES[status]}"
            for status in sorted(self.refusing)
        ]
        texts.append(f"refused requests: {_shown(self.refused)}")
        problem = REQUESTS_REFUSED if self.refusing else None
        self.report("; ".join(texts), problem=problem, topic="refused")

    def _count(self, problems: Iterable[str]) -> None:
        counted = False
        for problem in problems:
            if problem in self.problems or len(self.problems) < MAX_PROBLEMS:
                self.problems[problem] += 1
                counted = True
        if counted:
            texts = [
                f"{problem} ({_power(times)} times)" for problem, times in self.problems.items()
            ]
            self.report("; ".join(texts), problem=SETTINGS_UNFIT, topic="settings")


def tell_of_senders(report: Report, address: str, *, signature: str, known_callers: bool) -> None:
    """Report who may send.

    :param address: paths, as a person reads them.
    :param signature: the preset.
    :param known_callers: whether credentials of the caller are asked for.
    """
    if signature != "none":
        report(f"receives on {address}, signature = {signature}")
    elif known_callers:
        report(f"receives on {address} with credentials alone, because signature = none")
    else:
        report(
            f"receives on {address} from anybody, because signature = none; "
            "choose the signature that the datastream uses, or credentials of the caller",
            problem=OPEN_TO_ALL,
        )


def tell_of_discovery(report: Report) -> None:
    """Report that discovery is on."""
    report(
        "discovery is on, for set-up only: set discovery = 0 when the signature is known",
        problem=DISCOVERY_ON,
        topic="discovery",
    )


def _reasons(event: Event) -> list[str]:
    if event.kind == "unreadable" and "dropped" not in event.labels:
        return ["unreadable"]
    return [reason for reason in event.labels.get("dropped", "").split(",") if reason]


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {_power(times)}" for name, times in sorted(counts.items()))


def _power(times: int) -> str:
    """Return a count as it is shown: 1+, 10+, 100+ ..."""
    return f"{10 ** (len(str(times)) - 1)}+"
