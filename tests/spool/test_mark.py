"""The mark beside the spool: which file was there, and how far it had come."""

import re
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
import trio
import trio.testing
from attrs import evolve

from bridge.api import SpoolUnavailable
from bridge.api.spool import SpoolContext, SpoolError
from bridge.spool import SqliteSettings, mark
from bridge.spool.audit import audit
from bridge.spool.files import Files
from bridge.spool.mark import read_mark
from bridge.spool.schema import APPLICATION_ID, MIGRATIONS
from bridge.spool.sqlite import open_sqlite
from bridge.spool.store import accept
from bridge.testing.arrivals import arrivals, keys_of, take_all
from bridge.testing.fakes import FakeReport

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def now() -> datetime:
    return NOW


async def made(context: SpoolContext, *keys: str) -> None:
    """A spool with one lane, of which a sink has settled the first event."""
    async with (
        open_sqlite(SqliteSettings(lanes=1), context) as spool,
        spool.subscribe("out", batch=1) as out,
    ):
        await spool.append(arrivals(*keys))
        await (await out.take()).settle(1)


async def refused(context: SpoolContext) -> str:
    with pytest.raises(SpoolError) as refusal:
        async with open_sqlite(SqliteSettings(lanes=1), context):
            pass
    return str(refusal.value)


def files_of(context: SpoolContext) -> Files:
    return Files(context.directory)


async def test_at_the_end_the_mark_says_how_far_it_came(context: SpoolContext):
    await made(context, "a", "b", "c")
    found = read_mark(files_of(context).mark)
    assert (found.heads, found.owed, found.written) == ((3,), 2, NOW)
    with closing(sqlite3.connect(files_of(context).database)) as rows:
        assert rows.execute("SELECT value FROM meta WHERE name = 'id'").fetchone() == (found.id,)
    assert files_of(context).mark.stat().st_mode & 0o777 == 0o600


async def test_while_it_runs_it_is_written_every_ten_seconds(context: SpoolContext, mock_clock):
    heads = []
    async with open_sqlite(SqliteSettings(lanes=1), context) as spool:
        for key in "abcd":
            await spool.append(arrivals(key))
            await spool.state("source:sensors").put("turn", 1)  # the writer has rested since
            heads.append(read_mark(files_of(context).mark).heads)
            mock_clock.jump(6)
    assert heads[:2] == [(0,), (0,)]
    assert heads[2] in ((2,), (3,))  # the second's round may come before the append
    assert heads[3] == heads[2]


async def test_the_mark_is_never_ahead_of_a_file_after_a_power_cut(
    context: SpoolContext, layer, tmp_path: Path, mock_clock
):
    outcomes = []

    async def append(spool, key):
        try:
            await spool.append(arrivals(key))
        except SpoolUnavailable as refusal:
            outcomes.append(refusal.reason)

    async with open_sqlite(SqliteSettings(lanes=1), context, vfs=layer.name) as spool:
        await spool.append(arrivals("a"))
        mock_clock.jump(20)
        layer.hold_syncs()
        async with trio.open_nursery() as senders:
            senders.start_soon(append, spool, "unknown")
            await trio.to_thread.run_sync(layer.waiting.wait)
            layer.cut(tmp_path / "after")
            shutil.copy(files_of(context).mark, tmp_path / "after")
            layer.fail_sync = True
            layer.release_syncs()
        await append(spool, "later")
        assert read_mark(files_of(context).mark).heads in ((0,), (1,))
        layer.fail_sync = False
    assert len(outcomes) == 2
    async with open_sqlite(
        SqliteSettings(lanes=1), evolve(context, directory=tmp_path / "after")
    ) as spool:
        assert await spool.append(arrivals("a")) == 0


async def test_a_file_without_a_mark_is_adopted_and_told(context: SpoolContext, report: FakeReport):
    await made(context, "a", "b")
    files_of(context).mark.unlink()
    async with open_sqlite(SqliteSettings(lanes=1), context) as spool:
        assert await spool.append(arrivals("b")) == 0
    assert report.texts == [
        f"{files_of(context).database} had no mark beside it: it is used as it is"
    ]
    assert report.problems == []
    assert read_mark(files_of(context).mark).heads == (2,)


async def test_a_damaged_mark_is_told_and_written_anew(context: SpoolContext, report: FakeReport):
    for damaged in (b"", b"{", b"[]", b'{"id": 1}', b'{"id": "x", "heads": 3}', b"\xff"):
        shutil.rmtree(context.directory, ignore_errors=True)
        await made(context, "a", "b")
        files_of(context).mark.write_bytes(damaged)
        async with open_sqlite(SqliteSettings(lanes=1), context):
            pass
        assert "spool.mark cannot be read" in report.texts[-1]
        assert read_mark(files_of(context).mark).heads == (2,)


