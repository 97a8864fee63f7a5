"""The mark: beside the spool lies a small file that says which spool was there, and how
far it had come.

    {"id": ..., "heads": [...], "owed": ..., "machine": ..., "written": ...}

A file that was removed, emptied, exchanged or put back from an old copy is thereby
noticed at the next start, when nothing has been acknowledged yet. The mark is written
only after a commit that is on disk, so that it is never ahead of a sound file; that it
lies some seconds behind does no harm. What a mark cannot show: that both files are
gone, or that the whole machine was set back.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import zip_longest
from pathlib import Path

import orjson
from attrs import define, frozen

from bridge.api.spool import WrongSpoolError
from bridge.api.spool.problems import (
    SPOOL_FILE_FOREIGN,
    SPOOL_FILE_MISSING,
    SPOOL_FILE_REPLACED,
)
from bridge.spool.files import Files
from bridge.spool.transaction import WriterState

WRITE = 10.0  # seconds between two marks
MACHINE_ID = Path("/etc/machine-id")

REMEDY = (
    "put the right file back; or, if it is lost, go on with what is there: bridged store "
    "accept. Every source then reads back what its vendor still has"
)


@frozen
class Mark:
    """What is said of a spool outside of it."""

    id: str
    heads: tuple[int, ...]
    """By lane: position of the newest event."""
    owed: int
    """Events that some sink still owed."""
    machine: str | None
    """A digest of the machine's id; None where it has none."""
    written: datetime
    copied: bool = False
    """Whether it belongs to a backup, and no bridge has run with that yet."""


@frozen
class Identity:
    """What a file says of itself."""

    id: str | None
    """None: it is of version 1, which has none."""
    heads: tuple[int, ...]
    owed: int


def read_mark(path: Path) -> Mark | None:
    """Read a mark; None if there is none.

    :raises ValueError: when it is damaged.
    """
    try:
        values = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    try:
        return Mark(
            str(values["id"]),
            tuple([int(head) for head in values["heads"]]),
            int(values["owed"]),
            values.get("machine"),
            datetime.fromisoformat(values["written"]),
            bool(values.get("copied")),
        )
    except (LookupError, TypeError, AttributeError) as exc:
        raise ValueError(f"no mark of a spool: {exc!r}") from exc


def write_mark(path: Path, mark: Mark) -> None:
    """Write a mark, as a whole or not at all.

    :raises OSError: when it cannot be written; the mark before is still there.
    """
    values = {
        "id": mark.id,
        "heads": mark.heads,
        "owed": mark.owed,
        "machine": mark.machine,
        "written": mark.written.isoformat(),
        "copied": mark.copied,
    }
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, orjson.dumps(values) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.replace(path)


def read_identity(connection: sqlite3.Connection) -> Identity:
    """Ask a file with tables of any version what it is."""
    found = None
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        found = connection.execute("SELECT value FROM meta WHERE name = 'id'").fetchone()
    heads = connection.execute("SELECT head FROM heads ORDER BY lane").fetchall()
    return Identity(
        None if found is None else str(found[0]),
        tuple([head for (head,) in heads]),
        owed(connection, [head for (head,) in heads]),
    )


def owed(connection: sqlite3.Connection, heads: Sequence[int]) -> int:
    """Count the events of lanes that some sink has not settled."""
    lowest = connection.execute("SELECT lane, min(position) FROM cursors GROUP BY lane").fetchall()
    return sum(heads[lane] - position for lane, position in lowest if lane < len(heads))


def machine() -> str | None:
    """Return a digest of the machine's id: the id itself is not for other files."""
    try:
        name = MACHINE_ID.read_bytes().strip()
    except OSError:
        return None
    return blake2b(name, key=b"mark of a spool", digest_size=8).hexdigest() if name else None


def missing(mark: Mark, identity: Identity) -> int:
    """Count the events that the mark knows of and the file does not."""
    pairs = zip_longest(mark.heads, identity.heads, fillvalue=0)
    return sum(max(0, marked - head) for marked, head in pairs)


def admit(files: Files, identity: Identity | None) -> list[str]:
    """Compare the file with its mark, before anything is written.

    :param identity: None: there is no file, or an empty one.
    :return: what is worth telling.
    :raises WrongSpoolError: when it is not the file that was there last, or is older.
    """
    try:
        mark = read_mark(files.mark)
    except (ValueError, OSError) as exc:
        return [f"{files.mark} cannot be read ({exc}): whether {files.database.name} is the "
                "right file is unknown; it is used as it is"]  # fmt: skip
    if mark is None:
        if identity is not None and any(identity.heads):
            return [f"{files.database} had no mark beside it: it is used as it is"]
        return []
    when = f"{mark.written:%Y-%m-%d %H:%M:%S} UTC"
    if identity is None:
        raise WrongSpoolError(
            SPOOL_FILE_MISSING,
            f"{files.database} is gone or empty; at {when} it held {sum(mark.heads)} events, "
            f"{mark.owed} of them not yet delivered: those are missing, and what came since; "
            f"{REMEDY}",
        )
    if identity.id != mark.id:
        raise WrongSpoolError(
            SPOOL_FILE_FOREIGN,
            f"{files.database} is another spool than the one that was here at {when}, of which "
            f"{mark.owed} events that were not yet delivered are missing; {REMEDY}",
        )
    if lost := missing(mark, identity):
        raise WrongSpoolError(
            SPOOL_FILE_REPLACED,
            f"{files.database} is older than its mark of {when}, or was cut off: at least "
            f"{lost} events are missing; {REMEDY}",
        )
    notes = []
    if mark.copied:
        notes.append(
            f"{files.database} is the backup of {when}: what was received after that is not in "
            "it, and what was delivered after that is delivered again"
        )
    here = machine()
    if mark.machine is not None and here is not None and mark.machine != here:
        notes.append(f"{files.database} was on another machine until {when}")
    return notes


@define(eq=False)
class MarkKeeper:
    """Writes the mark of an open spool. Its methods run in the writer's thread."""

    files: Files
    id: str
    _now: Callable[[], datetime]
    _monotonic: Callable[[], float]
    _committed: bool = False
    """Whether something was committed since the last mark."""
    _written: float | None = None

    def committed(self) -> None:
        """A commit is on disk, and with it all before."""
        self._committed = True

    def keep(self, connection: sqlite3.Connection, state: WriterState) -> None:
        """Write the mark if it is time to."""
        now = self._monotonic()
        if self._committed and (self._written is None or now - self._written >= WRITE):
            self._written = now
            self.write(connection, state)

    def write(self, connection: sqlite3.Connection, state: WriterState) -> None:
        """Write the mark if anything was committed since the last one.

        One that cannot be written is no harm: the older one is true as well.
        """
        if not self._committed:
            return
        with suppress(OSError):
            # utc: whatever the zone of the caller's clock.
            stamp = self._now().astimezone(UTC)
            heads = state.heads
            write_mark(
                self.files.mark,
                Mark(self.id, tuple(heads), owed(connection, heads), machine(), stamp),
            )
            self._committed = False
