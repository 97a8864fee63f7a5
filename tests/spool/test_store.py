"""Tools on the file of a spool: what is damaged is told, and nothing else is lost."""

import base64
import shutil
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path

import orjson
import pytest
import trio
from attrs import evolve

from bridge.api import Duration
from bridge.api.spool import SpoolContext, SpoolError
from bridge.spool import SqliteSettings
from bridge.spool.audit import audit
from bridge.spool.checksum import LOST, checksum_of, damage
from bridge.spool.mark import read_mark
from bridge.spool.schema import LANE_BITS
from bridge.spool.sqlite import open_sqlite
from bridge.spool.store import backup, backup_connection, check, compact, export, repair
from bridge.spool.store.check import log_reset_defect
from bridge.testing.arrivals import arrival, arrivals, keys_of, take_all
from bridge.testing.fakes import FakeReport

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PAGE = 4096


def now() -> datetime:
    return NOW


@contextmanager
def rows_of(context: SpoolContext) -> Iterator[sqlite3.Connection]:
    with closing(
        sqlite3.connect(context.directory / "spool.sqlite", isolation_level=None)
    ) as connection:
        yield connection


def asked(context: SpoolContext, query: str) -> list[tuple]:
    with rows_of(context) as rows:
        return rows.execute(query).fetchall()


async def made(context: SpoolContext, count: int = 60, size: int = 900) -> None:
    """A spool with two lanes; a sink has settled ten events of each device."""
    async with (
        open_sqlite(SqliteSettings(lanes=2), context) as spool,
        spool.subscribe("out", batch=10) as out,
    ):
        await spool.append(
            [arrival(f"{number:04}" + "x" * size, f"d{number % 4}") for number in range(count)]
        )
        for _ in range(2):
            await (await out.take()).settle(10)