@pytest.mark.parametrize("how", ["removed", "emptied"])
async def test_a_file_that_is_gone_is_told_with_what_is_missing(context: SpoolContext, how: str):
    await made(context, "a", "b", "c")
    database = files_of(context).database
    database.unlink() if how == "removed" else database.write_bytes(b"")
    text = await refused(context)
    assert (
        "is gone or empty; at 2026-01-02 03:04:05 UTC it held 3 events, 2 of them not yet "
        "delivered: those are missing" in text
    )
    assert "bridged store accept" in text

    accepted = accept(context.directory, now=now)
    assert (accepted.events, accepted.missing, accepted.last_received) == (0, 3, None)
    async with open_sqlite(SqliteSettings(lanes=1), context) as spool:
        assert await spool.append(arrivals("a")) == 1


async def test_another_ones_file_is_refused_until_accepted(
    context: SpoolContext, tmp_path: Path, report: FakeReport
):
    await made(context, "a", "b", "c")
    other = evolve(context, directory=tmp_path / "other")
    await made(other, "d", "e", "f", "g")
    shutil.copy(files_of(other).database, files_of(context).database)
    assert "is another spool than the one that was here" in await refused(context)
    assert "of which 2 events that were not yet delivered are missing" in await refused(context)

    accepted = accept(context.directory, now=now)
    assert (accepted.events, accepted.last_received) == (4, NOW)
    assert read_mark(files_of(context).mark).id != read_mark(files_of(other).mark).id
    async with open_sqlite(SqliteSettings(lanes=1), context) as spool:
        assert await spool.append(arrivals("d")) == 0
    assert report.texts == []


async def test_an_older_file_is_refused_with_how_much_is_missing(
    context: SpoolContext, tmp_path: Path
):
    await made(context, "a", "b")
    shutil.copy(files_of(context).database, tmp_path / "old")
    async with open_sqlite(SqliteSettings(lanes=1), context) as spool:
        await spool.append(arrivals("c", "d", "e"))
    before = read_mark(files_of(context).mark)
    shutil.copy(tmp_path / "old", files_of(context).database)
    assert "or was cut off: at least 3 events are missing" in await refused(context)
    assert read_mark(files_of(context).mark) == before

    accepted = accept(context.directory, now=now)
    assert (accepted.events, accepted.missing, accepted.last_received) == (2, 3, NOW)
    # The file that was lost is another one from now on.
    async with open_sqlite(SqliteSettings(lanes=1), context) as spool:
        assert await spool.append(arrivals("a", "c")) == 1


async def test_a_log_that_was_lost_after_a_crash_is_noticed(
    context: SpoolContext, tmp_path: Path, mock_clock
):
    crashed = evolve(context, directory=tmp_path / "crashed")
    await made(context, "before")
    async with open_sqlite(SqliteSettings(lanes=1), context) as spool:
        await spool.append(arrivals("a", "b"))
        mock_clock.jump(20)
        await spool.append(arrivals("c"))
        await spool.state("source:sensors").put("turn", 1)
        shutil.copytree(context.directory, crashed.directory)
    files_of(crashed).log.unlink()
    # The mark may have been written a moment before the last append.
    assert re.search("at least [23] events are missing", await refused(crashed))


async def test_another_machine_is_a_note_and_never_a_stop(
    context: SpoolContext, report: FakeReport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "machine-id").write_text("first\n")
    monkeypatch.setattr(mark, "MACHINE_ID", tmp_path / "machine-id")
    await made(context, "a", "b")
    assert b"first" not in files_of(context).mark.read_bytes()
    (tmp_path / "machine-id").write_text("second\n")
    async with open_sqlite(SqliteSettings(lanes=1), context):
        pass
    async with open_sqlite(SqliteSettings(lanes=1), context):
        pass
    (text,) = report.texts  # once
    assert "was on another machine until 2026-01-02 03:04:05 UTC" in text
    assert report.problems == []


async def test_a_file_of_version_1_gets_its_mark_with_its_first_opening(
    context: SpoolContext, report: FakeReport
):
    context.directory.mkdir()
    with closing(sqlite3.connect(files_of(context).database)) as rows:
        for statement in MIGRATIONS[0]:
            rows.execute(statement)
        rows.execute("INSERT INTO lanes VALUES (0, 0)")
        rows.execute("INSERT INTO sources (name) VALUES ('sensors')")
        (old,) = arrivals("a")
        rows.execute("INSERT INTO events VALUES (1, 1, 0, ?)", (old.body,))
        rows.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        rows.execute("PRAGMA user_version = 1")
        rows.commit()
    async with (
        open_sqlite(SqliteSettings(lanes=1), context) as spool,
        spool.subscribe("out", batch=9, start="beginning") as out,
    ):
        assert keys_of(await take_all(out, 1)) == ["a"]
    assert [text.split(": ")[1] for text in report.texts if "mark" in text] == [
        "it is used as it is"
    ]
    assert read_mark(files_of(context).mark).heads == (1,)


async def until(spool, mock_clock, refusing: bool) -> None:
    """Let seconds pass until the spool refuses, or does no more."""
    while (spool.refusal is not None) != refusing:
        mock_clock.jump(1)
        await trio.testing.wait_all_tasks_blocked(0.001)


