"""A smaller file: what is free inside it is given back to the disk.

The file never shrinks by itself; what was deleted is room for what comes.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from attrs import frozen

from bridge.api.spool import SpoolError
from bridge.spool.files import Files
from bridge.spool.mark import read_identity
from bridge.spool.schema import pragma
from bridge.spool.store.folder import beside, opened, owning, put_in_place, remove, require_room
from bridge.spool.usage import used_and_free


@frozen
class Compaction:
    """What compacting does, or would do."""

    before: int
    """Bytes of the file."""
    after: int
    """The same when it is done, about; exactly once it was."""
    done: bool


def compact(directory: Path, *, apply: bool) -> Compaction:
    """Copy what is in use into a new file, and put it in the place of the old one.

    :param apply: False: only say what it would bring.
    :raises SpoolError: when a bridge has the spool, it is damaged, or the disk has no
        room for a second file.
    """
    with owning(directory) as files:
        with opened(files, read_only=False) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            used, free = used_and_free(connection)
            plan = Compaction(used + free, used, done=False)
            if not apply:
                return plan
            if busy:
                raise SpoolError(f"{files.database} is being read by another program; end that one")
            require_room(files, used)
            new = beside(files, "compacting")
            try:
                connection.execute("VACUUM INTO ?", (str(new.database),))
                _verify(new, files, read_identity(connection))
            except BaseException:
                remove(new)
                raise
        size = new.database.stat().st_size
        put_in_place(new, files)
        return Compaction(plan.before, size, done=True)


def _verify(new: Files, files: Files, identity: object) -> None:
    """The old file goes only when the new one is the same."""
    try:
        with opened(new) as connection:
            found = pragma(connection, "quick_check(1)")
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            same = read_identity(connection) == identity
    except (sqlite3.Error, SpoolError) as exc:
        raise SpoolError(
            f"the new file is damaged ({exc}); {files.database} was left alone"
        ) from exc
    if not same:
        raise SpoolError(f"the new file holds something else; {files.database} was left alone")
