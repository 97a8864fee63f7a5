"""The way out: a feeder and lanes for each sink.

    spool ─ subscription.take ─▶ feeder ─ channel ─▶ lanes ─ attempt ─▶ sink plugin
                                                       └─ settle ─▶ spool

The feeder takes a lease only when an attempt could go at once: what waits in the spool
meanwhile makes the next batch larger, so a slow destination gets few large requests
instead of many small ones. A request costs this machine about the same whatever it
carries, so a lane rests after a delivery that was not full, some times as long as it
took: some milliseconds while all is quiet, and longer the busier this machine or the
destination is. A lane that waits to try again keeps its lease, so that the repeated
request is identical, but not its slot. At most one lease a lane is held in memory,
whatever the backlog.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import trio
from attrs import evolve, frozen

from bridge.api import Pause, Reject, Report, Retry, Sink, SpoolUnavailable, backoff
from bridge.api.spool import Lease, Stale, Subscription
from bridge.flow.delivery.lease import Backoff, ConsecutiveRejects, Group, LeaseProgress
from bridge.flow.delivery.retry import Breaker

log = logging.getLogger(__name__)

MAX_LANES = 64  # tasks that hold leases; a spool with more lanes serves them in turn
TELL_DEAD_AGAIN = 60.0  # seconds between two reports of dead letters
REST = 8.0  # times as long as its delivery took a lane rests
MAX_REST = (
    1.0  # seconds; what readings may come late because this machine or their destination is busy
)
SETTLE_AGAIN = 1.0  # seconds between attempts to settle while the store cannot write


@frozen
class Policy:
    """The core's settings of one sink."""

    batch: int
    in_flight: int
    timeout: float
    """Seconds for one attempt."""
    linger: float
    retry_base: float
    retry_cap: float
    pause_probe: float
    reject_limit: int
    one_device: bool


