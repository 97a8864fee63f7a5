"""The tools as ``bridged store`` knows them: what they found, in sentences."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

import trio

from bridge.api.spool import Spool, SpoolError
from bridge.api.store import Beat, StoreReport, StoreTools
from bridge.spool.files import Files, claim
from bridge.spool.mark import Mark, missing, read_identity, read_mark
from bridge.spool.sqlite import SqliteSpool
from bridge.spool.store.accept import accept
from bridge.spool.store.backup import Backup, backup, backup_connection
from bridge.spool.store.check import check
from bridge.spool.store.compact import compact
from bridge.spool.store.export import export
from bridge.spool.store.folder import opened
from bridge.spool.store.repair import repair


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"


def _check(directory: Path, *, beat: Beat) -> StoreReport:
    found = check(directory, beat=beat)
    verdict = "nothing is damaged" if found.sound else f"{len(found.problems)} problems"
    return StoreReport(
        (*found.notes, f"looked at {found.looked_at:,} rows: {verdict}"),
        {"looked_at": found.looked_at, "notes": list(found.notes)},
        found.problems,
    )


def _repair(
    directory: Path, *, apply: bool, now: Callable[[], datetime], beat: Beat
) -> StoreReport:
    done = repair(directory, apply=apply, now=now, beat=beat)
    facts = {
        "findings": list(done.findings),
        "rows": dict(done.rows),
        "kept_as": None if done.kept_as is None else str(done.kept_as),
    }
    if not done.findings:
        return StoreReport(("nothing is damaged, nothing is to be repaired",), facts)
    rows = ", ".join(f"{name} {number:,}" for name, number in sorted(done.rows.items()))
    lines = [*done.findings]
    if done.kept_as is None:
        lines.append(f"a new file would hold: {rows}; the damaged one would get another name")
    else:
        lines.append(f"the new file holds: {rows}; the damaged one is {done.kept_as}")
    return StoreReport(tuple(lines), facts, to_do=done.kept_as is None)


def _compact(
    directory: Path, *, apply: bool, now: Callable[[], datetime], beat: Beat
) -> StoreReport:
    done = compact(directory, apply=apply)
    before, after = _mib(done.before), _mib(done.after)
    text = f"the file shrank from {before} to {after}"
    if not done.done:
        text = f"the file would shrink from {before} to about {after}"
    facts = {"before": done.before, "after": done.after, "done": done.done}
    return StoreReport((text,), facts, to_do=not done.done and done.after < done.before)


def _accept(
    directory: Path, *, apply: bool, now: Callable[[], datetime], beat: Beat
) -> StoreReport:
    if not apply:
        return _accept_plan(directory)
    done = accept(directory, now=now)
    last = None if done.last_received is None else done.last_received.isoformat()
    lines = [f"the bridge goes on with {done.events:,} events{_lost(done.missing)}"]
    if last is None:
        lines.append("nothing was ever received with it: sources begin anew")
    else:
        lines.append(f"sources read back what their vendors still have since about {last}")
    return StoreReport(
        tuple(lines), {"events": done.events, "missing": done.missing, "last_received": last}
    )


def _accept_plan(directory: Path) -> StoreReport:
    files = Files(directory.absolute())
    with claim(files, create=False):
        mark: Mark | None = None
        with suppress(ValueError):
            mark = read_mark(files.mark)
        lost: int | None
        if not files.database.exists() or files.database.stat().st_size == 0:
            events, lost = 0, None if mark is None else sum(mark.heads)
        else:
            with opened(files) as connection:
                identity = read_identity(connection)
                query = "SELECT ifnull(sum(head - pruned), 0) FROM heads"
                events = connection.execute(query).fetchone()[0]
            lost = None if mark is None else missing(mark, identity)
            if mark is not None and mark.id == identity.id and not lost:
                fits = (
                    f"{files.database} is the file that was there last: nothing is to be accepted"
                )
                return StoreReport((fits,), {"events": events, "missing": 0})
    text = f"the bridge would go on with {events:,} events{_lost(lost)}"
    return StoreReport((text,), {"events": events, "missing": lost}, to_do=True)


def _lost(missing: int | None) -> str:
    if missing is None:
        return "; whether any are missing is unknown"
    return f"; at least {missing:,} events are missing" if missing else ""


def _backup(
    directory: Path, target: Path, *, now: Callable[[], datetime], beat: Beat
) -> StoreReport:
    return _copied(backup(directory, target, now=now, beat=beat))


async def _backup_open(spool: Spool, target: Path, *, now: Callable[[], datetime]) -> StoreReport:
    if not isinstance(spool, SqliteSpool):
        raise SpoolError(f"expected an SQLite spool, got {type(spool).__name__}")
    copy = partial(
        backup_connection,
        spool.writing_connection,
        target,
        now=now,
        beat=trio.from_thread.check_cancelled,
    )
    return _copied(await trio.to_thread.run_sync(copy))


def _copied(made: Backup) -> StoreReport:
    text = (
        f"{made.file}: {made.events:,} events, {made.owed:,} of them not yet delivered, "
        f"{_mib(made.size)}"
    )
    facts = {
        "file": str(made.file),
        "size": made.size,
        "events": made.events,
        "owed": made.owed,
    }
    return StoreReport((text,), facts)


TOOLS = StoreTools(
    check=_check,
    repair=_repair,
    compact=_compact,
    accept=_accept,
    backup=_backup,
    backup_open=_backup_open,
    export=export,
)
