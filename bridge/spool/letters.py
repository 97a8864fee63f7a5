"""Dead letters: kept, looked at, brought back, dropped, in the open transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson

from bridge.api import Stored, decode
from bridge.api.spool import DeadLetter, KeptLetter, LetterEvent, LetterFilter
from bridge.spool.append import microseconds
from bridge.spool.checksum import damage
from bridge.spool.read import time_of
from bridge.spool.schema import LANE_BITS
from bridge.spool.transaction import Transaction

MOVED_A_STEP = 500  # letters of version 1
EXPIRED_A_STEP = 500
ROW = 200  # bytes of a letter beside its body, as the trigger counts them

_FIELDS = (
    "l.id, l.sink, s.name, l.device, l.sequence, l.received, l.reason, l.status, l.attempts, "
    "l.time, l.purged FROM letters l JOIN sources s ON s.id = l.source"
)


def keep_letter(
    transaction: Transaction,
    sink: str,
    letter: DeadLetter,
    event: str,
    parameters: Sequence[Any],
) -> None:
    """Keep a dead letter.

    :param event: a query for sequence, source, received, checksum and body.
    """
    found = transaction.execute(event, parameters).fetchone()
    if found is None:  # the audit says that it is missing
        return
    sequence, source, received, checksum, body = found
    device = device_of(body, checksum)
    said = (letter.reason, letter.status, letter.attempts, microseconds(letter.time), False)
    _insert(transaction, sink, (sequence, source, received, checksum, body), device, said)


def _insert(
    transaction: Transaction,
    sink: str,
    event: tuple[int, int, int, int | None, bytes],
    device: str | None,
    said: tuple[str, int | None, int, int, bool],
    number: int | None = None,
) -> None:
    sequence, source, received, checksum, body = event
    made = transaction.value(
        "INSERT INTO letters (id, sink, source, device, sequence, received, reason, status, "
        "attempts, time, purged, kept, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "RETURNING id",
        (
            number,
            sink,
            source,
            device,
            sequence,
            received,
            *said,
            int(transaction.running),
            len(body),
        ),
    )
    transaction.execute("INSERT INTO letter_bodies VALUES (?, ?, ?)", (made, checksum, body))
    transaction.copied += len(body)


def device_of(body: bytes | str, checksum: int | None = None) -> str | None:
    """Return the device that a stored event is about; None if it cannot be read."""
    if checksum is not None and damage(body, checksum):
        return None
    try:
        return decode(body if isinstance(body, bytes) else body.encode()).device
    except (ValueError, TypeError):
        return None


def restore_letters(
    transaction: Transaction, sink: str, queue: int, device: str
) -> tuple[int, int]:
    """Make the replayed events of a queue dead letters again, as they were; returns how
    many, and how many of a purged life.
    """
    rows = transaction.execute(
        "SELECT sequence, source, received, checksum, body, letter FROM parked "
        "WHERE device = ? AND letter IS NOT NULL ORDER BY sequence",
        (queue,),
    ).fetchall()
    transaction.execute("DELETE FROM parked WHERE device = ? AND letter IS NOT NULL", (queue,))
    dead = purged = 0
    for *event, letter in rows:
        said = orjson.loads(letter)
        _insert(transaction, sink, tuple(event), device, tuple(said))
        purged += bool(said[-1])
        dead += not said[-1]
    return dead, purged


def drop(transaction: Transaction, numbers: Sequence[int]) -> int:
    """Forget dead letters, and count them as expired; returns how many."""
    dropped = 0
    for number in set(numbers):
        found = transaction.execute(
            "SELECT sink, sequence, purged FROM letters WHERE id = ?", (number,)
        ).fetchone()
        if found is None:
            continue
        sink, sequence, purged = found
        forget_letter(transaction, number)
        if not purged:
            transaction.execute(
                "UPDATE cursors SET dead = dead - 1, expired = expired + 1 "
                "WHERE sink = ? AND lane = ?",
                (sink, sequence >> LANE_BITS),
            )
        dropped += 1
    return dropped


def expire_letters(transaction: Transaction, size: int) -> int:
    """Drop the oldest dead letters, a step of so many bytes at most; returns how many
    bytes went.
    """
    numbers, gone = [], 0
    for number, each in transaction.execute(
        "SELECT id, size FROM letters ORDER BY id LIMIT ?", (EXPIRED_A_STEP,)
    ).fetchall():
        if gone >= size:
            break
        numbers.append(number)
        gone += each + ROW
    drop(transaction, numbers)
    return gone


def forget_letters_above(transaction: Transaction, sink: str, lane: int, sequence: int) -> int:
    """Forget the letters of events that come again with their lane; returns how many
    it were.
    """
    numbers = transaction.execute(
        "SELECT id FROM letters WHERE sink = ? AND NOT purged AND sequence > ? AND sequence < ?",
        (sink, sequence, (lane + 1) << LANE_BITS),
    ).fetchall()
    for (number,) in numbers:
        forget_letter(transaction, number)
    return len(numbers)


def forget_letter(transaction: Transaction, number: int) -> None:
    """Forget a letter and its event."""
    transaction.execute("DELETE FROM letters WHERE id = ?", (number,))
    transaction.execute("DELETE FROM letter_bodies WHERE id = ?", (number,))


def move_letters(transaction: Transaction) -> int:
    """Bring letters of version 1 to where they are now; returns how many are left to
    look at: 0 when all are through.
    """
    rows = transaction.execute(
        "SELECT id, sequence, source, received, CAST(body AS BLOB), sink, reason, status, "
        "attempts, time, purged FROM dead_letters ORDER BY id LIMIT ?",
        (MOVED_A_STEP,),
    ).fetchall()
    for number, sequence, source, received, body, sink, *said in rows:
        event = (sequence, source, received, None, body)
        _insert(transaction, sink, event, device_of(body), tuple(said), number)
    if rows:
        transaction.execute("DELETE FROM dead_letters WHERE id <= ?", (rows[-1][0],))
    return len(rows)


def read_letters(
    connection: sqlite3.Connection, wanted: LetterFilter, after: int, limit: int
) -> list[KeptLetter]:
    """Read a page of dead letters."""
    rows = connection.execute(
        f"SELECT {_FIELDS} WHERE l.id > :after "  # noqa: S608  # names of ours
        "AND (:sink IS NULL OR l.sink = :sink) AND (:source IS NULL OR s.name = :source) "
        "AND (:device IS NULL OR l.device = :device) "
        "AND (:reason IS NULL OR l.reason LIKE :reason ESCAPE '!') "
        "AND (:since IS NULL OR l.time >= :since) AND (:until IS NULL OR l.time < :until) "
        "AND (:ids IS NULL OR l.id IN (SELECT value FROM json_each(:ids))) "
        "ORDER BY l.id LIMIT :limit",
        {
            "after": after,
            "limit": limit,
            "sink": wanted.sink,
            "source": wanted.source,
            "device": wanted.device,
            "reason": None if wanted.reason is None else _containing(wanted.reason),
            "since": None if wanted.since is None else microseconds(wanted.since),
            "until": None if wanted.until is None else microseconds(wanted.until),
            "ids": None if wanted.ids is None else orjson.dumps(list(wanted.ids)).decode(),
        },
    ).fetchall()
    return [_letter(row) for row in rows]


def _containing(text: str) -> str:
    """Return a pattern of LIKE: this text anywhere, in any case of its letters."""
    for special in "!%_":
        text = text.replace(special, f"!{special}")
    return f"%{text}%"


def read_letter(connection: sqlite3.Connection, number: int) -> LetterEvent | None:
    """Read a dead letter with its event."""
    row = connection.execute(
        f"SELECT {_FIELDS} WHERE l.id = ?",  # names of ours
        (number,),
    ).fetchone()
    if row is None:
        return None
    letter = _letter(row)
    (body,) = connection.execute(
        "SELECT CAST(body AS BLOB) FROM letter_bodies WHERE id = ?", (number,)
    ).fetchone()
    stored = None
    if letter.device is not None:
        stored = Stored(letter.sequence, letter.source, letter.received, decode(body))
    return LetterEvent(letter, stored, body)


def _letter(row: tuple[Any, ...]) -> KeptLetter:
    number, sink, source, device, sequence, received, reason, status, attempts, time, purged = row
    return KeptLetter(
        number,
        sink,
        source,
        device,
        sequence,
        time_of(received),
        reason,
        status,
        attempts,
        time_of(time),
        bool(purged),
    )
