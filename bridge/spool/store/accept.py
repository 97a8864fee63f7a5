"""Going on with the file that is there, although its mark says that it is another one,
an older one, or none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen

from bridge.spool.files import Files, claim, set_aside
from bridge.spool.mark import Mark, machine, missing, read_identity, read_mark, write_mark
from bridge.spool.read import time_of
from bridge.spool.store.folder import opened


@frozen
class Accepted:
    """What the bridge will go on with."""

    events: int
    """That the file holds."""
    missing: int | None
    """Events at least that the mark knew of and the file does not; None: there was no
    mark that could say so.
    """
    last_received: datetime | None
    """When the file received its newest event. Every source reads back from where the
    file knows it to have been, which is about this time; None: the file is empty, and
    they begin anew.
    """


def accept(directory: Path, *, now: Callable[[], datetime]) -> Accepted:
    """Make a new mark for what is there.

    The file gets another id: the one that is lost must not be taken for it if it turns
    up.

    :raises SpoolError: when a bridge has it, or it is not a spool.
    """
    files = Files(directory.absolute())
    with claim(files, create=False):
        mark = None
        with suppress(ValueError):
            mark = read_mark(files.mark)
        if not files.database.exists() or files.database.stat().st_size == 0:
            set_aside(files.log)
            files.mark.unlink(missing_ok=True)
            return Accepted(0, None if mark is None else sum(mark.heads), None)
        with opened(files, read_only=False) as connection:
            return _accept(connection, files, mark, now)


def _accept(
    connection: sqlite3.Connection, files: Files, mark: Mark | None, now: Callable[[], datetime]
) -> Accepted:
    before = read_identity(connection)
    if before.id is None:
        files.mark.unlink(missing_ok=True)  # of version 1: it gets an id when it is opened
    else:
        connection.execute("UPDATE meta SET value = lower(hex(randomblob(16))) WHERE name = 'id'")
        after = read_identity(connection)
        stamp = now().astimezone(UTC)
        write_mark(files.mark, Mark(str(after.id), after.heads, after.owed, machine(), stamp))
    events, last = connection.execute(
        "SELECT (SELECT sum(head - pruned) FROM heads), max(received) "
        "FROM events WHERE id IN (SELECT lane << 48 | head FROM heads)"
    ).fetchone()
    lost = None if mark is None else missing(mark, before)
    return Accepted(events, lost, None if last is None else time_of(last))
