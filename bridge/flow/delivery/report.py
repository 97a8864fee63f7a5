"""What is said of the deliveries to one sink, on the board and in the log.

One sentence holds at a time: that it fails or is paused, else that devices wait, else
that there are dead letters, else that it delivers.
"""

from __future__ import annotations

import logging
import math

import trio
from attrs import define, field

from bridge.api import Report
from bridge.flow.delivery.lease import Decision, Next

log = logging.getLogger(__name__)

DEAD_AGAIN = 60.0  # seconds between two reports of dead letters: there may be thousands


@define(eq=False)
class DeliveryReport:
    """Reports for one sink."""

    _report: Report
    _pause_probe: float
    _crash: str = ""
    """The newest mistake of the plugin that was logged."""
    _waiting: dict[int, str] = field(factory=dict)
    """By lane: why its device waits while others go on."""
    _dead: int = 0
    _newest_dead: str = ""
    _dead_told: float = -math.inf

    def ready(self) -> None:
        """It has begun."""
        self._report("ready")

    def hindered(self, decision: Decision) -> None:
        """The whole sink fails or is paused."""
        if decision.next is Next.SINK_PAUSES:
            again = f"nothing is dropped; tried again every {self._pause_probe:g} s"
            self._report(f"paused: {decision.why}; {again}", problem=True)
        else:
            self._report(f"fails: {decision.why}; trying again, its events wait", problem=True)

    def delivers(self) -> None:
        """It takes events; some may wait, or be dead, all the same."""
        if self._waiting:
            why = next(iter(self._waiting.values()))
            self._report(f"delivers, but {len(self._waiting)} lanes wait: {why}", problem=True)
        elif self._dead:
            self._report_dead()
        else:
            self._report("delivers again")

    def device_waits(self, lane: int, why: str) -> None:
        """A lane waits for one of its devices."""
        self._waiting[lane] = why
        self.delivers()

    def device_goes_on(self, lane: int) -> None:
        """It does not wait any more, if it did."""
        if self._waiting.pop(lane, None) is not None:
            self.delivers()

    def dead_letters(self, reasons: list[str]) -> None:
        """Events became dead letters."""
        self._dead += len(reasons)
        self._newest_dead = reasons[-1]
        if trio.current_time() >= self._dead_told + DEAD_AGAIN:
            self._report_dead()

    def _report_dead(self) -> None:
        """Somebody must look at them, whatever is delivered since."""
        self._dead_told = trio.current_time()
        newest = f"the newest: {self._newest_dead}"
        text = f"delivers; dead letters since the start: {self._dead}, {newest}"
        self._report(text, problem=True)

    def crash(self, exc: Exception) -> None:
        """Log a mistake of the plugin with its traceback, once for as long as it is the
        same.
        """
        if repr(exc) != self._crash:
            self._crash = repr(exc)
            log.error("the plugin of a sink failed; its events are tried again", exc_info=exc)
