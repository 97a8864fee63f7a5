"""Parked devices, read: who is due, and the first events of one."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping

from attrs import frozen

from bridge.api import Stored
from bridge.api.spool import ParkedDevice
from bridge.spool.parking import MILLISECONDS
from bridge.spool.read import MAX_BYTES, stored_event, time_of


@frozen
class ParkedRequest:
    """What a subscription wants of its parked devices."""

    sink: str
    held: Collection[str]
    """Devices that a lease in hand holds."""
    running: float
    batch: int
    names: Mapping[int, str]
    """Names of all sources."""


@frozen
class ParkedResult:
    """The first events of the device that is due longest; or when one will be."""

    due: float | None
    """Running seconds when the next device will be due; None: there is none that is not
    held.
    """
    queue: int = 0
    device: str = ""
    lane: int = 0
    generation: int = 0
    attempts: int = 0
    replay: bool = False
    events: tuple[Stored, ...] = ()
    sequence: int = 0
    """Of the first event, which may be one that cannot be read."""
    unreadable: str | None = None
    """Why the event after these cannot be read back."""


def read_due(request: ParkedRequest, connection: sqlite3.Connection) -> ParkedResult:
    """Read the first events of the device that is due longest."""
    queues = connection.execute(
        "SELECT id, device, lane, attempts, due, (SELECT max(generation) FROM cursors c "
        "WHERE c.sink = d.sink) FROM parked_devices d WHERE sink = ? ORDER BY due LIMIT ?",
        (request.sink, len(request.held) + 1),
    ).fetchall()
    now = request.running * MILLISECONDS
    for queue, device, lane, attempts, due, generation in queues:
        if device in request.held:
            continue
        if due > now:
            return ParkedResult(due / MILLISECONDS)
        return _first_events(request, connection, (queue, device, lane, generation, attempts))
    return ParkedResult(None)


def _first_events(
    request: ParkedRequest,
    connection: sqlite3.Connection,
    head: tuple[int, str, int, int, int],
) -> ParkedResult:
    queue, device, lane, generation, attempts = head
    rows = connection.execute(
        "SELECT sequence, source, received, checksum, letter IS NOT NULL, CAST(body AS BLOB) "
        "FROM parked WHERE device = ? ORDER BY sequence LIMIT ?",
        (queue, request.batch),
    )
    events: list[Stored] = []
    replay, size, first, unreadable = False, 0, 0, None
    for sequence, source, received, checksum, replayed, body in rows:
        size += len(body)
        if events and (bool(replayed) != replay or size > MAX_BYTES):
            break
        replay, first = bool(replayed), first or sequence
        try:
            events.append(stored_event(sequence, request.names, source, received, body, checksum))
        except (ValueError, LookupError, OverflowError) as exc:
            unreadable = str(exc)
            break
    return ParkedResult(
        None, queue, device, lane, generation, attempts, replay, tuple(events), first, unreadable
    )


def read_parked_devices(
    connection: sqlite3.Connection, sink: str, running: float, after: str, limit: int
) -> list[ParkedDevice]:
    """Read a page of the parked devices of a sink."""
    rows = connection.execute(
        "SELECT device, events, oldest, since, due, attempts, why FROM parked_devices "
        "WHERE sink = ? AND device > ? ORDER BY device LIMIT ?",
        (sink, after, limit),
    )
    return [
        ParkedDevice(
            sink,
            device,
            events,
            time_of(oldest),
            running - since / MILLISECONDS,
            due / MILLISECONDS - running,
            attempts,
            why,
        )
        for device, events, oldest, since, due, attempts, why in rows
    ]
