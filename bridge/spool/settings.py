"""The settings of the section ``[spool]``."""

from __future__ import annotations

from attrs import frozen

from bridge.api import Duration, SettingError, Size, at_least, between, setting

MIN_SIZE = Size(
    1 << 20
)  # the empty file with its lanes is some 100 KiB; below this the limit would be the rule


@frozen
class SqliteSettings:
    """Settings of the SQLite spool."""

    max_size: Size = setting(
        Size(10 << 30), help="disk space of the spool; beyond it sources are refused, sinks go on"
    )
    dedup_window: Duration = setting(
        Duration(31 * 86400),
        help="how long a key is known; longer than any source repeats",
        validator=at_least(1),
    )
    lanes: int = setting(
        16,
        help="shares of the devices that go to a sink side by side; used when the spool is created",
        validator=between(1, 1024),
    )

    def __attrs_post_init__(self) -> None:
        if self.max_size < MIN_SIZE:
            raise SettingError("max_size", f"expected {MIN_SIZE} or more, got {self.max_size}")
