"""One lease, from the first attempt to the last settlement.

A lease holds events of one lane, or of one parked device. It is delivered group by
group (``groups``):

    delivered      ─▶ the events are done
    Reject         ─▶ bisect: two halves take its place; a single event is a dead letter
    Retry, Pause   ─▶ wait, the same group again (the same events: an identical request)
     of a device   ─▶ all that is left of the device is parked, the others go on; if the
                      group has several devices, two halves of them take its place

Before a wait and at the end what is done at the front of the lease is settled: no more
than a lease is ever repeated. Dead letters and parked events are only *condemned* until
the destination takes something, here or in another lane, or nobody has anything left to
try: it may turn out that too many devices are refused (``refusals``), and then they are
pending again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Container, Mapping
from datetime import datetime

from attrs import evolve

from bridge.api import Batch, Outcome, Pause, Reject, Retry
from bridge.api.spool import DeadLetter, Lease
from bridge.flow.delivery.decisions import GO_ON, Decision, DeviceVerdict, Front, Next
from bridge.flow.delivery.groups import Group, groups_of
from bridge.flow.delivery.refusals import Refusals
from bridge.flow.delivery.waiting import Waiting
from bridge.flow.instances.hold import HOLD_AGAIN

_ALL_DELIVERED = Outcome()
CRASHES_TO_REJECT = 3  # attempts in which the plugin itself failed, before its batch is bisected


class LeaseProgress:
    """What is left of a lease. It decides; who holds it delivers, waits and settles."""

    def __init__(
        self,
        lease: Lease,
        *,
        one_device: bool,
        refusals: Refusals,
        wait: Callable[[DeviceVerdict, int], float],
        now: Callable[[], datetime],
        held: Callable[[str], str | None] = lambda _device: None,
    ) -> None:
        """Begin.

        :param wait: returns the seconds until a device is tried again, after so many
            attempts.
        :param held: returns why a person has stopped a device; None: nobody has.
        """
        self._events = lease.events
        self._one_device = one_device
        self._parked = lease.parked
        self._replay = lease.replay
        self._refusals = refusals
        self._trips = refusals.trips
        self._deliveries = refusals.deliveries
        self._wait = wait
        self._held = held
        self._now = now
        indexes = range(len(lease.events))
        self._groups = deque(groups_of(lease.events, indexes, one_device=one_device))
        if lease.parked:
            self._groups = deque([Group(indexes, lease.attempts, earlier=lease.attempts)])
        # Of each event that is done: True: delivered; False: filtered.
        self._done: dict[int, DeadLetter | Waiting | bool] = {}
        self._condemned: set[int] = set()  # since the last delivery, not settled yet
        self._in_a_row = 0  # verdicts that condemned them
        self._waits: Waiting | None = None  # the parked device, with what is left
        self._settled = 0

    @property
    def finished(self) -> bool:
        """Whether no group is left to deliver."""
        return not self._groups

    @property
    def unsure(self) -> bool:
        """Whether nothing is left but what is condemned, and neither a delivery nor
        refusals in other lanes have decided on it yet.
        """
        return bool(self._condemned) and not self._groups and not self._decided

    @property
    def _decided(self) -> bool:
        refusals = self._refusals
        return self._trips != refusals.trips or self._deliveries != refusals.deliveries

    def next_group(self) -> Group | None:
        """Return the group to deliver next; None when nothing is left to do here."""
        self._heed_others()
        self._set_held_aside()
        return self._groups[0] if self._groups else None

    def batch(self, group: Group) -> Batch:
        """Return the batch of a group's next attempt."""
        group.attempts += 1
        events = tuple(self._events[index] for index in group.indexes)
        return Batch(events, group.attempts, self._replay)

    def decide(self, group: Group, result: Outcome | Exception | None) -> Decision:
        """Note what came of an attempt; returns what follows.

        :param result: what the sink returned, or raised: a verdict, or a mistake of its
            own.
        """
        match result:
            case Retry(scope="device") | Pause(scope="device"):
                return self._device_waits(group, result)
            case Retry():
                if group.attempts > 1:  # what is wrong may be so for this device only
                    self._others_first(group)
                return Decision(Next.SINK_FAILS, result.why, result.after)
            case Pause():
                return Decision(Next.SINK_PAUSES, result.why)
            case Reject():
                return self._rejected(group, result)
            case Exception():
                return self._crashed(group, result)
        self._groups.popleft()
        self._take(group, result or _ALL_DELIVERED)
        return GO_ON

    def _device_waits(self, group: Group, verdict: DeviceVerdict) -> Decision:
        device = self._device(group.indexes[0])
        if any(self._device(index) != device for index in group.indexes):
            self._replace(group.halves_by_device(self._device))
            return GO_ON
        waiting = Waiting(verdict.why, self._wait(verdict, group.attempts), group.attempts)
        if self._parked:
            # It was counted when it was parked. That it still waits is no news.
            self._waits = waiting
            self._groups.clear()
            return GO_ON
        left = {index for index in self._left() if self._device(index) == device}
        self._leave_out(left)
        return self._condemn(dict.fromkeys(left, waiting), verdict)

    def _set_held_aside(self) -> None:
        """Let what is left of a device wait apart that a person has stopped: no attempt
        is made for it, and nobody else's events are held up.
        """
        while self._groups:
            group = self._groups[0]
            devices = {self._device(index) for index in group.indexes}
            held = {device: why for device in devices if (why := self._held(device)) is not None}
            if not held:
                return
            if self._parked:
                self._waits = Waiting(held[self._device(0)], HOLD_AGAIN, group.attempts)
                self._groups.clear()
                return
            left = {
                index: Waiting(held[device], HOLD_AGAIN, 0)
                for index in self._left()
                if (device := self._device(index)) in held
            }
            self._done.update(left)
            self._leave_out(left.keys())

    def _left(self) -> list[int]:
        return [index for group in self._groups for index in group.indexes]

    def _leave_out(self, indexes: Collection[int]) -> None:
        others = (group.without(indexes) for group in self._groups)
        self._groups = deque(group for group in others if group.indexes)

    def _rejected(self, group: Group, verdict: Reject) -> Decision:
        if not verdict.reasons and len(group.indexes) > 1:
            self._replace(group.halves())
            return GO_ON
        self._groups.popleft()
        letters = {
            group.indexes[position]: self._letter(group, position, reason, verdict.status)
            for position, reason in (verdict.reasons or {0: verdict.why}).items()
        }
        if self._take(group, verdict.others, but=verdict.reasons or {0}):
            self._done.update(letters)
            return GO_ON
        return self._condemn(letters, verdict)

    def _condemn(
        self, events: Mapping[int, DeadLetter | Waiting], verdict: Reject | DeviceVerdict
    ) -> Decision:
        """Note what the destination refused, and took none of the group."""
        tripped = self._trips != self._refusals.trips
        if not tripped:
            self._heed_others()  # what was condemned before a delivery stands
        self._done.update(events)
        if self._replay and not self._refusals.systemic:
            return self._refused_again(len(events), verdict)
        self._condemned.update(events)
        self._in_a_row += 1
        if not self._replay:
            self._refusals.add({self._device(index) for index in events})
        if not self._refusals.systemic:
            return GO_ON
        # A probe of a sink that refuses everything tries more than one device: the
        # first one may well have a fault of its own.
        tripped = tripped or self._trips != self._refusals.trips
        if not tripped and self._groups and self._in_a_row < self._refusals.limit:
            return GO_ON
        self._reprieve()
        return Decision(
            Next.SINK_PAUSES,
            f"refused {self._refusals.limit} devices in a row, so it is hardly their fault: "
            f"{verdict.why}",
        )

    def _refused_again(self, count: int, verdict: Reject | DeviceVerdict) -> Decision:
        # What comes again after a rewind cannot be stopped, nor can a device that waits
        # be made a dead letter.
        if not self._parked or not isinstance(verdict, Reject):
            return GO_ON
        in_a_row = self._refusals.add_replays(count)
        if not in_a_row:
            return GO_ON
        self._groups.clear()
        return Decision(
            Next.REPLAY_STOPS, f"{in_a_row} events in a row were refused again: {verdict.why}"
        )

    def _crashed(self, group: Group, exc: Exception) -> Decision:
        """Try again a few times, then treat it as a rejection of these events."""
        why = f"the plugin failed: {type(exc).__name__}: {exc}"
        group.crashes += 1
        if group.crashes < CRASHES_TO_REJECT:
            return Decision(Next.PLUGIN_FAILS, why)
        return self._rejected(group, Reject(why))

    def _take(self, group: Group, outcome: Outcome, *, but: Container[int] = ()) -> bool:
        """Note what became of the events that were not rejected; returns whether any
        was delivered, which ends a row of refusals.
        """
        delivered = False
        for position, index in enumerate(group.indexes):
            if position in but:
                continue
            if position in outcome.dead:
                reason = outcome.dead[position]
                self._done[index] = self._letter(group, position, reason, None)
            else:
                self._done[index] = position not in outcome.filtered
                delivered = delivered or position not in outcome.filtered
        if delivered:
            if self._refusals.systemic:
                self._ask_again(group)
            self._refusals.delivered(replay=self._replay)
            self._condemned.clear()
            self._in_a_row = 0
            self._trips = self._refusals.trips
            self._deliveries = self._refusals.deliveries
        return delivered

    def _ask_again(self, taken: Group) -> None:
        """Make rejected events pending again: a sink that refused everything takes
        events now, and was perhaps mended after it refused them.
        """
        devices = {self._device(index) for index in taken.indexes}  # theirs are in order
        again = {
            index
            for index in self._condemned
            if isinstance(self._done[index], DeadLetter) and self._device(index) not in devices
        }
        if again:
            for index in again:
                del self._done[index]
            pending = sorted(again.union(self._left()))
            self._groups = deque(groups_of(self._events, pending, one_device=self._one_device))

    def _letter(self, group: Group, position: int, reason: str, status: int | None) -> DeadLetter:
        index = group.indexes[position]
        attempts = group.attempts - (group.earlier if position else 0)
        return DeadLetter(index, reason, status, attempts, self._now())

    def settlement(self, *, sure: bool) -> Front:
        """Return what is done at the front.

        What is condemned is not part of it while others of the lease are still to be
        tried, or everything is refused.

        :param sure: whether it is part of it else, though nothing was delivered since.
        """
        self._heed_others()
        held = len(self._events)
        if self._condemned and (self._groups or self._refusals.systemic or not sure):
            held = min(self._condemned)
        count = filtered = 0
        dead: list[DeadLetter] = []
        aside: dict[str, tuple[Waiting, list[int]]] = {}
        while (index := self._settled + count) < held and index in self._done:
            outcome = self._done[index]
            if isinstance(outcome, DeadLetter):
                dead.append(evolve(outcome, index=count))
            elif isinstance(outcome, Waiting):
                aside.setdefault(self._device(index), (outcome, []))[1].append(count)
            elif not outcome:
                filtered += 1
            count += 1
        park = [waiting.parking(device, indexes) for device, (waiting, indexes) in aside.items()]
        if self._waits is not None and held == len(self._events):
            park = [self._waits.parking(self._device(0))]
        return Front(count, filtered, dead, park)

    def settled(self, front: Front) -> None:
        """Note that the front was settled."""
        self._settled += front.count
        self._waits = None if front.park else self._waits
        self._condemned = {index for index in self._condemned if index >= self._settled}

    def _replace(self, halves: tuple[Group, Group]) -> None:
        """Let two groups take the place of the first one."""
        self._groups.popleft()
        self._groups.extendleft(reversed(halves))

    def _heed_others(self) -> None:
        """Reprieve what is condemned here, if too many devices were refused since, in
        this lane or in another; or let it stand, if something was delivered.
        """
        if self._trips != self._refusals.trips and self._condemned:
            self._reprieve()
        elif self._deliveries != self._refusals.deliveries:
            self._condemned.clear()
            self._in_a_row = 0
        self._trips = self._refusals.trips
        self._deliveries = self._refusals.deliveries

    def _reprieve(self) -> None:
        """Make what is condemned pending again.

        That ends the lease: lent again it brings more devices, one of which may be
        well. But a letter that stands is kept in hand, for later events of its device
        may have been taken.
        """
        for index in self._condemned:
            del self._done[index]
        self._trips = self._refusals.trips
        self._deliveries = self._refusals.deliveries
        self._condemned.clear()
        self._in_a_row = 0
        self._waits = None
        self._groups.clear()
        end = len(self._events)
        pending = [index for index in range(self._settled, end) if index not in self._done]
        if any(isinstance(self._done.get(index), DeadLetter) for index in range(pending[0], end)):
            self._groups.extend(groups_of(self._events, pending, one_device=self._one_device))

    def _device(self, index: int) -> str:
        return self._events[index].event.device

    def _others_first(self, group: Group) -> None:
        """Move the groups of a device behind those of others."""
        if self._one_device:
            device = self._device(group.indexes[0])
            self._groups = deque(
                sorted(self._groups, key=lambda other: self._device(other.indexes[0]) == device)
            )
