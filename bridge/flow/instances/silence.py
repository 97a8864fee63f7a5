"""Silent devices: learned from each how often it is heard, and missed when it is not.

    heard ─▶ interval ─▶ usual interval (rises at once, to twice at most; falls slowly)
    silent for three times the usual interval ─▶ a problem ─▶ heard again ─▶ taken back

Learned is bounded at both ends, and so is the number of devices. While the bridge was
down nobody was silent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import trio
from attrs import define

from bridge.api import JSON, KeyValue, Report, SpoolUnavailable
from bridge.flow.ingest import Intake
from bridge.flow.problems import SILENT_DEVICES
from bridge.flow.recovery.gaps import span

TICK = 30.0  # seconds between two looks; what a device sends within one of them counts once
FACTOR = 3.0  # times its usual interval a device may be silent
MIN_USUAL = 300.0  # seconds: a device that speaks each second is not missed after three
MAX_USUAL = 86_400.0
LEARNED_AFTER = 5  # intervals, before anybody is missed
FALL = 0.1  # share of a shorter interval in the new usual one
MAX_DEVICES = 10_000  # of a source; above that the one that was heard longest ago is forgotten
FORGOTTEN_AFTER = 30 * 86_400.0  # seconds of silence: it was taken away
MAX_NAMED = 5
KEEP_EVERY = 900.0  # seconds between two times of keeping what was learned
RHYTHMS = "rhythms"


@define
class Rhythm:
    """How often a device is heard. Times in seconds since 1970."""

    last: float
    usual: float = 0.0
    intervals: int = 0

    def heard(self, time: float) -> None:
        """Learn from the interval that ends now."""
        interval = time - self.last
        self.last = max(self.last, time)
        if interval < 1.0:
            return
        if self.intervals == 0:
            self.usual = interval
        elif interval > self.usual:
            self.usual = min(interval, 2 * self.usual)
        else:
            self.usual += FALL * (interval - self.usual)
        self.usual = min(self.usual, MAX_USUAL)
        self.intervals += 1

    @property
    def expected(self) -> float:
        """Its usual interval, not below what is worth missing."""
        return max(self.usual, MIN_USUAL)

    def silent(self, now: float, awake_since: float) -> bool:
        """Check whether it is silent for too long.

        Only time in which the bridge was up counts.
        """
        return (
            self.intervals >= LEARNED_AFTER
            and now - max(self.last, awake_since) > FACTOR * self.expected
        )


class Devices:
    """The devices of one source."""

    def __init__(self, kept: JSON = None) -> None:
        self.rhythms: dict[str, Rhythm] = {}
        for device, (last, usual, intervals) in (kept or {}).items():
            self.rhythms[device] = Rhythm(last, usual, intervals)

    def heard(self, devices: Mapping[str, float]) -> None:
        """Learn from the devices that were heard, and when."""
        for device, time in devices.items():
            rhythm = self.rhythms.pop(device, None)
            if rhythm is None:
                rhythm = Rhythm(time)
            else:
                rhythm.heard(time)
            # At the end: the first is the one that was heard longest ago.
            self.rhythms[device] = rhythm
        while len(self.rhythms) > MAX_DEVICES:
            del self.rhythms[next(iter(self.rhythms))]

    def silent(self, now: float, awake_since: float) -> dict[str, Rhythm]:
        """Return those that are silent for too long; forget those that are for good."""
        gone = [
            device for device, rhythm in self.rhythms.items() if now - rhythm.last > FORGOTTEN_AFTER
        ]
        for device in gone:
            del self.rhythms[device]
        return {
            device: rhythm
            for device, rhythm in self.rhythms.items()
            if rhythm.silent(now, awake_since)
        }

    def kept(self) -> JSON:
        return {
            device: [round(rhythm.last), round(rhythm.usual), rhythm.intervals]
            for device, rhythm in self.rhythms.items()
        }


def describe(silent: Mapping[str, Rhythm], known: int) -> str:
    """Name silent devices in one sentence that stays the same while the same devices
    are silent.
    """
    named = [
        f"{device} since {datetime.fromtimestamp(rhythm.last, UTC):%Y-%m-%d %H:%M} UTC "
        f"(usually every {span(rhythm.expected)})"
        for device, rhythm in list(silent.items())[:MAX_NAMED]
    ]
    more = f" and {len(silent) - MAX_NAMED} more" if len(silent) > MAX_NAMED else ""
    verb = "device is" if len(silent) == 1 else "devices are"
    return (
        f"{len(silent)} of {known} {verb} silent: {', '.join(named)}{more}; see whether they "
        "have power and contact"
    )


async def watch_devices(
    intake: Intake, state: KeyValue, report: Report, now: Callable[[], datetime]
) -> None:
    """Watch the devices of one source until cancelled; then keep what was learned."""
    devices = Devices(state.get(RHYTHMS))
    intake.watched = True
    awake_since = now().timestamp()
    keep_at = trio.current_time() + KEEP_EVERY
    told = False
    try:
        while True:
            await trio.sleep(TICK)
            heard, intake.devices = intake.devices, {}
            devices.heard(heard)
            silent = devices.silent(now().timestamp(), awake_since)
            if silent:
                report(describe(silent, len(devices.rhythms)), problem=SILENT_DEVICES)
            elif told:
                report("every device is heard again")
            told = bool(silent)
            if trio.current_time() >= keep_at:
                keep_at = trio.current_time() + KEEP_EVERY
                await _keep(state, devices)
    finally:
        devices.heard(intake.devices)
        if devices.rhythms:
            with trio.move_on_after(1.0, shield=True):
                await _keep(state, devices)


async def _keep(state: KeyValue, devices: Devices) -> None:
    try:
        await state.put(RHYTHMS, devices.kept())
    except SpoolUnavailable:
        pass  # the spool reports why; it is tried again
