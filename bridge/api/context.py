"""What a running source and an open sink are given by the core."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol, TypeVar

from attrs import field, frozen

from bridge.api.commands import AddCommandHandler
from bridge.api.events import JSON, Event
from bridge.api.problems import Problem
from bridge.api.webhook import Mount

T = TypeVar("T")


class KeyValue(Protocol):
    """A small durable memory of one instance. Durable when ``put`` returns."""

    def get(self, key: str) -> JSON:
        """Return the value, or None. Never waits."""
        ...

    async def put(self, key: str, value: JSON) -> None:
        """Store a value; None removes the key.

        :raises SpoolUnavailable: when the spool cannot store.
        """
        ...


class Report(Protocol):
    """Say in which state this instance is, in one sentence without its name.

    Logged once for each change of text, shown by the status page until the next report.
    """

    def __call__(self, text: str, *, problem: Problem | None = None, topic: str = "") -> None:
        """Report.

        :param text: an empty one takes back what was said of a topic.
        :param problem: a person should look at it, and which problem it is; None: all
            is well. The text says what is wrong now, the problem what to do about it.
        :param topic: what of the instance it is about, such as ``keys``, where several
            things are said of one side by side; empty: the instance as a whole.
        """
        ...


class Insist(Protocol):
    """Attempt until it succeeds: for what an instance does beside its main work."""

    async def __call__(
        self,
        attempt: Callable[[], Awaitable[T]],
        *,
        topic: str,
        doing: str,
        problem: Problem | None = None,
    ) -> T:
        """Return the result of the first attempt that succeeds.

        After a ``Retry`` it waits longer each time, after a ``Pause`` as long as a
        person may take. Both are told under the topic, and taken back by the success.

        :param doing: begins the sentences, such as ``fetching the keys``.
        :param problem: what it is while it fails; None: ``work-fails``.
        :raises Reject: what an attempt raises besides.
        """
        ...


class Outlet(Protocol):
    """The way into the spool."""

    async def emit(self, *events: Event) -> None:
        """Store events. The return **is** the acknowledgement: they are on disk, or
        were known already.

        They are stored together or not at all. A cancelled emit may have been stored:
        emit again, it is known once.

        :raises SpoolUnavailable: when the spool is full or failing; nothing was stored,
            do not acknowledge.
        :raises ValueError: when an event cannot be stored whatever the spool does; see
            ``encode``.
        """
        ...


class Recover(Protocol):
    """Ask for what happened lately to be read back, for a reason that the core cannot
    see. Returns at once.
    """

    def __call__(self, why: str, *, since: datetime | None = None) -> None:
        """Ask.

        :param why: begins the report, such as ``the connector was disabled``.
        :param since: None: since the last live event.
        """
        ...


@frozen
class SourceContext:
    """What a running source is given."""

    name: str
    """NAME of the section ``[source:NAME]``."""
    outlet: Outlet
    mount: Mount
    state: KeyValue
    report: Report
    now: Callable[[], datetime]
    """The wall clock, UTC."""
    random: Callable[[], float]
    """Numbers in [0, 1), for jitter."""
    answer: AddCommandHandler
    insist: Insist
    recover: Recover
    """Does nothing for a kind without ``recovery``."""
    between_runs: dict[str, Any] = field(factory=dict, eq=False, repr=False, kw_only=True)
    """What a run leaves to the next: the same object in each run of an instance, empty
    when the instance starts. What must outlive the process belongs into ``state``.
    """


@frozen
class SinkContext:
    """What an opened sink is given."""

    name: str
    """NAME of the section ``[sink:NAME]``."""
    state: KeyValue
    report: Report
    """For concerns of the plugin's own. Whether deliveries succeed, the core reports.
    """
    now: Callable[[], datetime]
    """The wall clock, UTC."""
    answer: AddCommandHandler
    insist: Insist
