"""Where known keys lie."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TypeAlias

from bridge.api import Arrival

LAST_SECOND = 2**32 - 1  # of 2106: four bytes

Key: TypeAlias = tuple[str, int | None, str]
"""Salt of the source, second of the key's time, key."""


def place_of(key_time: datetime | None) -> int | None:
    """Return the second at which a key lies; None: the timeless place."""
    if key_time is None:
        return None
    return min(max(int(key_time.timestamp()), 0), LAST_SECOND)


def keys_of(arrival: Arrival, salt: str) -> list[Key]:
    """Return the key of an arrival."""
    if arrival.key is None:
        return []
    return [(salt, place_of(arrival.key_time), arrival.key)]


def is_known(arrival: Arrival, salt: str, *known: Collection[Key]) -> bool:
    """Check whether an arrival is a duplicate, by its key or a former one, which may
    have been made before the key had a time.
    """
    places = {place_of(arrival.key_time), None}
    former = [(salt, place, key) for key in arrival.former_keys for place in places]
    asked = [*keys_of(arrival, salt), *former]
    return any(key in keys for key in asked for keys in known)
