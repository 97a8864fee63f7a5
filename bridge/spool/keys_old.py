"""The keys that version 1 of the tables kept: 16 bytes of digest, in no order of time.

They cannot be placed, so their table stays as it is: it is asked for every event, gets
nothing new, and goes once its newest key must be old. Where it is larger than the cache
of its pages, a question costs a page for each event. Then a filter in memory, one bit
for each beginning of a digest, answers most of them. The table only loses rows: what
the filter does not have is not there, however old it is.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Sequence
from sys import byteorder

from attrs import define

from bridge.spool.statements import known_keys

# Below that the table lies in the cache and is asked as quickly.
MIN_FILTERED = 250_000
# Of 4 bytes, the bits that are told apart: 16 to 32 times as many as there are keys, so
# that few are set by chance, and 32 MiB at most.
SPARE_BITS, MAX_BITS = 4, 28
KEYS_A_STEP = 10_000  # read into the filter in some 20 ms

# One digest in so many lies in the sample, for they are even over all bytes.
_SAMPLE = "SELECT count(*) FROM keys WHERE digest < X'00400000'"
_SAMPLED = 1024

_PREFIXES = """
    SELECT group_concat(hex(substr(digest, 1, 4)), ''), max(digest)
    FROM (SELECT digest FROM keys WHERE digest > ? ORDER BY digest LIMIT ?)
"""

_MASKS = tuple(1 << bit for bit in range(8))


def has_old_keys(connection: sqlite3.Connection) -> bool:
    """Whether the table is there."""
    found = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'keys'"
    return connection.execute(found).fetchone() is not None


class PrefixFilter:
    """A bit for each beginning of a digest.

    :param count: how many digests there will be, about.
    """

    def __init__(self, count: int) -> None:
        bits = min(count.bit_length() + SPARE_BITS, MAX_BITS)
        self._shift = 32 - bits
        self._bits = bytearray(1 << (bits - 3))

    def add(self, prefixes: bytes) -> None:
        """Add digests, of which these are the first 4 bytes each."""
        bits, shift = self._bits, self._shift
        for number in _numbers(prefixes):
            beginning = number >> shift
            bits[beginning >> 3] |= _MASKS[beginning & 7]

    def among(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return those that may have been added; the others were not."""
        bits, shift = self._bits, self._shift
        numbers = _numbers(b"".join([digest[:4] for digest in digests]))
        return [
            digest
            for digest, number in zip(digests, numbers, strict=True)
            if bits[(number >> shift) >> 3] & _MASKS[number >> shift & 7]
        ]


def _numbers(prefixes: bytes) -> array[int]:
    numbers = array("I", prefixes)
    if byteorder == "little":
        numbers.byteswap()
    return numbers


@define(eq=False)
class OldKeys:
    """The table, for as long as there is one."""

    filter: PrefixFilter | None = None
    """None until it is complete."""
    _building: PrefixFilter | None = None
    _after: bytes = b""
    """The last digest that is in what is being built."""

    def known(self, connection: sqlite3.Connection, digests: Sequence[bytes]) -> set[bytes]:
        """Return those that are in the table."""
        if self.filter is not None:
            digests = self.filter.among(digests)
        return known_keys(connection, "keys", "digest", digests)

    def build(self, connection: sqlite3.Connection) -> bool:
        """Go on with building the filter; says whether there is more to do.

        There is nothing to do where so few keys are not worth its memory.
        """
        if self.filter is not None:
            return False
        if self._building is None:
            (sample,) = connection.execute(_SAMPLE).fetchone()
            if sample * _SAMPLED < MIN_FILTERED:
                return False
            self._building = PrefixFilter(sample * _SAMPLED)
        prefixes, last = connection.execute(_PREFIXES, (self._after, KEYS_A_STEP)).fetchone()
        if last is None:
            self.filter, self._building = self._building, None
            return False
        self._after = last
        self._building.add(bytes.fromhex(prefixes))
        return True
