"""Known again: what a vendor sends twice has one key, at one time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.api import Event

MONTH = timedelta(days=30)


def identities(events: Iterable[Event]) -> list[tuple[Any, ...]]:
    """Return what the spool knows events by."""
    return [(event.key, event.key_time, event.former_keys) for event in events]


def assert_known_again(read: Callable[[datetime], Iterable[Event]], now: datetime) -> None:
    """Read the same twice, a month apart, and check that it is known the second time.

    :param read: reads it at a time.
    """
    first, again = list(read(now)), list(read(now + MONTH))
    assert identities(first) == identities(again)
    for event in first:
        assert event.key_time != now
        assert event.key_time is None or event.key_time.tzinfo is UTC


def assert_one_time_for_each_key(events: Iterable[Event]) -> None:
    """Check that events of one key are known at one time."""
    times: dict[str, datetime | None] = {}
    for event in events:
        if event.key is not None:
            assert times.setdefault(event.key, event.key_time) == event.key_time
