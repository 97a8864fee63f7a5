"""What is kept of a key, and where it lies.

    ┌ 4 bytes: second of key_time ┐┌ 12 bytes: digest over salt and key ┐
    │     65 53 F1 00             ││  ...                               │

What is sent at the same time was measured at about the same time, so that the keys of a
commit are neighbours on a few pages, however many there are. The time says only where a
key lies. How long it stays is the matter of when it was stored.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import count
from typing import NamedTuple

from bridge.api import Arrival

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)

TIMELESS = bytes(4)
"""Where the keys lie that have no time."""
MAX_SECOND = (1 << 32) - 1  # 2106-02-07
SECONDS_AN_HOUR = 3600

STORED = 16
"""Bytes that are kept of a key: a second, and the beginning of its digest."""


class Source(NamedTuple):
    """What the spool knows of a source."""

    id: int
    salt: str
    """The digests of its keys are over it. Its first name, mostly: a source that is
    renamed keeps its keys.
    """


def digest_of(salt: str, key: str) -> bytes:
    """Return 16 bytes; of these version 1 kept all, today 12 are.

    12 bytes beside a second: among a thousand keys of one second, in each second of a
    century, two are alike with a probability below 1e-13.
    """
    return blake2b(f"{salt}\0{key}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def place_of(key_time: datetime | None) -> bytes:
    """Return the second at which a key lies, so that bytes sort as times do.

    What is no second of 1970 to 2106 lies at its end, beside the timeless place.
    """
    if key_time is None:
        return TIMELESS
    second = (key_time - EPOCH) // SECOND
    return min(max(second, 1), MAX_SECOND).to_bytes(4, "big")


def hour_of(key: bytes) -> int:
    """Return the hour since 1970 in which a key lies; the timeless place is hour 0."""
    return int.from_bytes(key[:4], "big") // SECONDS_AN_HOUR


def bounds_of(first: int, last: int) -> tuple[bytes, bytes]:
    """Return between which bytes the keys of these hours lie: from the first value up
    to, not including, the second.
    """
    end = (last + 1) * SECONDS_AN_HOUR
    # The last hour of 2106 ends with the range of 4 bytes; no key has five of 255.
    upper = end.to_bytes(4, "big") if end <= MAX_SECOND else b"\xff" * (STORED + 1)
    return (first * SECONDS_AN_HOUR).to_bytes(4, "big"), upper


def keys_of(arrival: Arrival, salt: str) -> tuple[bytes, ...]:
    """Return the key of an arrival and its former ones: a second and 16 bytes of digest
    each. Empty if nothing is kept of it.
    """
    if arrival.key is None:
        return ()
    place = place_of(arrival.key_time)
    if not arrival.former_keys:
        return (place + digest_of(salt, arrival.key),)
    # A former key may be of a version that gave keys no time.
    places = (place,) if place == TIMELESS else (place, TIMELESS)
    former = [digest_of(salt, key) for key in arrival.former_keys]
    return (
        place + digest_of(salt, arrival.key),
        *[at + digest for digest in former for at in places],
    )


def salt_for(name: str, taken: set[str]) -> str:
    """Return the salt of a new source: its name, unless the keys of one that had this
    name before are made with it.
    """
    if name not in taken:
        return name
    # No name of a section has a slash.
    return next(salt for number in count(2) if (salt := f"{name}/{number}") not in taken)