@pytest.mark.parametrize(
    ("version", "defect"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)
def test_an_sqlite_that_may_lose_commits_is_named(version: tuple[int, ...], defect: bool):
    text = log_reset_defect(version)
    assert (text is not None) == defect
    assert text is None or "SQLite " + ".".join(map(str, version)) in text


def test_a_checksum_shows_what_is_no_longer_what_was_stored():
    assert damage(b"abc", checksum_of(b"abc")) is None
    assert damage(b"abc", None) is None
    assert "checksum" in damage(b"abd", checksum_of(b"abc"))
    assert "no longer bytes" in damage("abc", checksum_of(b"abc"))
    assert "lost" in damage(b"", LOST)


async def test_a_sound_file_is_found_sound_open_or_not(context: SpoolContext):
    await made(context)
    found = check(context.directory)
    assert (found.problems, found.looked_at) == ((), 60)
    async with open_sqlite(SqliteSettings(lanes=2), context):
        while_open = check(context.directory)
    assert (while_open.problems, while_open.looked_at) == ((), 60)
    assert any("a bridge runs with this spool" in note for note in while_open.notes)
    assert not any("a bridge runs" in note for note in found.notes)
    assert repair(context.directory, apply=True, now=now).findings == ()


async def test_a_check_beats_while_it_looks(context: SpoolContext):
    await made(context, 500)
    beats = []
    check(context.directory, beat=lambda: beats.append(1))
    assert len(beats) >= 5


async def test_a_flipped_bit_is_found_and_becomes_a_dead_letter(context: SpoolContext):
    await made(context)
    number = (1 << LANE_BITS) + 12 if asked(
        context, "SELECT 1 FROM events WHERE id = 281474976710668"
    ) else 12  # fmt: skip
    with rows_of(context) as rows:
        body = bytearray(
            rows.execute("SELECT body FROM events WHERE id = ?", (number,)).fetchone()[0]
        )
        body[40] ^= 1
        rows.execute("UPDATE events SET body = ? WHERE id = ?", (bytes(body), number))
    (problem,) = check(context.directory).problems
    assert problem.startswith(f"event 12 of lane {number >> LANE_BITS}: the file was damaged")
    found = repair(context.directory, apply=False, now=now)
    assert (found.findings, found.kept_as) == ((problem,), None)


async def test_beside_a_running_bridge_only_reading_is_possible(
    context: SpoolContext, tmp_path: Path
):
    await made(context)
    async with open_sqlite(SqliteSettings(lanes=2), context):
        for tool in (
            lambda: repair(context.directory, apply=True, now=now),
            lambda: compact(context.directory, apply=True),
        ):
            with pytest.raises(SpoolError, match="is in use by process"):
                tool()
        assert len(list(export(context.directory))) == 60


def test_a_folder_without_a_spool_is_named_by_each_tool(tmp_path: Path):
    for tool in (
        lambda: check(tmp_path),
        lambda: repair(tmp_path, apply=True, now=now),
        lambda: compact(tmp_path, apply=True),
        lambda: backup(tmp_path, tmp_path / "copy", now=now),
        lambda: list(export(tmp_path)),
    ):
        with pytest.raises(SpoolError, match="there is no spool; expected the state folder"):
            tool()
    assert list(tmp_path.iterdir()) == []


async def test_compacting_gives_room_back_after_saying_how_much(context: SpoolContext):
    await made(context, 300, 5000)
    database = context.directory / "spool.sqlite"
    async with (
        open_sqlite(SqliteSettings(lanes=2, keep=Duration(0)), context) as spool,
        spool.subscribe("out", batch=100) as out,
    ):
        await take_all(out, 280)
        await spool.housekeeping.prune_events()
        await spool.append(arrivals("left"))
    before, mark = database.stat().st_size, read_mark(context.directory / "spool.mark")
    plan = compact(context.directory, apply=False)
    assert (plan.before, plan.done, database.stat().st_size) == (before, False, before)
    done = compact(context.directory, apply=True)
    assert (done.before, done.done) == (before, True)
    assert database.stat().st_size == done.after < before / 4
    assert abs(done.after - plan.after) < 0.2 * plan.after
    assert database.stat().st_mode & 0o777 == 0o600
    assert audit(context.directory).problems == ()
    assert read_mark(context.directory / "spool.mark") == mark
    async with (
        open_sqlite(SqliteSettings(lanes=2), context) as spool,
        spool.subscribe("out", batch=100) as out,
    ):
        assert keys_of(await take_all(out, 1)) == ["left"]


@pytest.mark.parametrize(("name", "broken"), [("pragma", "row 1 missing"), ("read_identity", None)])
async def test_a_file_goes_only_when_the_new_one_is_the_same(
    context: SpoolContext, monkeypatch: pytest.MonkeyPatch, name: str, broken: object
):
    await made(context)
    before = (context.directory / "spool.sqlite").read_bytes()
    answers = chain([broken], count())
    module = sys.modules["bridge.spool.store.compact"]
    monkeypatch.setattr(module, name, lambda *_: next(answers))
    with pytest.raises(SpoolError, match=r"spool\.sqlite was left alone"):
        compact(context.directory, apply=True)
    assert (context.directory / "spool.sqlite").read_bytes() == before
    assert not list(context.directory.glob("spool.sqlite.*"))


async def test_a_disk_without_room_for_a_second_file_is_named(
    context: SpoolContext, monkeypatch: pytest.MonkeyPatch
):
    await made(context)
    monkeypatch.setattr("bridge.spool.store.folder.room_on_disk", lambda _folder: 4096)
    for tool in (
        lambda: repair(context.directory, apply=True, now=now),
        lambda: compact(context.directory, apply=True),
    ):
        with pytest.raises(SpoolError, match=r"has 0.0 MiB of room, but 0.\d MiB are needed"):
            tool()
    assert not list(context.directory.glob("spool.sqlite.*"))


async def test_a_backup_is_restored_with_its_mark(
    context: SpoolContext, tmp_path: Path, report: FakeReport
):
    await made(context)
    copy = backup(context.directory, tmp_path / "copy", now=now)
    assert (copy.file, copy.events, copy.owed) == (tmp_path / "copy/spool.sqlite", 60, 40)
    assert sorted(path.name for path in copy.file.parent.iterdir()) == [
        "spool.mark",
        "spool.sqlite",
    ]
    async with open_sqlite(SqliteSettings(lanes=2), context) as spool:
        await spool.append(arrivals("later"))
    for name in ("spool.sqlite", "spool.mark"):
        shutil.copy(tmp_path / "copy" / name, context.directory)
    async with (
        open_sqlite(SqliteSettings(lanes=2), context) as spool,
        spool.subscribe("out", batch=100) as out,
    ):
        assert len(await take_all(out, 40)) == 40
    (note,) = report.texts
    assert "is the backup of 2026-01-02 03:04:05 UTC" in note
    assert not read_mark(context.directory / "spool.mark").copied


async def test_a_backup_without_its_mark_is_older_than_the_mark_there(
    context: SpoolContext, tmp_path: Path
):
    await made(context)
    backup(context.directory, tmp_path / "copy", now=now)
    async with open_sqlite(SqliteSettings(lanes=2), context) as spool:
        await spool.append(arrivals("later"))
    shutil.copy(tmp_path / "copy/spool.sqlite", context.directory)
    with pytest.raises(SpoolError, match="at least 1 events are missing"):
        async with open_sqlite(SqliteSettings(lanes=2), context):
            pass
    (problem,) = check(context.directory).problems
    assert "older than its mark: at least 1 events are missing" in problem


async def test_a_backup_never_overwrites_a_spool(context: SpoolContext, tmp_path: Path):
    await made(context)
    backup(context.directory, tmp_path / "copy", now=now)
    with pytest.raises(SpoolError, match="holds a spool already; name another folder"):
        backup(context.directory, tmp_path / "copy", now=now)
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="cannot take the copy"):
        backup(context.directory, tmp_path / "file", now=now)