@pytest.mark.parametrize("how", ["removed", "exchanged"])
async def test_a_file_that_goes_while_it_runs_stops_everything(
    context: SpoolContext, tmp_path: Path, report: FakeReport, mock_clock, how: str
):
    other = evolve(context, directory=tmp_path / "other")
    await made(other, "x", "y", "z")
    database = files_of(context).database
    async with (
        open_sqlite(SqliteSettings(lanes=1), context) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        await spool.append(arrivals("a", "b"))
        database.rename(tmp_path / "aside")
        if how == "exchanged":
            shutil.copy(files_of(other).database, database)
            shutil.copy(files_of(other).database, tmp_path / "theirs")
        await until(spool, mock_clock, refusing=True)
        what = "was exchanged" if how == "exchanged" else "is gone"
        assert f"{database} {what} while the bridge runs" in spool.refusal
        while spool.refusal not in report.problems:  # told by the loop, a moment later
            await trio.lowlevel.checkpoint()
        with pytest.raises(SpoolUnavailable):
            await spool.state("source:sensors").put("key", 1)
        if how == "exchanged":
            assert database.read_bytes() == (tmp_path / "theirs").read_bytes()
        (tmp_path / "aside").replace(database)
        await until(spool, mock_clock, refusing=False)
        assert await spool.append(arrivals("b", "c")) == 1
        assert keys_of(await take_all(out, 3)) == ["a", "b", "c"]
    assert audit(context.directory).problems == ()


async def test_a_strangers_log_is_left_when_an_exchanged_file_closes(
    context: SpoolContext, tmp_path: Path, mock_clock
):
    files = files_of(context)
    async with open_sqlite(SqliteSettings(lanes=1), context) as spool:
        await spool.append(arrivals("a", "b"))
        mock_clock.jump(1)
        await spool.state("source:sensors").put("turn", 1)
        for path in (files.database, files.log):
            path.rename(tmp_path / path.name)
            path.write_bytes(b"theirs")
        await until(spool, mock_clock, refusing=True)
    assert (files.database.read_bytes(), files.log.read_bytes()) == (b"theirs", b"theirs")


async def test_the_log_of_an_exchanged_file_does_not_meet_the_next_one(
    context: SpoolContext, tmp_path: Path, mock_clock
):
    """As when somebody restores a backup while the bridge runs."""
    await made(context, "a", "b")
    files = files_of(context)
    shutil.copy(files.database, tmp_path / "backup")
    async with open_sqlite(SqliteSettings(lanes=1), context) as spool:
        await spool.append(arrivals(*"cdefgh"))
        mock_clock.jump(1)
        await spool.state("source:sensors").put("turn", 1)
        shutil.copy(tmp_path / "backup", tmp_path / "new")
        (tmp_path / "new").replace(files.database)
    assert not files.log.exists()
    assert files.log.with_name("spool.sqlite-wal.before-1").stat().st_size > 0
    assert "at least 6 events are missing" in await refused(context)
    accept(context.directory, now=now)
    async with open_sqlite(SqliteSettings(lanes=1), context) as spool:
        assert await spool.append(arrivals("b", "c")) == 1
    assert audit(context.directory).problems == ()


async def test_a_log_without_its_database_is_not_thrown_away(
    context: SpoolContext, tmp_path: Path, mock_clock
):
    crashed = evolve(context, directory=tmp_path / "crashed")
    async with open_sqlite(SqliteSettings(lanes=1), context) as spool:
        await spool.append(arrivals("a", "b"))
        shutil.copytree(context.directory, crashed.directory)
    files = files_of(crashed)
    log = files.log.read_bytes()
    files.database.unlink()
    assert "is gone or empty" in await refused(crashed)
    assert files.log.with_name("spool.sqlite-wal.before-1").read_bytes() == log


async def test_a_log_removed_while_it_runs_costs_nothing(
    context: SpoolContext, report: FakeReport, mock_clock
):
    async with (
        open_sqlite(SqliteSettings(lanes=1), context) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        await spool.append(arrivals("a", "b"))
        mock_clock.jump(1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        files_of(context).log.unlink()
        await spool.append(arrivals("c"))
        await until(spool, mock_clock, refusing=True)
        assert "spool.sqlite-wal was removed" in spool.refusal
        await until(spool, mock_clock, refusing=False)
        assert await spool.append(arrivals("a", "b", "c", "d")) == 1
        assert keys_of(await take_all(out, 4)) == ["a", "b", "c", "d"]
    assert audit(context.directory).problems == ()


async def test_the_mark_is_written_as_a_whole(context: SpoolContext):
    await made(context, "a")
    assert orjson.loads(files_of(context).mark.read_bytes()).keys() == {
        "id", "heads", "owed", "machine", "written", "copied",
    }  # fmt: skip
    assert not list(context.directory.glob("*.new"))
