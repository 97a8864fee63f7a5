"""The way out: a feeder and lanes for each sink, and one task for its parked devices.

    spool ─ take ────────▶ feeder ─ channel ─▶ lanes ─┐
      │                                               ├─ attempt ─▶ sink plugin
      └──── take_parked ─▶ parked devices, in turn ───┘
                                                      └─ settle ──▶ spool

The feeder takes a lease only when an attempt could go at once: what waits in the spool
meanwhile makes the next batch larger, so a slow destination gets few large requests
instead of many small ones. A lane that waits to try again keeps its lease, so that the
repeated request is identical, but not its slot. At most one lease a lane is held in
memory, whatever the backlog.

A device that has to wait alone holds nobody: it is parked in the spool, and comes back
when it is due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

import trio
from attrs import evolve

from bridge.api import Outcome, Pause, Reject, Report, Retry, Sink, SpoolUnavailable
from bridge.api.spool import Lease, Spool, Stale, Subscription
from bridge.flow.delivery.decisions import GO_ON, Decision, DeviceVerdict, Next
from bridge.flow.delivery.groups import Group
from bridge.flow.delivery.lasting_problems import LastingProblemsReport
from bridge.flow.delivery.lease import LeaseProgress
from bridge.flow.delivery.pacing import Policy, Stopwatch
from bridge.flow.delivery.refusals import Refusals
from bridge.flow.delivery.report import DeliveryReport
from bridge.flow.delivery.retry import Breaker
from bridge.flow.delivery.slots import Slots
from bridge.flow.instances.grace_period import GracePeriod
from bridge.flow.instances.hold import Hold

log = logging.getLogger(__name__)

MAX_LANES = 64  # tasks that hold leases; a spool with more lanes serves them in turn
SETTLE_AGAIN = 1.0  # seconds between attempts to settle while the store cannot write
LANES_FIRST = 1.0  # seconds for which a probe is left to a lane that has something


class Delivery:
    """Delivers the events of one subscription to one open sink."""

    def __init__(
        self,
        sink: Sink,
        subscription: Subscription,
        policy: Policy,
        *,
        name: str,
        spool: Spool,
        grace_period: GracePeriod,
        report: Report,
        now: Callable[[], datetime],
        random: Callable[[], float],
        redact: Callable[[str], str] = str,
        hold: Hold | None = None,
    ) -> None:
        """:param hold: what a person has stopped; None: nobody can."""
        self._sink = sink
        self._subscription = subscription
        self._policy = policy
        self._grace_period = grace_period
        self._report = DeliveryReport(report, policy.pause_probe)
        self._lasting = LastingProblemsReport(spool, name, report)
        self._now = now
        self._random = random
        self._redact = redact
        self._by_hand = hold
        waits = (policy.retry_base, policy.retry_cap, policy.pause_probe, random)
        self._breaker = Breaker(*waits) if hold is None else Breaker(*waits, hold.wait_resumed)
        self._slots = Slots(policy.in_flight)
        self._refusals = Refusals(policy.reject_limit)

    async def run(self) -> None:
        """Deliver until cancelled."""
        self._report.ready()
        sending, receiving = trio.open_memory_channel[Lease](0)
        async with trio.open_nursery() as lanes:
            lanes.start_soon(self._lasting.run)
            lanes.start_soon(self._feed, sending)
            lanes.start_soon(self._serve_parked)
            for _ in range(MAX_LANES):
                lanes.start_soon(self._serve, receiving)

    async def _feed(self, channel: trio.MemorySendChannel[Lease]) -> None:
        while True:
            await self._breaker.wait_wanted()
            await self._slots.wait_free()  # what is taken now can go now
            lease = await self._subscription.take(self._policy.linger)
            try:
                await channel.send(lease)
            except trio.Cancelled:
                lease.give_back()
                raise

    async def _serve(self, channel: trio.MemoryReceiveChannel[Lease]) -> None:
        async for lease in channel:
            await self._hold(lease)

    async def _serve_parked(self) -> None:
        """Deliver to parked devices that are due, one after another."""
        failures = 0
        while True:
            await self._breaker.wait_wanted(LANES_FIRST)
            lease = await self._subscription.take_parked()
            if self._breaker.state != "closed" and self._breaker.held:
                lease.give_back()  # the lanes see to it
                continue
            decision = await self._hold(lease)
            if decision.next is Next.REPLAY_STOPS:
                await self._stop_replay(decision)
            failures = failures + 1 if decision.next in (Next.SINK_FAILS, Next.SINK_PAUSES) else 0
            if failures:
                await trio.sleep(self._policy.wait(decision, failures, self._random))

    async def _hold(self, lease: Lease) -> Decision:
        """Deliver a lease; returns what its last attempt asked for."""
        try:
            with self._breaker.holding():
                return await self._deliver(lease)
        except Stale as stale:
            log.warning(
                "a lease of lane %d has ended, its events are lent again: %s", lease.lane, stale
            )
            return GO_ON
        finally:
            lease.give_back()

    async def _deliver(self, lease: Lease) -> Decision:
        policy = self._policy
        progress = LeaseProgress(
            lease,
            one_device=policy.one_device,
            refusals=self._refusals,
            wait=self._device_wait,
            held=self._device_held,
            now=self._now,
        )
        stopwatch = Stopwatch(rests=len(lease.events) < policy.batch)
        failures = 0
        decision = GO_ON
        while not progress.finished:
            probe = await self._breaker.permit()
            async with self._slots.parked() if lease.parked else self._slots.lane():
                decision = await self._deliver_groups(lease, progress, stopwatch, probe=probe)
            if progress.unsure:
                await self._hear_others(progress)
                with self._grace_period.scope():
                    await self._settle(lease, progress, sure=True)
            if decision.next is Next.GO_ON:
                failures = 0
                continue
            if lease.parked and decision.next is not Next.PLUGIN_FAILS:
                break  # nobody else needs the same request again
            failures += 1
            stopwatch = Stopwatch(rests=False)  # it has rested enough
            await trio.sleep(policy.wait(decision, failures, self._random))
        return decision

    def _device_held(self, device: str) -> str | None:
        held = None if self._by_hand is None else self._by_hand.devices.get(device)
        return None if held is None else str(held)

    def _device_wait(self, verdict: DeviceVerdict, attempts: int) -> float:
        return self._policy.device_wait(verdict, attempts, self._random)

    async def _deliver_groups(
        self, lease: Lease, progress: LeaseProgress, stopwatch: Stopwatch, *, probe: bool
    ) -> Decision:
        """Deliver group by group until one has to wait, others find the destination
        failing, or all are done.
        """
        while (group := progress.next_group()) is not None:
            with self._grace_period.scope():
                decision = await self._attempt(progress, group)
                goes_on = decision.next is Next.GO_ON and not progress.finished
                # A probe of a sink that refused everything is over with the first
                # delivery, or with the lease.
                probes_on = probe and goes_on and self._refusals.systemic
                self._conclude(decision, probes_on=probes_on)
                stops = not goes_on or (self._breaker.state != "closed" and not probes_on)
                closing = self._grace_period.closing
                if stops or closing:
                    await self._settle(lease, progress, sure=closing, rest=stopwatch.rest())
            await trio.lowlevel.checkpoint_if_cancelled()  # the grace period may be over
            if stops:
                return decision
        if probe:
            self._breaker.pass_on()  # other lanes ended this lease
        # What is left may have been set aside without an attempt.
        with self._grace_period.scope():
            closing = self._grace_period.closing
            await self._settle(lease, progress, sure=closing, rest=stopwatch.rest())
        return GO_ON

    async def _hear_others(self, progress: LeaseProgress) -> None:
        """Wait until other lanes have decided on what a lease condemned, or none of
        them is at it.
        """

        async def decided() -> None:
            while progress.unsure:
                await self._refusals.changed.wait()
            others.cancel_scope.cancel()

        async with trio.open_nursery() as others:
            others.start_soon(decided)
            await self._slots.quiet()
            others.cancel_scope.cancel()

    async def _attempt(self, progress: LeaseProgress, group: Group) -> Decision:
        """Make one attempt; returns what follows for this lease."""
        result: Outcome | Exception | None
        try:
            with trio.fail_after(self._policy.timeout):
                result = await self._sink.deliver(progress.batch(group))
        except trio.TooSlowError:
            result = Retry(f"no answer within {self._policy.timeout:g} s")
        except (Retry, Reject, Pause) as verdict:
            result = verdict
        except Exception as exc:
            result = exc
        if result is not None and not isinstance(result, Outcome | Exception):
            result = TypeError(f"deliver returned {result!r}, expected an Outcome or None")
        elif stranger := _stranger(result, len(group.indexes)):
            result = IndexError(f"deliver named event {stranger} of {len(group.indexes)}")
        if isinstance(result, Exception) and not isinstance(result, Retry | Reject | Pause):
            self._report.crash(result)
        return progress.decide(group, result)

    def _conclude(self, decision: Decision, *, probes_on: bool) -> None:
        """Let the breaker draw its conclusion for all.

        :param probes_on: whether the same probe goes on.
        """
        before = self._breaker.state
        if decision.next is Next.SINK_FAILS:
            self._breaker.failed(decision.after)
        elif decision.next is Next.SINK_PAUSES:
            self._breaker.paused()
        elif not self._refusals.systemic:
            self._breaker.succeeded()
        elif not probes_on:
            self._breaker.paused()  # only a delivery ends that pause
        closed = self._breaker.state == "closed"
        if decision.next in (Next.SINK_FAILS, Next.SINK_PAUSES):
            if not closed:  # one lost request among good ones is no news
                self._report.hindered(decision)
        elif closed and before != "closed":
            self._report.delivers()

    async def _settle(
        self, lease: Lease, progress: LeaseProgress, *, sure: bool, rest: float = 0.0
    ) -> None:
        front = progress.settlement(sure=sure)
        if not front:
            return
        dead = [evolve(letter, reason=self._redact(letter.reason)) for letter in front.dead]
        park = [evolve(parking, why=self._redact(parking.why)) for parking in front.park]
        while True:
            try:
                await lease.settle(
                    front.count, filtered=front.filtered, dead=dead, park=park, rest=rest
                )
            except SpoolUnavailable:
                # The spool reports why. Delivered is delivered, so hold on to it.
                await trio.sleep(SETTLE_AGAIN)
            else:
                break
        progress.settled(front)
        if lease.parked and lease.replay and front.delivered:
            self._lasting.replay_taken()
        if lease.parked or dead or park:
            self._lasting.look(dead[-1].reason if dead else "")

    async def _stop_replay(self, decision: Decision) -> None:
        while True:
            try:
                left = await self._subscription.stop_replay()
            except SpoolUnavailable:
                await trio.sleep(SETTLE_AGAIN)
            else:
                break
        self._lasting.replay_stopped(decision.why, left)


def _stranger(result: Outcome | Exception | None, count: int) -> str:
    """Return a position that a plugin named and its batch does not have, if any."""
    named: list[int] = []
    if isinstance(result, Reject):
        named += result.reasons
        result = result.others
    if isinstance(result, Outcome):
        named += [*result.filtered, *result.dead]
    return next((repr(each) for each in named if each not in range(count)), "")
