"""Arrivals into rows, those that are known left out.

Every step of a statement lets go of the interpreter's lock, and while the loop is busy
each return waits for up to the switch interval. So a commit consists of few steps,
however many events it holds: one query with one row tells which keys are known, and
rows are inserted many at a time, in few sizes so that the statements stay prepared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import blake2b
from itertools import chain, islice
from typing import Any, NamedTuple

from attrs import frozen

from bridge.api import Arrival
from bridge.api.spool import lane_of
from bridge.spool.schema import LANE_BITS
from bridge.spool.transaction import Transaction

SIZES = (256, 64, 16, 4, 1)  # rows of one statement
OVERHEAD = 100  # bytes that an event takes up beside its body: key, row headers, room left in pages
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Row(NamedTuple):
    """An arrival, ready to be stored.

    One is made for each event: a named tuple is made in half the time.
    """

    digest: bytes
    source: str
    lane: int
    received: int
    """Microseconds since 1970."""
    body: bytes
    former: tuple[bytes, ...]
    """Digests of what earlier versions took for its key."""


@frozen
class Append:
    """Arrivals that are stored together."""

    rows: tuple[Row, ...]
    size: int
    """Bytes that they will take up, about."""


def microseconds(time: datetime) -> int:
    """A time as it is stored, since 1970."""
    return (time - EPOCH) // MICROSECOND


def prepared(arrivals: Sequence[Arrival], lanes: int) -> Append:
    """Do in the caller's task what needs no database: also, a mistake in an arrival is
    then its caller's.
    """
    rows = tuple(
        [
            Row(
                digest_of(arrival.source, arrival.key),
                arrival.source,
                lane_of(arrival.device, lanes),
                microseconds(arrival.received),
                arrival.body,
                tuple([digest_of(arrival.source, key) for key in arrival.former_keys]),
            )
            for arrival in arrivals
        ]
    )
    return Append(rows, sum(len(row.body) for row in rows) + OVERHEAD * len(rows))


def digest_of(source: str, key: str) -> bytes:
    """Return what is kept of a key.

    16 bytes: among a billion keys two are alike with a probability below 1e-20.
    """
    return blake2b(f"{source}\0{key}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def append_all(transaction: Transaction, appends: Sequence[Append]) -> list[int]:
    """Store the new events of several appends; returns for each how many were new."""
    rows = [row for append in appends for row in append.rows]
    asked = dict.fromkeys(row.digest for row in rows)
    asked.update(dict.fromkeys(digest for row in rows for digest in row.former))
    known = _known(transaction, asked)
    counts = []
    fresh: list[Row] = []
    for append in appends:
        before = len(fresh)
        for row in append.rows:
            if row.digest not in known and known.isdisjoint(row.former):
                known.add(row.digest)
                fresh.append(row)
        counts.append(len(fresh) - before)
    if fresh:
        _insert(transaction, fresh)
    return counts


def _known(transaction: Transaction, digests: Iterable[bytes]) -> set[bytes]:
    """Return the digests that are stored already."""
    known: set[bytes] = set()
    asked = list(digests)
    for start in range(0, len(asked), SIZES[0]):
        part = asked[start : start + SIZES[0]]
        size = min(size for size in SIZES if size >= len(part))
        # Filled up with its last digest, so that a prepared statement fits.
        part += part[-1:] * (size - len(part))
        marks = ",".join("?" * size)
        query = f"SELECT group_concat(hex(digest), '') FROM keys WHERE digest IN ({marks})"  # noqa: S608  # marks only
        found = transaction.value(query, part)
        text = bytes.fromhex(found or "")
        known.update(text[at : at + 16] for at in range(0, len(text), 16))
    return known


def _insert(transaction: Transaction, fresh: list[Row]) -> None:
    sources = _source_ids(transaction, fresh)
    heads = transaction.state.heads.copy()
    events = []
    for row in fresh:
        heads[row.lane] += 1
        events.append(
            (row.lane << LANE_BITS | heads[row.lane], sources[row.source], row.received, row.body)
        )
    # In the order of the trees: neighbours share a page.
    keys = sorted((row.digest, row.received // 1_000_000) for row in fresh)
    _insert_rows(transaction, "keys", keys)
    _insert_rows(transaction, "events", sorted(events))
    transaction.committed.append(partial(setattr, transaction.state, "heads", heads))


def _source_ids(transaction: Transaction, fresh: list[Row]) -> dict[str, int]:
    known = transaction.state.sources
    if new := {row.source for row in fresh} - known.keys():
        known = known.copy()
        for name in sorted(new):
            known[name] = transaction.value(
                "INSERT INTO sources(name) VALUES (?) RETURNING id", (name,)
            )
        transaction.committed.append(partial(setattr, transaction.state, "sources", known))
    return known


def _insert_rows(transaction: Transaction, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    marks = f"({','.join('?' * len(rows[0]))})"
    for part in _parts(rows):
        values = ",".join([marks] * len(part))
        statement = f"INSERT INTO {table} VALUES {values}"  # noqa: S608  # a name of ours, and marks
        transaction.execute(statement, tuple(chain.from_iterable(part)))


def _parts(rows: Sequence[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Cut rows into parts of the few sizes there are statements for."""
    rest = iter(rows)
    left = len(rows)
    for size in SIZES:
        while left >= size:
            yield list(islice(rest, size))
            left -= size
