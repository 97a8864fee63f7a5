"""What Databoom has shown of itself: how large a push may be, and which devices it does
not know. Decides, waits never.

Size: a push that is answered 413 is halved, and no larger one is made for an hour. Then
the size is doubled, hour by hour, up to the setting: where the limit stays, that costs
one refused push an hour.

Devices: 404 means one device only if others go through. Such a device is probed for
long before its events become dead letters: its token may have been mistyped, in
Databoom or here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import define, field

from bridge.api import Pause

GROWS_AFTER = 3600.0  # seconds
MAX_MISSING = 10_000  # devices not found that are remembered


@define(eq=False)
class FittingSize:
    """The largest push that is likely to be taken."""

    most: int
    """As the settings have it."""
    now: Callable[[], datetime]
    _learned: int | None = None
    _since: datetime | None = None

    @property
    def bytes(self) -> int:
        """Size that a push of several values should not exceed."""
        if self._learned is None or self._since is None:
            return self.most
        hours = max(0, int((self.now() - self._since).total_seconds() // GROWS_AFTER))
        size = self._learned << min(hours, 40)
        if size >= self.most:
            self._learned = None
            return self.most
        return size

    def refused(self, size: int) -> None:
        """A push of several values and this size was too large."""
        self._learned = min(self.bytes, max(size // 2, 1))
        self._since = self.now()


@define
class Missing:
    """A device that Databoom does not find."""

    since: datetime
    times: int = 0


@define(eq=False)
class Devices:
    """Which devices Databoom knows."""

    attempts: int
    """Answers of 404 after which a device gets dead letters."""
    time: float
    """Seconds, before which it gets none."""
    now: Callable[[], datetime]
    _working: set[str] = field(factory=set)  # the first two devices that Databoom took a push of
    _last_success: datetime | None = None
    _missing: dict[str, Missing] = field(factory=dict)

    def found(self, device: str) -> None:
        """Databoom took a push of this device."""
        self._last_success = self.now()
        self._missing.pop(device, None)
        if len(self._working) < 2:  # enough to know of any device whether another one works
            self._working.add(device)

    def not_found(self, device: str, why: str) -> str:
        """Give the reason for dead letters.

        :raises Pause: when it is too early for that.
        """
        if not self._working - {device}:
            raise Pause(
                f"there is nothing at the url, or no device {device!r} ({why}); check url and "
                "device tokens"
            )
        now = self.now()
        missing = self._missing.setdefault(device, Missing(since=now))
        while len(self._missing) > MAX_MISSING:
            del self._missing[next(iter(self._missing))]
        missing.times += 1
        often = missing.times > self.attempts
        long = (now - missing.since).total_seconds() >= self.time
        others_go_on = self._last_success is not None and self._last_success > missing.since
        reason = (
            f"Databoom has no device {device!r} ({why}); create it, or name its token in devices"
        )
        if often and long and others_go_on:
            return f"{reason}, and replay"
        raise Pause(reason, device_only=True)
