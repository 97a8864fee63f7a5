"""The way out: a feeder and lanes for each sink.

    spool ─ subscription.take ─▶ feeder ─ channel ─▶ lanes ─ attempt ─▶ sink plugin
                                                       └─ settle ─▶ spool

The feeder takes a lease only when an attempt could go at once: what waits in the spool
meanwhile makes the next batch larger, so a slow destination gets few large requests
instead of many small ones. A lane that waits to try again keeps its lease, so that the
repeated request is identical, but not its slot. At most one lease a lane is held in
memory, whatever the backlog.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

import trio
from attrs import evolve

from bridge.api import Outcome, Pause, Reject, Report, Retry, Sink, SpoolUnavailable
from bridge.api.spool import Lease, Stale, Subscription
from bridge.flow.delivery.lease import (
    GO_ON,
    ConsecutiveRejects,
    Decision,
    Group,
    LeaseProgress,
    Next,
)
from bridge.flow.delivery.pacing import Policy, Stopwatch
from bridge.flow.delivery.report import DeliveryReport
from bridge.flow.delivery.retry import Breaker
from bridge.flow.instances.grace_period import GracePeriod

log = logging.getLogger(__name__)

MAX_LANES = 64  # tasks that hold leases; a spool with more lanes serves them in turn
SETTLE_AGAIN = 1.0  # seconds between attempts to settle while the store cannot write


class Delivery:
    """Delivers the events of one subscription to one open sink."""

    def __init__(
        self,
        sink: Sink,
        subscription: Subscription,
        policy: Policy,
        *,
        grace_period: GracePeriod,
        report: Report,
        now: Callable[[], datetime],
        random: Callable[[], float],
        redact: Callable[[str], str] = str,
    ) -> None:
        self._sink = sink
        self._subscription = subscription
        self._policy = policy
        self._grace_period = grace_period
        self._report = DeliveryReport(report, policy.pause_probe)
        self._now = now
        self._random = random
        self._redact = redact
        self._breaker = Breaker(policy.retry_base, policy.retry_cap, policy.pause_probe, random)
        self._slots = trio.Semaphore(policy.in_flight)
        self._rejects = ConsecutiveRejects(policy.reject_limit)

    async def run(self) -> None:
        """Deliver until cancelled."""
        self._report.ready()
        sending, receiving = trio.open_memory_channel[Lease](0)
        async with trio.open_nursery() as lanes:
            lanes.start_soon(self._feed, sending)
            for _ in range(MAX_LANES):
                lanes.start_soon(self._serve, receiving)

    async def _feed(self, channel: trio.MemorySendChannel[Lease]) -> None:
        while True:
            await self._breaker.wait_closed()
            async with self._slots:
                pass  # a slot is free: what is taken now can go now
            lease = await self._subscription.take(self._policy.linger)
            try:
                await channel.send(lease)
            except trio.Cancelled:
                lease.give_back()
                raise

    async def _serve(self, channel: trio.MemoryReceiveChannel[Lease]) -> None:
        async for lease in channel:
            try:
                await self._deliver(lease)
            except Stale as stale:
                log.warning(
                    "a lease of lane %d has ended, its events are lent again: %s", lease.lane, stale
                )
            finally:
                lease.give_back()
                self._report.device_goes_on(lease.lane)

    async def _deliver(self, lease: Lease) -> None:
        policy = self._policy
        progress = LeaseProgress(
            lease.events, one_device=policy.one_device, rejects=self._rejects, now=self._now
        )
        stopwatch = Stopwatch(rests=len(lease.events) < policy.batch)
        failures = 0
        while not progress.finished:
            await self._breaker.permit()
            async with self._slots:
                decision = await self._deliver_groups(lease, progress, stopwatch)
            if decision.next is Next.GO_ON:
                failures = 0
                continue
            failures += 1
            stopwatch = Stopwatch(rests=False)  # it has rested enough
            if decision.next in (Next.DEVICE_FAILS, Next.DEVICE_PAUSES):
                self._report.device_waits(lease.lane, decision.why)
            await trio.sleep(policy.wait(decision, failures, self._random))

    async def _deliver_groups(
        self, lease: Lease, progress: LeaseProgress, stopwatch: Stopwatch
    ) -> Decision:
        """Deliver group by group until one has to wait, others find the destination
        failing, or all are done.
        """
        while (group := progress.next_group()) is not None:
            with self._grace_period.scope():
                decision = await self._attempt(progress, group)
                stops = decision.next is not Next.GO_ON or self._breaker.state != "closed"
                if stops or progress.finished or self._grace_period.closing:
                    await self._settle(lease, progress, rest=stopwatch.rest())
            await trio.lowlevel.checkpoint_if_cancelled()  # the grace period may be over
            if stops:
                return decision
        return GO_ON

    async def _attempt(self, progress: LeaseProgress, group: Group) -> Decision:
        """Make one attempt; returns what follows for this lease, once the breaker has
        drawn its conclusion for all.
        """
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
        decision = progress.decide(group, result)
        self._conclude(decision)
        return decision

    def _conclude(self, decision: Decision) -> None:
        before = self._breaker.state
        if decision.next is Next.SINK_FAILS:
            self._breaker.failed(decision.after)
        elif decision.next is Next.SINK_PAUSES or self._rejects.systemic:
            # The latter with an answer that came late: only a delivery ends that pause.
            self._breaker.paused()
        else:
            self._breaker.succeeded()
        closed = self._breaker.state == "closed"
        if decision.next in (Next.SINK_FAILS, Next.SINK_PAUSES):
            if not closed:  # one lost request among good ones is no news
                self._report.hindered(decision)
        elif closed and before != "closed":
            self._report.delivers()

    async def _settle(self, lease: Lease, progress: LeaseProgress, *, rest: float) -> None:
        count, filtered, letters = progress.settlement()
        if not count:
            return
        dead = [evolve(letter, reason=self._redact(letter.reason)) for letter in letters]
        while True:
            try:
                await lease.settle(count, filtered=filtered, dead=dead, rest=rest)
            except SpoolUnavailable:
                # The spool reports why. Delivered is delivered, so hold on to it.
                await trio.sleep(SETTLE_AGAIN)
            else:
                break
        progress.settled(count)
        if dead:
            self._report.dead_letters([letter.reason for letter in dead])


def _stranger(result: Outcome | Exception | None, count: int) -> str:
    """Return a position that a plugin named and its batch does not have, if any."""
    named: list[int] = []
    if isinstance(result, Reject):
        named += result.reasons
        result = result.others
    if isinstance(result, Outcome):
        named += [*result.filtered, *result.dead]
    return next((repr(each) for each in named if each not in range(count)), "")
