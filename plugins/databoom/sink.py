"""Sink: one attempt to deliver a batch to Databoom.

batch ──▶ plan ──▶ push, push, push: one request at a time, in order ──▶ all accepted | verdict
                     └─ 413 ──▶ halves, at once

Rules:

* A push that is tried again has the same body, byte for byte: whether a cut answer
  meant "stored" cannot be known. So a batch is planned once, and its pushes are kept
  until the batch is through.
* What was accepted of a batch that failed later is not sent again while the sink stays
  open. A batch of many pushes gets on with each attempt, even where one attempt is too
  short for all of them.
* A batch that is refused without a word on which event comes again as two halves, which
  are planned anew. What was accepted of it then goes twice, with the same dates and
  values.
* What the sink itself decides (``Outcome``) is kept apart from what Databoom refuses
  (``Reject``).
* ``min_interval`` is waited for within the attempt. A ``Retry`` would stop the whole
  sink and call it failing, for one device that is only early; and what waits in the
  spool meanwhile makes the next batch larger, which is its purpose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import trio
from attrs import define, field

from bridge.api import Batch, Outcome, Reject

from .answers import Accepted, NotFound, TooLarge
from .concerns import Concerns
from .encoding import Plan, Push, plan
from .heartbeat import Pulses
from .ledger import Keeper, Ledger
from .limits import Devices, FittingSize
from .pusher import Pusher
from .settings import DataboomSettings
from .signals_seen import Seen
from .tokens import Names

MAX_BATCHES = 256  # unfinished batches of which the pushes are kept
MAX_PACED = 100_000  # devices of which the last delivery is remembered
MAX_READINGS = 1000  # planned in the event loop: 10 ms; more of them go to a thread
MAX_REASONS = 3  # told of one batch

LEFT_OUT = "values left out because they are neither number nor boolean"
INEXACT = "whole numbers above 2^53, which JavaScript may not hold exactly"


@define(eq=False)
class Work:
    """What has become of a batch so far."""

    plan: Plan
    pushes: deque[Push]
    """Those that were not accepted yet, in order."""
    refused: dict[int, str] = field(factory=dict)
    """Position to reason, of the events that Databoom refuses."""
    statuses: set[int] = field(factory=set)
    """HTTP statuses among those reasons."""

    def refuse(self, push: Push, reason: str, status: int) -> None:
        """Note that Databoom refuses every value of a push."""
        self.refused.update((point.event, reason) for point in push.points)
        self.statuses.add(status)

    def outcome(self) -> Outcome | None:
        """Give what became of the events.

        :raises Reject: when Databoom refused some of them.
        """
        dead = {
            index: reason for index, reason in self.plan.unfit.items() if index not in self.refused
        }
        outcome = Outcome(self.plan.filtered, dead)
        if self.refused:
            status = next(iter(self.statuses)) if len(self.statuses) == 1 else None
            raise Reject(
                sum_up(self.refused.values()), indexes=self.refused, status=status, others=outcome
            )
        return outcome if outcome.filtered or outcome.dead else None


class DataboomSink:
    """An open sink."""

    def __init__(
        self,
        settings: DataboomSettings,
        pusher: Pusher,
        *,
        names: Names,
        introduced: Ledger,
        fitting: FittingSize,
        devices: Devices,
        seen: Seen,
        pulses: Pulses,
        concerns: Concerns,
        keeper: Keeper,
    ) -> None:
        self._settings = settings
        self._pusher = pusher
        self._names = names
        self._introduced = introduced
        self._fitting = fitting
        self._devices = devices
        self._seen = seen
        self._pulses = pulses
        self._concerns = concerns
        self._keeper = keeper
        self._planning = trio.Lock()
        self._unfinished: dict[tuple[int, ...], Work] = {}
        self._began: dict[
            str, float
        ] = {}  # when the last delivery of a device began; only for min_interval

    async def deliver(self, batch: Batch) -> Outcome | None:
        """Push a batch. See ``bridge.api.Sink``."""
        await self._wait_for_turn(batch.events[0].event.device)
        events = tuple(stored.sequence for stored in batch.events)
        work = self._unfinished.get(events)
        if work is None:
            self._seen.notice(batch.events)
            planned = await self._plan(batch)
            work = self._unfinished[events] = Work(planned, deque(planned.pushes))
            forget_oldest(self._unfinished, MAX_BATCHES)
        try:
            while work.pushes:
                await self._push(work)
        except Reject:
            self._unfinished.pop(events, None)  # its halves come as other batches
            raise
        finally:
            self._keeper.notice()
        self._unfinished.pop(events, None)
        self._count(work.plan, batch)
        return work.outcome()

    async def _wait_for_turn(self, device: str) -> None:
        if self._settings.min_interval:
            if device in self._began:
                await trio.sleep_until(self._began.pop(device) + self._settings.min_interval)
            self._began[device] = trio.current_time()
            forget_oldest(self._began, MAX_PACED)

    async def _plan(self, batch: Batch) -> Plan:
        arguments = batch.events, self._names, self._introduced, self._settings, self._fitting.bytes
        short = sum(len(stored.event.readings) for stored in batch.events) <= MAX_READINGS
        if short and not self._planning.locked():
            return plan(*arguments)
        async with self._planning:  # names are not for two threads at once
            return await trio.to_thread.run_sync(plan, *arguments)

    async def _push(self, work: Work) -> None:
        """Send the next push of a batch.

        :raises Retry, Pause, Reject: it waits, or is refused without saying why.
        """
        push = work.pushes[0]
        verdict = await self._pusher.push(push)
        match verdict:
            case Accepted():
                self._devices.found(push.device)
                self._pulses.seen(push.device, trio.current_time())
            case TooLarge() if len(push.points) > 1:
                self._fitting.refused(len(push.body))
                work.pushes.popleft()
                work.pushes.extendleft(reversed(push.halves()))
                return
            case TooLarge(why, status):
                work.refuse(push, f"a single value is too large for Databoom ({why})", status)
            case NotFound(why, status):
                work.refuse(push, self._devices.not_found(push.device, why), status)
            case _:
                raise verdict
        work.pushes.popleft()

    def _count(self, planned: Plan, batch: Batch) -> None:
        """Count what was sent otherwise than it came, or not at all."""
        for what, signals in ((LEFT_OUT, planned.left_out), (INEXACT, planned.inexact)):
            if signals:
                example = (
                    f"signal {next(reversed(signals))!r} of device {batch.events[0].event.device!r}"
                )
                self._concerns.count(what, example, signals.total())


def sum_up(reasons: Iterable[str]) -> str:
    """Say several reasons in one text."""
    different = list(dict.fromkeys(reasons))
    rest = len(different) - MAX_REASONS
    return "; ".join(different[:MAX_REASONS]) + (f"; and {rest} other reasons" if rest > 0 else "")


def forget_oldest(memory: dict[Any, Any], most: int) -> None:
    """Keep a memory within its bound."""
    while len(memory) > most:
        del memory[next(iter(memory))]
