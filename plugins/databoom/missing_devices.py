"""Which devices Databoom does not know.

404 means one device only if others go through. Such a device is probed for long before
its events become dead letters: its token may have been mistyped, in Databoom or here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import define, field

from bridge.api import BoundedDict, Pause

MAX_MISSING = 10_000  # devices that are remembered


@define
class _Missing:
    since: datetime
    times: int = 0


@define(eq=False)
class MissingDevices:
    """Decides what an answer of 404 means for a device."""

    attempts: int
    """Answers of 404 after which a device gets dead letters."""
    seconds: float
    """Before which it gets none."""
    now: Callable[[], datetime]
    _working: set[str] = field(factory=set)
    _last_success: datetime | None = None
    _missing: BoundedDict[str, _Missing] = field(factory=lambda: BoundedDict(MAX_MISSING))

    def found(self, device: str) -> None:
        """Databoom took a push of this device."""
        self._last_success = self.now()
        self._missing.pop(device, None)
        if len(self._working) < 2:  # enough to know of any device whether another one works
            self._working.add(device)

    def not_found(self, device: str, why: str) -> str:
        """Return the reason for dead letters.

        :raises Pause: when it is too early for that.
        """
        if not self._working - {device}:
            raise Pause(
                f"there is nothing at the url, or no device {device!r} ({why}); check url and "
                "device tokens"
            )
        now = self.now()
        missing = self._missing.get(device) or _Missing(since=now)
        self._missing[device] = missing
        missing.times += 1
        often = missing.times > self.attempts
        long = (now - missing.since).total_seconds() >= self.seconds
        others_go_on = self._last_success is not None and self._last_success > missing.since
        reason = (
            f"Databoom has no device {device!r} ({why}); create it, or name its token in devices"
        )
        if often and long and others_go_on:
            return f"{reason}, and replay"
        raise Pause(reason, scope="device")