class GracePeriod:
    """Lets what is under way finish when the bridge stops, for a limited time.

    A shielded scope with a deadline that is set when the time has come: an attempt and
    its settlement are not cut in half, which would deliver twice what could have been
    settled.
    """

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._deadline = math.inf

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Shield the block until the shelter closes."""
        with trio.CancelScope(shield=True, deadline=self._deadline) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    @property
    def closing(self) -> bool:
        """Whether it closes."""
        return self._deadline < math.inf

    def close(self, grace: float) -> None:
        """Give what is inside so many seconds; what enters later as well, but not anew."""
        self._deadline = trio.current_time() + grace
        for scope in self._scopes:
            scope.deadline = self._deadline


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
        self._breaker = Breaker(policy.retry_base, policy.retry_cap, policy.pause_probe, random)
        self._shelter = grace_period
        self._report = report
        self._now = now
        self._random = random
        self._redact = redact
        self._slots = trio.Semaphore(policy.in_flight)
        self._refusals = ConsecutiveRejects(policy.reject_limit)
        self._crash = ""  # the newest mistake of the plugin that was logged
        self._dead = 0
        self._newest_dead = ""
        self._dead_told = -math.inf
        self._waiting_devices: dict[int, str] = {}  # lane: why its device waits while others go on

    async def run(self) -> None:
        """Deliver until cancelled."""
        self._report("ready")
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
                self._device_goes_on(lease.lane)

    async def _deliver(self, lease: Lease) -> None:
        work = LeaseProgress(
            lease.events, one_device=self._policy.one_device, refusals=self._refusals, now=self._now
        )
        full = len(lease.events) >= self._policy.batch
        began = trio.current_time()
        failures = 0
        while not work.finished:
            await self._breaker.permit()
            async with self._slots:
                wait = await self._attempt_groups(lease, work, None if full or failures else began)
            if wait is None:
                failures = 0
                continue
            failures += 1
            await trio.sleep(self._pause(lease, wait, failures))

    async def _attempt_groups(
        self, lease: Lease, work: LeaseProgress, began: float | None
    ) -> Backoff | None:
        """Deliver group by group until one has to wait, others find the destination
        failing, or all are done.

        :param began: when this lease was taken; None if its lane shall not rest
            afterwards.
        """
        while (group := work.next_group()) is not None:
            wait: Backoff | None = None
            stops = True
            with self._shelter.scope():
                wait = await self._attempt(work, group)
                stops = wait is not None or self._breaker.state != "closed"
                if stops or work.finished or self._shelter.closing:
                    rest = (
                        0.0
                        if began is None
                        else min(REST * (trio.current_time() - began), MAX_REST)
                    )
                    await self._settle(lease, work, rest=rest)
            await trio.lowlevel.checkpoint_if_cancelled()  # the shelter may have closed
            if stops:
                return wait
        return None

    async def _attempt(self, work: LeaseProgress, group: Group) -> Backoff | None:
        """Make one attempt and tell work and breaker what came of it."""
        try:
            try:
                with trio.fail_after(self._policy.timeout):
                    outcome = await self._sink.deliver(work.batch(group))
            except trio.TooSlowError:
                raise Retry(f"no answer within {self._policy.timeout:g} s") from None
            work.delivered(group, outcome)
            wait: Backoff | None = None
        except Retry as verdict:
            wait = work.failed(group, verdict)
        except Reject as verdict:
            wait = work.rejected(group, verdict)
        except Pause as verdict:
            wait = work.paused(group, verdict)
        except Exception as exc:
            self._log_crash(exc)
            wait = work.crashed(group, exc)
        self._judge(wait)
        return wait

    def _log_crash(self, exc: Exception) -> None:
        """Log a mistake of the plugin with its traceback, once for as long as it is the
        same.
        """
        if repr(exc) != self._crash:
            self._crash = repr(exc)
            log.error("the plugin of a sink failed; its events are tried again", exc_info=exc)

    def _judge(self, wait: Backoff | None) -> None:
        before = self._breaker.state
        if wait is None or wait.scope == "device":
            if self._refusals.systemic:
                self._breaker.paused()  # an answer that came late: only a delivery ends this pause
            else:
                self._breaker.succeeded()
        elif wait.paused:
            self._breaker.paused()
        else:
            self._breaker.failed(wait.after)
        if wait is not None and wait.scope == "sink" and self._breaker.state != "closed":
            self._tell(wait)
        elif before != "closed" and self._breaker.state == "closed":
            self._tell()

    def _tell(self, wait: Backoff | None = None) -> None:
        """Report the state of the sink."""
        if wait is not None and wait.paused:
            again = f"nothing is dropped; tried again every {self._policy.pause_probe:g} s"
            self._report(f"paused: {wait.why}; {again}", problem=True)
        elif wait is not None:
            self._report(f"fails: {wait.why}; trying again, its events wait", problem=True)
        elif self._waiting_devices:
            why = next(iter(self._waiting_devices.values()))
            self._report(
                f"delivers, but {len(self._waiting_devices)} lanes wait: {why}", problem=True
            )
        elif self._dead:
            self._report_dead()
        else:
            self._report("delivers again")

    def _pause(self, lease: Lease, wait: Backoff, failures: int) -> float:
        """Give the seconds that this lane waits."""
        if wait.scope == "device":
            self._waiting_devices[lease.lane] = wait.why
            self._tell()
        if wait.paused:
            return (
                self._policy.pause_probe if wait.scope == "device" else 0.0
            )  # else the breaker holds it
        return backoff(failures, self._policy.retry_base, self._policy.retry_cap, self._random)

    def _device_goes_on(self, lane: int) -> None:
        if self._waiting_devices.pop(lane, None) is not None:
            self._tell()

    async def _settle(self, lease: Lease, work: LeaseProgress, *, rest: float) -> None:
        count, filtered, letters = work.settlement()
        if not count:
            return
        dead = [evolve(letter, reason=self._redact(letter.reason)) for letter in letters]
        while True:
            try:
                await lease.settle(count, filtered=filtered, dead=dead, rest=rest)
            except SpoolUnavailable:
                await trio.sleep(
                    SETTLE_AGAIN
                )  # the spool reports why; delivered is delivered, so hold on to it
            else:
                break
        work.settled(count)
        if dead:
            self._dead += len(dead)
            self._newest_dead = dead[-1].reason
            if (
                trio.current_time() >= self._dead_told + TELL_DEAD_AGAIN
            ):  # a destination may refuse thousands
                self._report_dead()

    def _report_dead(self) -> None:
        """Report dead letters: kept, but somebody must look at them, whatever is
        delivered since.
        """
        self._dead_told = trio.current_time()
        text = (
            f"delivers; dead letters since the start: {self._dead}, the newest: {self._newest_dead}"
        )
        self._report(text, problem=True)
