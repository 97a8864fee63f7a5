"""One lease, from the first attempt to the last settlement.

A lease holds events of one lane. It is cut into *groups*, each delivered by one
attempt: the whole lease, or one group for each device where a sink takes one device a
request. Then, group by group:

    delivered ─▶ the events are done
    Reject    ─▶ bisect: two halves take its place; a single event is a dead letter
    Retry     ─▶ wait, the same group again (the same events: an identical request)
    Pause     ─▶ wait longer; if it concerns one device only, the other groups go on

Before a wait and at the end what is done at the front of the lease is settled: no more
than a lease is ever repeated.

One rejection is the fault of an event, twenty in a row are the fault of a
configuration: when ``reject_limit`` events were rejected and none was taken in between,
the events become pending again and the sink is paused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Sequence
from datetime import datetime
from enum import Enum, auto

from attrs import define, evolve, frozen

from bridge.api import Batch, Outcome, Pause, Reject, Retry, Stored
from bridge.api.spool import DeadLetter

_ALL_DELIVERED = Outcome()
CRASHES_TO_REJECT = 3  # attempts in which the plugin itself failed, before its batch is bisected


class Next(Enum):
    """What follows an attempt."""

    GO_ON = auto()
    DEVICE_FAILS = auto()
    """This lane waits before it tries again; the destination is well."""
    DEVICE_PAUSES = auto()
    """The same, until a person acts: it is tried slowly."""
    SINK_FAILS = auto()
    SINK_PAUSES = auto()
    """A person must act: the destination refuses credentials or everything."""


@frozen
class Decision:
    """What follows an attempt, and why."""

    next: Next
    why: str = ""
    after: float | None = None
    """Seconds that the destination asked for."""


GO_ON = Decision(Next.GO_ON)


@define(eq=False)
class Group:
    """Events that go in one attempt."""

    indexes: Sequence[int]
    """Positions in the lease as it was lent."""
    attempts: int = 0
    crashes: int = 0
    paused: bool = False
    """True while a Pause concerns this device only."""


@define(eq=False)
class ConsecutiveRejects:
    """Rejections in a row, counted over all lanes of a sink.

    A verdict that names several events is one.
    """

    limit: int
    in_a_row: int = 0
    trips: int = 0
    """How often the limit was reached."""

    def add(self) -> None:
        """Count a rejection."""
        self.in_a_row += 1
        self.trips += self.in_a_row == self.limit

    @property
    def systemic(self) -> bool:
        """Whether these many rejections are not the fault of events any more."""
        return 0 < self.limit <= self.in_a_row


class LeaseProgress:
    """What is left of a lease. It decides; who holds it delivers, waits and settles."""

    def __init__(
        self,
        events: Sequence[Stored],
        *,
        one_device: bool,
        rejects: ConsecutiveRejects,
        now: Callable[[], datetime],
    ) -> None:
        self._events = events
        self._one_device = one_device
        self._rejects = rejects
        self._trips = rejects.trips
        self._now = now
        self._groups = deque(_groups(events, one_device=one_device))
        # Of each event that is done: its dead letter; True: delivered; False: filtered.
        self._done: dict[int, DeadLetter | bool] = {}
        self._condemned: list[int] = []  # rejected since the last delivery, not settled yet
        self._settled = 0

    @property
    def finished(self) -> bool:
        """Whether no group is left."""
        return not self._groups

    def next_group(self) -> Group | None:
        """Return the group to deliver next; None when all is done."""
        self._heed_others()
        return self._groups[0] if self._groups else None

    def batch(self, group: Group) -> Batch:
        """Return the batch of a group's next attempt."""
        group.attempts += 1
        return Batch(tuple(self._events[index] for index in group.indexes), group.attempts)

    def decide(self, group: Group, result: Outcome | Exception | None) -> Decision:
        """Note what came of an attempt; returns what follows.

        :param result: what the sink returned, or raised: a verdict, or a mistake of its
            own.
        """
        match result:
            case Retry():
                return self._failed(group, result)
            case Reject():
                return self._rejected(group, result)
            case Pause():
                return self._paused(group, result)
            case Exception():
                return self._crashed(group, result)
        self._take(group, result or _ALL_DELIVERED)
        self._groups.popleft()
        return GO_ON

    def _failed(self, group: Group, verdict: Retry) -> Decision:
        if group.attempts > 1:  # one device must not hold up the others
            self._others_first(group)
        return Decision(Next.SINK_FAILS, verdict.why, verdict.after)

    def _rejected(self, group: Group, verdict: Reject) -> Decision:
        if self._rejects.systemic and not _delivers(group, verdict):
            return self._systemic(verdict)  # a probe that was rejected condemns nothing
        if not verdict.reasons and len(group.indexes) > 1:
            self._bisect(group)
            return GO_ON
        reasons = verdict.reasons or {0: verdict.why}
        self._rejects.add()
        for position, reason in reasons.items():
            index = group.indexes[position]
            self._condemned.append(index)
            self._done[index] = self._dead_letter(index, reason, group, verdict.status)
        self._take(group, verdict.others, but=reasons)
        self._groups.popleft()
        return self._systemic(verdict) if self._rejects.systemic else GO_ON

    def _paused(self, group: Group, verdict: Pause) -> Decision:
        if not verdict.device_only:
            return Decision(Next.SINK_PAUSES, verdict.why)
        for other in self._groups:
            other.paused = other.paused or self._device(other) == self._device(group)
        self._others_first(group)
        if not self._groups[0].paused:
            return GO_ON  # with another device
        for other in self._groups:
            other.paused = False
        return Decision(Next.DEVICE_PAUSES, verdict.why)

    def _crashed(self, group: Group, exc: Exception) -> Decision:
        """Try again a few times, then treat it as a rejection of these events."""
        why = f"the plugin failed: {type(exc).__name__}: {exc}"
        group.crashes += 1
        if group.crashes < CRASHES_TO_REJECT:
            return Decision(Next.DEVICE_FAILS, why)
        return self._rejected(group, Reject(why))

    def _systemic(self, verdict: Reject) -> Decision:
        why = (
            f"refused {self._rejects.limit} events in a row, so it is hardly the events' fault: "
            f"{verdict.why}"
        )
        return Decision(Next.SINK_PAUSES, why)

    def _take(self, group: Group, outcome: Outcome, *, but: Container[int] = ()) -> None:
        """Note what became of the events that were not rejected.

        A delivery among them ends a row of rejections.
        """
        delivered = False
        for position, index in enumerate(group.indexes):
            if position in but:
                continue
            if position in outcome.dead:
                self._done[index] = self._dead_letter(index, outcome.dead[position], group, None)
            else:
                self._done[index] = position not in outcome.filtered
                delivered = delivered or position not in outcome.filtered
        if delivered:
            self._condemned.clear()
            self._rejects.in_a_row = 0

    def _dead_letter(self, index: int, reason: str, group: Group, status: int | None) -> DeadLetter:
        return DeadLetter(index, reason, status, group.attempts, self._now())

    def settlement(self) -> tuple[int, int, list[DeadLetter]]:
        """Return what is done at the front: number of events, how many filtered, dead
        letters among them.

        Events that may yet be reprieved are not part of it while others of the lease
        are still to be tried.
        """
        self._heed_others()
        count = filtered = 0
        dead: list[DeadLetter] = []
        held = self._condemned[0] if self._condemned and self._groups else len(self._events)
        while (index := self._settled + count) < held and index in self._done:
            outcome = self._done[index]
            if isinstance(outcome, DeadLetter):
                dead.append(evolve(outcome, index=count))
            elif not outcome:
                filtered += 1
            count += 1
        return count, filtered, dead

    def settled(self, count: int) -> None:
        """Note that the front was settled."""
        self._settled += count
        self._condemned = [index for index in self._condemned if index >= self._settled]

    def _bisect(self, group: Group) -> None:
        middle = len(group.indexes) // 2
        self._groups.popleft()
        self._groups.extendleft(
            Group(half, group.attempts, group.crashes)
            for half in (group.indexes[middle:], group.indexes[:middle])
        )

    def _heed_others(self) -> None:
        """Reprieve what was rejected here, if the limit was reached since: in this lane
        or in another.
        """
        if self._trips != self._rejects.trips:
            self._trips = self._rejects.trips
            self._reprieve()

    def _reprieve(self) -> None:
        """Make what was rejected since the last delivery pending again, in order."""
        for index in self._condemned:
            del self._done[index]
        waiting = [index for group in self._groups for index in group.indexes]
        again = sorted([*self._condemned, *waiting])
        self._condemned.clear()
        self._groups = deque(_groups(self._events, one_device=self._one_device, only=again))

    def _device(self, group: Group) -> str:
        return self._events[group.indexes[0]].event.device

    def _others_first(self, group: Group) -> None:
        """Move a device's groups behind those of other devices, and paused ones behind
        all; order within stays.
        """
        if self._one_device:
            device = self._device(group)
            self._groups = deque(
                sorted(
                    self._groups, key=lambda other: (other.paused, self._device(other) == device)
                )
            )


def _delivers(group: Group, verdict: Reject) -> bool:
    """Whether the destination took some event of a group that it rejected in part."""
    named = {*verdict.reasons, *verdict.others.filtered, *verdict.others.dead}
    return bool(verdict.reasons) and len(named) < len(group.indexes)


def _groups(
    events: Sequence[Stored], *, one_device: bool, only: Sequence[int] | None = None
) -> list[Group]:
    indexes = range(len(events)) if only is None else only
    if not one_device:
        return [Group(indexes)]
    devices: dict[str, list[int]] = {}
    for index in indexes:
        devices.setdefault(events[index].event.device, []).append(index)
    return [Group(group) for group in devices.values()]
