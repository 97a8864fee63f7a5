"""What a sink leaves behind: devices that wait apart, dead letters, a replay that
stopped.

These are problems that take themselves back. The spool is asked, for only it knows all:
devices that were parked before the start, events that are parked behind others,
replays, what a person dropped. It costs one look a minute, and one as soon as something
was settled that changes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import trio
from attrs import define, field, frozen

from bridge.api import Problem, Report, SpoolUnavailable
from bridge.api.spool import ParkedDevice, Spool
from bridge.api.spool.problems import DEAD_LETTERS, PARKED_DEVICES
from bridge.flow.problems import REPLAY_STOPPED

PROBLEM_OF: Mapping[str, Problem] = {
    "parked": PARKED_DEVICES,
    "dead": DEAD_LETTERS,
    "replay": REPLAY_STOPPED,
}
"""By topic."""
LOOK_AGAIN = 60.0  # seconds; also between two reports of a number that changes
TOGETHER = 1.0  # seconds for which what happens after a look waits for the next


@frozen
class LastingProblems:
    """What is left behind now."""

    parked_devices: int
    first: ParkedDevice | None
    """By name; None if there are none."""
    dead: int

    @property
    def parked_text(self) -> str:
        """The problem in a sentence; empty if there is none."""
        if self.first is None:
            return ""
        number = self.parked_devices
        who = "1 device waits" if number == 1 else f"{number} devices wait"
        return f"{who} apart, the others go on; {self.first.device!r}: {self.first.why}"

    def dead_text(self, newest: str) -> str:
        """Return the problem in a sentence; empty if there is none."""
        if not self.dead:
            return ""
        number = "1 dead letter" if self.dead == 1 else f"{self.dead} dead letters"
        return f"{number}, the newest: {newest}" if newest else f"{number} from before the start"


async def look_up(spool: Spool, sink: str) -> LastingProblems | None:
    """Ask the spool; None if it does not know the sink."""
    for account in await spool.accounts([sink]):
        if account.sink == sink:
            parked = await spool.parked(sink, limit=1) if account.parked_devices else []
            return LastingProblems(account.parked_devices, next(iter(parked), None), account.dead)
    return None


@define(eq=False)
class LastingProblemsReport:
    """Keeps these problems of one sink on the board."""

    _spool: Spool
    _sink: str
    _report: Report
    _newest: str = ""
    """Reason of the newest dead letter."""
    _stopped: str = ""
    """The problem with the last replay."""
    _changed: trio.Event = field(factory=trio.Event)
    _told: dict[str, tuple[str, float]] = field(factory=dict)
    """By topic: the problem, and when it was told."""

    def look(self, newest: str = "") -> None:
        """Look soon: something was settled.

        :param newest: reason of the newest dead letter, if one was among it.
        """
        self._newest = newest or self._newest
        self._changed.set()

    def replay_stopped(self, why: str, left: int) -> None:
        """A replay was refused again and again."""
        self._stopped = (
            f"the replay stopped: {why}; the {left} events left are dead letters again, as they "
            "were"
        )
        self._changed.set()

    def replay_taken(self) -> None:
        """The destination took an event that it had refused before."""
        self._stopped = ""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._changed = trio.Event()
            stopped = self._stopped
            try:
                lasting = await look_up(self._spool, self._sink)
            except SpoolUnavailable:
                lasting = None  # the spool says why
            if lasting is not None:
                self._tell("parked", lasting.parked_text)
                self._tell("dead", lasting.dead_text(self._newest))
                if not lasting.dead and self._stopped == stopped:
                    self._stopped = ""  # a person saw to it
                self._tell("replay", self._stopped)
            await trio.sleep(TOGETHER)
            with trio.move_on_after(LOOK_AGAIN - TOGETHER):
                await self._changed.wait()

    def _tell(self, topic: str, text: str) -> None:
        now = trio.current_time()
        before, told_at = self._told.get(topic, ("", -math.inf))
        if not text and before:
            del self._told[topic]
            self._report("", topic=topic)
        elif text and (not before or (text != before and now >= told_at + LOOK_AGAIN)):
            self._told[topic] = text, now
            self._report(text, problem=PROBLEM_OF[topic], topic=topic)
