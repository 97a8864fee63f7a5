"""A sound file out of a damaged one.

Everything that can be read goes into a new file; the old one gets another name and is
never deleted. What is damaged becomes what harms least:

    event          stays in its place with the bytes that are left: each sink that owes
                   it gets a dead letter of it when it comes there
    cursor, lane   goes back to the oldest event that is there: repeats rather than loss
    known key      is dropped: what comes again is stored again
    parked event   is a dead letter, its device goes on
    dead letter    without its row: counted as expired
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from attrs import field, frozen

from bridge.api.spool import SpoolError
from bridge.spool.files import Files, sync_folder
from bridge.spool.mark import Mark, machine, read_identity, write_mark
from bridge.spool.schema import connect, pragma, prepare
from bridge.spool.store.check import mark_problems, pages
from bridge.spool.store.folder import beside, opened, owning, put_in_place, remove, require_room
from bridge.spool.store.rebuild import Rebuild

MAX_FINDINGS = 100


@frozen
class Repair:
    """What repairing does, or would do."""

    findings: tuple[str, ...]
    """What is damaged and what becomes of it; empty: the file is sound."""
    rows: Counter[str] = field(factory=Counter)
    """By table: how many rows the new file has."""
    kept_as: Path | None = None
    """The new name of the old file; None: nothing was done."""


def repair(
    directory: Path,
    *,
    apply: bool,
    now: Callable[[], datetime],
    beat: Callable[[], None] = lambda: None,
) -> Repair:
    """Make a new file of what can be read, and put it in the place of the old one.

    Also without ``apply`` the new file is written, only to be thrown away: nothing else
    says what can be read.

    :param beat: called between two steps.
    :raises SpoolError: when a bridge has the spool, its first page is damaged, or the
        disk has no room for a second file.
    """
    with owning(directory) as files:
        require_room(files, files.database.stat().st_size + files.log_size())
        new = beside(files, "repairing")
        try:
            findings, rows = _rebuild(files, new, beat)
            if not apply or not findings:
                return Repair(findings, rows)
            kept_as = _exchange(files, new, now)
            return Repair(findings, rows, kept_as)
        finally:
            remove(new)


def _rebuild(
    files: Files, new: Files, beat: Callable[[], None]
) -> tuple[tuple[str, ...], Counter[str]]:
    # Read only: closing must not bring the log into a damaged file.
    with opened(files) as old:
        made = connect(new)
        try:
            prepare(made, new, lanes=0)
            # Nobody sees the file before it is finished, and synced as a whole.
            pragma(made, "journal_mode = OFF")
            made.execute("PRAGMA synchronous = OFF")
            made.execute("BEGIN")
            rebuild = Rebuild(old, made, beat)
            rebuild.run()
            made.execute("COMMIT")
            found = pragma(made, "quick_check(1)")
        finally:
            made.close()
        findings = [*mark_problems(old, files), *pages(old), *rebuild.findings]
    if found != "ok":
        raise SpoolError(f"the new file is damaged ({found}); nothing was changed")
    if len(findings) > MAX_FINDINGS:
        rest = len(findings) - MAX_FINDINGS
        findings = [*findings[:MAX_FINDINGS], f"... and {rest} more like the last"]
    return tuple(findings), rebuild.rows


def _exchange(files: Files, new: Files, now: Callable[[], datetime]) -> Path:
    """Set the old file aside under another name, its log as well, and the new one in
    its place.
    """
    stamp = now().astimezone(UTC)
    name = f"{files.name}.damaged-{stamp:%Y%m%dT%H%M%SZ}"
    old = Files(files.directory, name)
    for number in range(2, 1000):
        if not old.database.exists():
            break
        old = Files(files.directory, f"{name}-{number}")
    os.link(files.database, old.database)
    # Before the new file is there: it must never meet the log of the old one.
    if files.log.exists():
        files.log.rename(old.log)
    sync_folder(files.directory)
    put_in_place(new, files)
    with opened(files) as connection:
        identity = read_identity(connection)
    write_mark(files.mark, Mark(str(identity.id), identity.heads, identity.owed, machine(), stamp))
    return old.database
