"""One attempt to deliver a batch to Databoom.

    batch ─▶ plan ─▶ push, push, push: one request at a time, in order ─▶ verdict
                       └─ 413 ─▶ halves, at once

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

import math
from collections import Counter, deque
from collections.abc import Iterable
from typing import TypeAlias

import trio
from attrs import define, field

from bridge.api import Batch, BoundedDict, Outcome, Reject, Report
from bridge.api.rest import RequestSpacing

from .answers import DeviceNotFound, PushAccepted, PushTooLarge
from .encoding import Plan, plan
from .heartbeat import SilentDevices
from .ledger import Ledger, LedgerWriter
from .missing_devices import MissingDevices
from .push import Push, PushSize
from .pusher import Pusher
from .settings import DataboomSettings
from .signals_seen import SignalsSeen
from .tokens import Tokens

MAX_BATCHES = 256  # unfinished batches of which the pushes are kept
MAX_SPACED = 100_000  # devices of which the last delivery is remembered
MAX_READINGS = 1000  # planned in the event loop: 10 ms; more of them go to a thread
MAX_REASONS = 3  # told of one batch
REMARKED_AGAIN = 3600.0  # seconds between two reports of a count that grows

BatchKey: TypeAlias = tuple[int, ...]
"""Sequence numbers of its events."""


@define(eq=False)
class BatchProgress:
    """What has become of a batch so far."""

    plan: Plan
    pushes: deque[Push]
    """Those that were not accepted yet, in order."""
    refused: dict[int, str] = field(factory=dict)
    """Position to reason, of the events that Databoom refuses."""
    statuses: set[int] = field(factory=set)
    """HTTP statuses among those reasons."""

    def refuse(self, push: Push, reason: str, status: int) -> None:
        """Databoom refuses every value of a push."""
        self.refused.update((point.event, reason) for point in push.points)
        self.statuses.add(status)

    def outcome(self) -> Outcome | None:
        """Return what became of the events.

        :raises Reject: when Databoom refused some of them.
        """
        dead = {
            index: reason for index, reason in self.plan.dead.items() if index not in self.refused
        }
        outcome = Outcome(self.plan.filtered, dead)
        if self.refused:
            status = next(iter(self.statuses)) if len(self.statuses) == 1 else None
            raise Reject(
                sum_up(self.refused.values()), indexes=self.refused, status=status, others=outcome
            )
        return outcome if outcome.filtered or outcome.dead else None


@define(eq=False)
class CountedRemark:
    """What is no problem, but must not be silent: told at once, and then at most once
    an hour.
    """

    report: Report
    topic: str
    text: str
    """A sentence that ends with the count."""
    _count: int = field(default=0, init=False)
    _told_at: float = field(default=-math.inf, init=False)

    def add(self, signals: Counter[str], device: str) -> None:
        """Count values, given by signal, of a device."""
        if not signals:
            return
        self._count += signals.total()
        now = trio.current_time()
        if now - self._told_at >= REMARKED_AGAIN:
            self._told_at = now
            newest = f"signal {next(reversed(signals))!r} of device {device!r}"
            self.report(
                f"{self.text}: {self._count} since the start, the newest: {newest}",
                topic=self.topic,
            )


class DataboomSink:
    """An open sink."""

    def __init__(
        self,
        settings: DataboomSettings,
        pusher: Pusher,
        *,
        tokens: Tokens,
        introduced: Ledger,
        push_size: PushSize,
        missing: MissingDevices,
        seen: SignalsSeen,
        silent: SilentDevices,
        ledgers: LedgerWriter,
        report: Report,
    ) -> None:
        self._settings = settings
        self._pusher = pusher
        self._tokens = tokens
        self._introduced = introduced
        self._push_size = push_size
        self._missing = missing
        self._seen = seen
        self._silent = silent
        self._ledgers = ledgers
        self._left_out = CountedRemark(
            report, "left-out", "values left out because they are neither number nor boolean"
        )
        self._inexact = CountedRemark(
            report, "inexact", "whole numbers above 2^53, which JavaScript may not hold exactly"
        )
        self._planning = trio.Lock()
        self._unfinished: BoundedDict[BatchKey, BatchProgress] = BoundedDict(MAX_BATCHES)
        self._spacings: BoundedDict[str, RequestSpacing] = BoundedDict(MAX_SPACED)

    async def deliver(self, batch: Batch) -> Outcome | None:
        """Push a batch. See ``bridge.api.Sink``."""
        device = batch.events[0].event.device
        await self._wait_for_turn(device)
        key = tuple(stored.sequence for stored in batch.events)
        progress = self._unfinished.get(key)
        if progress is None:
            self._seen.add(batch.events)
            planned = await self._plan(batch)
            progress = BatchProgress(planned, deque(planned.pushes))
            self._unfinished[key] = progress
        try:
            while progress.pushes:
                await self._push_next(progress)
        except Reject:
            self._unfinished.pop(key, None)  # its halves come as other batches
            raise
        finally:
            self._ledgers.wake()
        self._unfinished.pop(key, None)
        self._left_out.add(progress.plan.left_out, device)
        self._inexact.add(progress.plan.inexact, device)
        return progress.outcome()

    async def _wait_for_turn(self, device: str) -> None:
        if self._settings.min_interval:
            spacing = self._spacings.get(device) or RequestSpacing(self._settings.min_interval)
            self._spacings[device] = spacing
            await spacing.turn()

    async def _plan(self, batch: Batch) -> Plan:
        size = self._push_size.bytes
        arguments = batch.events, self._tokens, self._introduced, self._settings, size
        short = sum(len(stored.event.readings) for stored in batch.events) <= MAX_READINGS
        if short and not self._planning.locked():
            return plan(*arguments)
        async with self._planning:  # tokens are not for two threads at once
            return await trio.to_thread.run_sync(plan, *arguments)

    async def _push_next(self, progress: BatchProgress) -> None:
        """Send the next push of a batch.

        :raises Retry, Pause, Reject: it waits, or is refused without saying why.
        """
        push = progress.pushes[0]
        verdict = await self._pusher.push(push)
        match verdict:
            case PushAccepted():
                self._missing.found(push.device)
                self._silent.reading_pushed(push.device, trio.current_time())
            case PushTooLarge() if len(push.points) > 1:
                self._push_size.refused(len(push.body))
                progress.pushes.popleft()
                progress.pushes.extendleft(reversed(push.halves()))
                return
            case PushTooLarge(why, status):
                progress.refuse(push, f"a single value is too large for Databoom ({why})", status)
            case DeviceNotFound(why, status):
                progress.refuse(push, self._missing.not_found(push.device, why), status)
            case _:
                raise verdict
        progress.pushes.popleft()


def sum_up(reasons: Iterable[str]) -> str:
    """Return several reasons in one text."""
    different = list(dict.fromkeys(reasons))
    rest = len(different) - MAX_REASONS
    return "; ".join(different[:MAX_REASONS]) + (f"; and {rest} other reasons" if rest > 0 else "")
