"""Settings of the SQLite spool."""

from __future__ import annotations

from attrs import frozen

from bridge.api import Duration, SettingError, Size, at_least, between, setting

DEFAULT_MAX_SIZE = Size(10 << 30)
"""Only where it stands by itself: one that somebody wrote is another object, and the
disk does not cut it down.
"""
# The empty file with its lanes is some 100 KiB; below this the limit would be the rule.
MIN_SIZE = Size(1 << 20)


@frozen
class SqliteSettings:
    """Settings of the SQLite spool."""

    max_size: Size = setting(
        DEFAULT_MAX_SIZE, help="disk space of the spool; beyond it sources are refused, sinks go on"
    )
    dedup_window: Duration = setting(
        Duration(35 * 86400),
        help="how long a key is known, counted while bridge runs; longer than any source repeats",
        validator=at_least(1),
    )
    dedup_size: Size = setting(
        Size(2 << 30),
        help="disk space of known keys, at most a fifth of the whole; beyond it the oldest are "
        "forgotten, but not before a day of running",
    )
    keep: Duration = setting(
        Duration(86400),
        help="how long events stay that every sink is through with, of running: for rewinds",
    )
    park_for: Duration = setting(
        Duration(30 * 86400),
        help="how long events wait for a device that cannot be delivered, of running; then they "
        "are dead letters",
        validator=at_least(1),
    )
    orphan_grace: Duration = setting(
        Duration(7 * 86400),
        help="how long a sink that no section names still collects, of running; then what it "
        "owes is set aside until it is named again",
    )
    lanes: int = setting(
        16,
        help="shares of the devices that go to a sink side by side; used when the spool is created",
        validator=between(1, 1024),
    )

    def __attrs_post_init__(self) -> None:
        if self.max_size < MIN_SIZE:
            raise SettingError("max_size", f"expected {MIN_SIZE} or more, got {self.max_size}")
