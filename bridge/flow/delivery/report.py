"""What is said of the deliveries to one sink, on the board and in the log: that it
delivers, fails or is paused. What it leaves behind stands beside it (``lasting``).
"""

from __future__ import annotations

import logging

from attrs import define

from bridge.api import Report
from bridge.flow.delivery.decisions import Decision, Next
from bridge.flow.problems import SINK_FAILS, SINK_PAUSED

log = logging.getLogger(__name__)


@define(eq=False)
class DeliveryReport:
    """Reports for one sink."""

    _report: Report
    _pause_probe: float
    _crash: str = ""
    """The newest mistake of the plugin that was logged."""

    def ready(self) -> None:
        """It has begun."""
        self._report("ready")

    def hindered(self, decision: Decision) -> None:
        """The whole sink fails or is paused."""
        if decision.next is Next.SINK_PAUSES:
            again = f"nothing is dropped; tried again every {self._pause_probe:g} s"
            self._report(f"paused: {decision.why}; {again}", problem=SINK_PAUSED)
        else:
            text = f"fails: {decision.why}; trying again, its events wait"
            self._report(text, problem=SINK_FAILS)

    def delivers(self) -> None:
        """It takes events again."""
        self._report("delivers again")

    def crash(self, exc: Exception) -> None:
        """Log a mistake of the plugin with its traceback, once for as long as it is the
        same.
        """
        if repr(exc) != self._crash:
            self._crash = repr(exc)
            log.error("the plugin of a sink failed; its events are tried again", exc_info=exc)