async def test_a_running_bridge_is_backed_up_between_its_commits(
    context: SpoolContext, tmp_path: Path
):
    """What is stored meanwhile goes on being stored; the copy is of one moment."""
    copied, beats = threading.Event(), []

    async with (
        open_sqlite(SqliteSettings(lanes=2), context) as spool,
        spool.subscribe("out", batch=100) as out,
    ):
        await spool.append([arrival(f"{number}" + "x" * 900) for number in range(3000)])

        def copy():
            try:
                return backup_connection(
                    spool._writer.connection,
                    tmp_path / "copy",
                    now=now,
                    beat=lambda: beats.append(1),
                )
            finally:
                copied.set()

        async def work():
            number = 0
            while not copied.is_set():
                number += await spool.append([arrival(f"meanwhile{number}")])
                lease = await out.take()
                await lease.settle(len(lease.events))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            made = await trio.to_thread.run_sync(copy)
    assert made.events >= 3000
    assert len(beats) > 2
    assert audit(tmp_path / "copy").problems == ()
    assert check(tmp_path / "copy").problems == ()
    async with open_sqlite(SqliteSettings(lanes=2), evolve(context, directory=tmp_path / "copy")):
        pass


async def test_what_a_removed_file_held_can_still_be_backed_up(
    context: SpoolContext, tmp_path: Path, mock_clock
):
    async with open_sqlite(SqliteSettings(lanes=2), context) as spool:
        await spool.append(arrivals("a", "b", "c"))
        (context.directory / "spool.sqlite").unlink()
        while spool.refusal is None:
            mock_clock.jump(1)
            await trio.testing.wait_all_tasks_blocked(0.001)
        assert "bridged store backup saves what is in it" in spool.refusal
        made = backup_connection(spool._writer.connection, tmp_path / "copy", now=now)
    assert made.events == 3
    assert audit(tmp_path / "copy").problems == ()


async def test_everything_is_exported_as_lines_of_json(context: SpoolContext):
    await made(context, 40, 1)
    with rows_of(context) as rows:
        rows.execute(
            "INSERT INTO letters (sink, source, sequence, received, reason, status, attempts, "
            "time, kept, size) VALUES ('out', 1, 3, 0, 'refused', 422, 1, 1000000, 0, 3)"
        )
        rows.execute("INSERT INTO letter_bodies VALUES (1, ?, 'abc')", (checksum_of(b"abc"),))
        rows.execute(
            "INSERT INTO parked_devices (sink, device, lane, due, since, attempts, why) "
            "VALUES ('out', 'd9', 0, 0, 0, 0, 'waits')"
        )
        (parked,) = arrivals("p")
        rows.execute(
            "INSERT INTO parked VALUES (1, 1, 1, 0, ?, 0, NULL, ?)",
            (checksum_of(parked.body), parked.body),
        )
    items = [orjson.loads(line) for line in export(context.directory)]
    events = [item for item in items if item["table"] == "events"]
    assert {event["event"]["device"] for event in events} == {"d0", "d1", "d2", "d3"}
    assert {event["source"] for event in events} == {"sensors"}
    assert min(event["position"] for event in events if event["lane"] == 0) == 1
    (letter,) = [item for item in items if item["table"] == "letters"]
    assert (letter["reason"], letter["status"], letter["time"][:19]) == (
        "refused", 422, "1970-01-01T00:00:01",
    )  # fmt: skip
    assert "no longer bytes" in letter["damage"]
    assert base64.b64decode(letter["body"]) == b"abc"
    (waiting,) = [item for item in items if item["table"] == "parked"]
    assert (waiting["sink"], waiting["device"], waiting["event"]["key"]) == ("out", "d9", "p")
