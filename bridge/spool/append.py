"""Arrivals into rows, those that are known left out."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from attrs import frozen

from bridge.api import Arrival
from bridge.api.spool import lane_of
from bridge.spool.keys import EPOCH, STORED, Source, keys_of, salt_for
from bridge.spool.keys_store import known_before, store_keys
from bridge.spool.schema import LANE_BITS
from bridge.spool.statements import insert_rows
from bridge.spool.transaction import Transaction

OVERHEAD = 100  # bytes that an event takes up beside its body: key, row headers, room left in pages
MICROSECOND = timedelta(microseconds=1)


class Row(NamedTuple):
    """An arrival, ready to be stored.

    One is made for each event: a named tuple is made in half the time.
    """

    keys: tuple[bytes, ...]
    """Its key, then the former ones: a second and 16 bytes of digest each. Empty: it is
    new, whatever is known.
    """
    source: int
    lane: int
    received: int
    """Microseconds since 1970."""
    body: bytes
    checksum: int


@frozen
class Append:
    """Arrivals that are stored together."""

    rows: tuple[Row, ...]
    size: int
    """Bytes that they will take up, about."""


def microseconds(time: datetime) -> int:
    """A time as it is stored, since 1970."""
    return (time - EPOCH) // MICROSECOND


def prepared(arrivals: Sequence[Arrival], lanes: int, sources: Mapping[str, Source]) -> Append:
    """Do in the caller's task what needs no database: also, a mistake in an arrival is
    then its caller's.

    :param sources: by name; those of all arrivals, see :func:`add_sources`.
    """
    rows = tuple(
        [
            Row(
                keys_of(arrival, source.salt),
                source.id,
                lane_of(arrival.device, lanes),
                microseconds(arrival.received),
                arrival.body,
                zlib.crc32(arrival.body),
            )
            for arrival in arrivals
            for source in (sources[arrival.source],)
        ]
    )
    return Append(rows, sum(len(row.body) for row in rows) + OVERHEAD * len(rows))


def add_sources(transaction: Transaction, names: Sequence[str]) -> None:
    """Give a number and a salt to sources that have none.

    In an operation of its own, before the first append: keys are made with the salt, by
    whoever appends. Events name the number, so that a rename in between does no harm.
    """
    known = {
        name: Source(number, salt)
        for number, name, salt in transaction.execute("SELECT id, name, salt FROM sources")
    }
    for name in names:
        if name not in known:
            salt = salt_for(name, {source.salt for source in known.values()})
            number = transaction.value(
                "INSERT INTO sources (name, salt) VALUES (?, ?) RETURNING id", (name, salt)
            )
            known[name] = Source(number, salt)
    transaction.committed.append(partial(setattr, transaction.state, "sources", known))


def append_all(transaction: Transaction, appends: Sequence[Append]) -> list[int]:
    """Store the new events of several appends; returns for each how many were new."""
    rows = [row for append in appends for row in append.rows]
    asked = dict.fromkeys([key for row in rows for key in row.keys])
    former = any(len(row.keys) > 1 for row in rows)
    before = known_before(transaction, asked, former)
    known = before.copy()
    fresh: list[list[Row]] = []
    for append in appends:
        fresh.append([])
        for row in append.rows:
            if known.isdisjoint(row.keys):
                known.update(row.keys[:1])
                fresh[-1].append(row)
    again = store_keys(transaction, known - before)
    if again:
        fresh = [[row for row in of_one if not _stored(row, again)] for of_one in fresh]
    transaction.state.repeats = bool(again or before)
    events = [row for of_one in fresh for row in of_one]
    if events:
        _insert(transaction, events)
    return [len(of_one) for of_one in fresh]


def _stored(row: Row, keys: set[bytes]) -> bool:
    return bool(row.keys) and row.keys[0][:STORED] in keys


def _insert(transaction: Transaction, fresh: Sequence[Row]) -> None:
    heads = transaction.state.heads.copy()
    events = []
    for row in fresh:
        heads[row.lane] += 1
        sequence = row.lane << LANE_BITS | heads[row.lane]
        events.append((sequence, row.source, row.received, row.checksum, row.body))
    insert_rows(
        transaction.connection,
        "events (id, source, received, checksum, body)",
        sorted(events),  # in the order of the tree: neighbours share a page
    )
    transaction.committed.append(partial(setattr, transaction.state, "heads", heads))
