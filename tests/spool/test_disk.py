"""Disks that are small, full, or not the spool's alone: sources wait, sinks go on, and
it is over by itself.
"""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from attrs import evolve

from bridge.api import Duration, Size, SpoolUnavailable
from bridge.api.spool import SpoolContext
from bridge.spool import SqliteSettings, housekeeping, opening
from bridge.spool.audit import audit
from bridge.spool.budget import Memory
from bridge.spool.housekeeping import open_checked
from bridge.spool.log import LONGEST, TRANSACTION
from bridge.spool.schema import LOG_SIZE
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import arrival, arrivals, take_all
from bridge.testing.fakes import FakeReport

MIB = 1 << 20
IOERR_WRITE = 778

NUMBERS = count()  # no key comes twice

MakeDisk = Callable[[int], Path]


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """Mount a file system of so many bytes."""
    mounted = []

    def make(size: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"a small file system needs the right to mount: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


async def fill(spool, body: int, group: int) -> int:
    """Append until it is refused; returns how many were stored."""
    stored = 0
    while True:
        try:
            stored += await spool.append(
                [arrival(f"{next(NUMBERS)}" + "x" * (body // 2)) for _ in range(group)]
            )
        except SpoolUnavailable:
            return stored


def fill_up(path: Path) -> None:
    """Take what is left of a disk."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(MIB)):
            pass


async def heard_again(spool, mock_clock) -> float:
    """Let seconds pass until sources are heard; returns how many."""
    begin = mock_clock.current_time()
    while spool.refusal is not None:
        mock_clock.jump(1)
        for turn in range(5):  # of the writer, which has no virtual time
            await spool.state("test").put("turn", turn)
    return mock_clock.current_time() - begin


@pytest.mark.parametrize(
    ("size", "body", "group"),
    [
        (40 * MIB, 60_000, 5),
        (40 * MIB, 500, 500),
        pytest.param(200 * MIB, 60_000, 5, marks=pytest.mark.slow),
        pytest.param(200 * MIB, 500, 500, marks=pytest.mark.slow),
    ],
)
async def test_a_disk_that_it_filled_is_over_when_sinks_deliver(
    context: SpoolContext, make_disk: MakeDisk, report: FakeReport, mock_clock, size, body, group
):
    context = evolve(context, directory=make_disk(size) / "state", sinks=("out",))
    async with (
        open_sqlite(SqliteSettings(lanes=4, keep=Duration(0)), context) as spool,
        spool.subscribe("out", batch=1000) as out,
    ):
        for turn in range(3):
            stored = await fill(spool, body, group)
            room = os.statvfs(context.directory)
            assert room.f_bavail * room.f_frsize < 0.5 * size
            assert room.f_bavail * room.f_frsize > 0.1 * size  # others have theirs
            assert (context.directory / "spool.reserve").exists()
            if turn == 0:
                assert "the disk has room for" in spool.refusal
            await take_all(out, stored)
            assert await heard_again(spool, mock_clock) <= 10
        (account,) = await spool.accounts(["out"])
        assert account.pending == 0
        await trio.testing.wait_all_tasks_blocked(0.01)
    notices = [text for text in report.texts if "that is the limit" in text]
    assert len(notices) == 1
    assert not set(notices) & set(report.problems)
    assert audit(context.directory).problems == ()


@pytest.mark.parametrize(
    ("body", "group"), [(60_000, 5), pytest.param(500, 500, marks=pytest.mark.slow)]
)
async def test_a_quota_that_nobody_sees_is_over_when_sinks_deliver(
    context: SpoolContext,
    make_disk: MakeDisk,
    mock_clock,
    monkeypatch: pytest.MonkeyPatch,
    body: int,
    group: int,
):
    """The system promises more room than there is, as it does beside a quota."""
    context = evolve(context, directory=make_disk(40 * MIB) / "state", sinks=("out",))
    promised = SimpleNamespace(f_bavail=1 << 22, f_frsize=4096, f_blocks=1 << 24)
    monkeypatch.setattr(os, "statvfs", lambda _path: promised)
    async with (
        open_sqlite(SqliteSettings(lanes=4, keep=Duration(0)), context) as spool,
        spool.subscribe("out", batch=1000) as out,
    ):
        for _ in range(3):
            stored = await fill(spool, body, group)
            assert stored * body > 6 * MIB
            await take_all(out, stored)
            await spool.housekeeping.prune_events()
            assert await heard_again(spool, mock_clock) <= 10
    assert audit(context.directory).problems == ()


async def test_a_disk_that_others_fill_recovers_with_room_inside(
    context: SpoolContext, make_disk: MakeDisk, mock_clock
):
    disk = make_disk(64 * MIB)
    context = evolve(context, directory=disk / "state", sinks=("out",))
    async with (
        open_sqlite(SqliteSettings(lanes=4, keep=Duration(0)), context) as spool,
        spool.subscribe("out", batch=1000) as out,
    ):
        stored = await fill(spool, 60_000, 5)
        fill_up(disk / "theirs")
        mock_clock.jump(2)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert spool.refusal is not None
        await take_all(out, stored)
        room = os.statvfs(disk)
        assert room.f_bavail * room.f_frsize <= 8 * MIB  # at most the reserve that was given back
        assert await heard_again(spool, mock_clock) <= 10
        assert await spool.append(arrivals("a", "b")) == 2
        await take_all(out, 2)
    assert audit(context.directory).problems == ()


async def test_deleting_works_with_not_a_byte_left(
    context: SpoolContext,
    layer,
    report: FakeReport,
    mock_clock,
    monkeypatch: pytest.MonkeyPatch,
):
    async with (
        open_sqlite(SqliteSettings(lanes=1, keep=Duration(0)), context, vfs=layer.name) as spool,
        spool.subscribe("out", batch=100) as out,
    ):
        await spool.append([arrival(f"{number}" + "x" * 9000) for number in range(1000)])
        assert await spool.housekeeping.recover()  # all of the log is in the database
        full = SimpleNamespace(f_bavail=0, f_frsize=4096, f_blocks=1 << 12)
        monkeypatch.setattr(os, "statvfs", lambda _path: full)
        layer.no_growth = True
        await take_all(out, 1000)
        await spool.housekeeping.prune_events()
        assert not any("no room" in text for text in report.texts)
        assert await heard_again(spool, mock_clock) <= 10
        for _ in range(5):
            assert await spool.append([arrival(f"{next(NUMBERS)}" + "y" * 9000)] * 100) == 1
            large = [arrival(f"{next(NUMBERS)}" + "z" * 9000) for _ in range(99)]
            assert await spool.append(large) == 99
        assert len(await take_all(out, 500)) == 500
        layer.no_growth = False
    assert audit(context.directory).problems == ()


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EFBIG, errno.ENOSPC])
async def test_a_quota_is_a_full_disk_and_not_a_broken_one(
    context: SpoolContext, layer, report: FakeReport, mock_clock, number: int,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    def refuse(_descriptor, _data):
        raise OSError(number, os.strerror(number))

    async with open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool:
        with monkeypatch.context() as quota:
            quota.setattr(os, "write", refuse)
            layer.fail_write = IOERR_WRITE
            with pytest.raises(SpoolUnavailable, match="no room left"):
                await spool.append(arrivals("a"))
        layer.fail_write = 0
        assert await heard_again(spool, mock_clock) <= 10
        assert await spool.append(arrivals("a")) == 1
    assert not (context.directory / "spool.probe").exists()


@pytest.mark.parametrize("size", [2 * MIB, pytest.param(24 * MIB, marks=pytest.mark.slow)])
def test_files_that_may_not_grow_are_a_full_disk(context: SpoolContext, size: int):
    script = Path(__file__).with_name("limited_thrice.py")
    done = subprocess.run(
        [sys.executable, script, context.directory, str(size)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    *stored, wait = map(float, done.stdout.split())
    assert min(stored) * 6000 > size / 8
    assert wait <= 10
    assert audit(context.directory).problems == ()


async def test_room_that_is_promised_and_not_there_is_tried_ever_less(
    context: SpoolContext, layer, mock_clock
):
    async with open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool:
        large = [arrival(f"{next(NUMBERS)}" + "x" * 9000) for _ in range(500)]  # than the log
        assert await spool.housekeeping.recover()  # all of the log is in the database
        layer.no_growth = True
        tried = 0
        for _ in range(60):
            if spool.refusal is None:
                tried += 1
                with pytest.raises(SpoolUnavailable, match="no room left"):
                    await spool.append(large)
            mock_clock.jump(1)
            for turn in range(3):
                await spool.state("test").put("turn", turn)
        layer.no_growth = False
        assert 3 <= tried <= 8
        for _ in range(60):
            await heard_again(spool, mock_clock)
        assert await spool.append(large) == 500


async def test_a_long_check_keeps_nobody_waiting_and_beats(
    context: SpoolContext, layer, mock_clock, monkeypatch: pytest.MonkeyPatch
):
    checking, go = threading.Event(), threading.Event()

    def checked_slowly(connect):
        checking.set()
        go.wait()
        return open_checked(connect)

    monkeypatch.setattr(housekeeping, "open_checked", checked_slowly)
    async with open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool:
        layer.fail_sync = True
        with pytest.raises(SpoolUnavailable):
            await spool.append(arrivals("a"))
        layer.fail_sync = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spool.housekeeping.recover)
            while spool.refusal is None or not checking.is_set():
                await trio.lowlevel.checkpoint()
            for _ in range(3):
                mock_clock.jump(1)
                while spool._writer.beaten < mock_clock.current_time():
                    await trio.lowlevel.checkpoint()
                with pytest.raises(SpoolUnavailable):
                    await spool.append(arrivals("a"))
            go.set()
        assert await spool.append(arrivals("a", "b")) >= 1


async def test_the_log_has_its_room_from_the_beginning_and_keeps_it(
    context: SpoolContext, mock_clock
):
    log = context.directory / "spool.sqlite-wal"
    async with (
        open_sqlite(SqliteSettings(lanes=4, keep=Duration(0)), context) as spool,
        spool.subscribe("out", batch=100) as out,
    ):
        assert log.stat().st_blocks * 512 >= LOG_SIZE
        sizes = []
        for turn in range(4):
            async with trio.open_nursery() as senders:
                for number in range(200):  # 12 MB that wait at once
                    senders.start_soon(
                        spool.append, [arrival(f"{turn}-{number}" + "x" * 60_000, f"d{number}")]
                    )
            sizes.append(log.stat().st_size)
            await take_all(out, 200)
            await spool.housekeeping.prune_events()
            mock_clock.jump(1)
            await spool.state("source:sensors").put("turn", turn)
            sizes.append(log.stat().st_size)
    assert min(sizes) >= LOG_SIZE
    assert max(sizes) < LONGEST


async def test_deleting_much_at_once_does_not_lengthen_the_log(context: SpoolContext, mock_clock):
    async with (
        open_sqlite(SqliteSettings(lanes=1, keep=Duration(0)), context) as spool,
        spool.subscribe("out", batch=1000) as out,
    ):
        for _ in range(20):
            await spool.append([arrival(f"{next(NUMBERS)}" + "x" * 400) for _ in range(1000)])
        await take_all(out, 20_000)
        await spool.housekeeping.prune_events()
        assert (context.directory / "spool.sqlite-wal").stat().st_size < LOG_SIZE * 1.5


async def test_what_nobody_estimated_does_not_lengthen_the_log(context: SpoolContext):
    async with open_sqlite(SqliteSettings(), context) as spool:
        for number in range(6):
            await spool.state("source:sensors").put(f"large{number}", "x" * 3 * MIB)
        assert (context.directory / "spool.sqlite-wal").stat().st_size < LOG_SIZE + 4 * MIB


async def test_operations_that_copy_much_share_no_transaction(context: SpoolContext):
    ends = []

    def copying(transaction) -> int:
        transaction.copied += TRANSACTION // 2 + 1
        transaction.committed.append(lambda: ends.append(transaction))
        return len(ends)

    answers = []

    async def ask(spool) -> None:
        answers.append(await spool._write(copying))

    async with open_sqlite(SqliteSettings(), context) as spool, trio.open_nursery() as askers:
        for _ in range(8):
            askers.start_soon(ask, spool)
    assert len(answers) == 8
    transactions = [id(transaction) for transaction in ends]
    assert [transactions.count(number) for number in dict.fromkeys(transactions)] == [2] * 4


async def test_letters_give_way_before_a_source_is_refused(
    context: SpoolContext, mock_clock, monkeypatch: pytest.MonkeyPatch
):
    """The letters are expired by somebody else; here they are only deleted."""
    given = []

    def expire(transaction, size: int) -> int:
        row = transaction.execute("SELECT id, size FROM letters ORDER BY id LIMIT 1").fetchone()
        if row is None:
            return 0
        transaction.execute("DELETE FROM letters WHERE id = ?", row[:1])
        transaction.execute("DELETE FROM letter_bodies WHERE id = ?", row[:1])
        given.append(size)
        return row[1]

    def keep(transaction) -> None:
        for number in range(10):
            transaction.execute(
                "INSERT INTO letters (sink, source, sequence, received, reason, attempts, time, "
                "kept, size, purged) VALUES ('out', 1, ?, 0, '', 1, 0, 0, 20000, 1)",
                (number,),
            )
            transaction.execute(
                "INSERT INTO letter_bodies VALUES (last_insert_rowid(), 0, zeroblob(20000))"
            )

    monkeypatch.setattr(opening, "GIVING", {Memory.LETTERS: expire})
    settings = SqliteSettings(max_size=Size(1 << 20))
    async with open_sqlite(settings, context) as spool, spool.subscribe("out", batch=9):
        await spool._write(keep)
        counts = []  # letters that had gone after each append
        with suppress(SpoolUnavailable):
            while await spool.append([arrival(f"{len(counts)}" + "x" * 2000)]):
                counts.append(len(given))
        assert "the limit is max_size = 1MiB" in spool.refusal
        assert len(given) == 10
        # One after the other, while sources were heard.
        assert counts[0] == 0
        assert len(set(counts)) >= 5


async def test_a_limit_that_does_not_fit_is_a_problem_not_a_cut(
    context: SpoolContext, report: FakeReport, mock_clock, make_disk: MakeDisk
):
    context = evolve(context, directory=make_disk(64 * MIB) / "state")
    async with open_sqlite(SqliteSettings(max_size=Size(1 << 30)), context):
        await report.wait_for("does not fit on the disk")
    (problem,) = report.problems
    assert "max_size = 1GiB does not fit on the disk of" in problem
    assert "which has room for 40 MiB; lower it, or make room" in problem


async def test_running_time_goes_on_where_it_ended(context: SpoolContext, mock_clock):
    seen = []

    def look(transaction) -> None:
        seen.append(transaction.running)

    async with open_sqlite(SqliteSettings(), context) as spool:
        mock_clock.jump(100)
        await spool._write(look)
    mock_clock.jump(86_400)  # on the shelf
    async with open_sqlite(SqliteSettings(), context) as spool:
        await spool._write(look)
        mock_clock.jump(5)
        await spool._write(look)
    assert seen == [100, 100, 105]


async def test_running_time_survives_a_crash_of_an_idle_bridge(
    context: SpoolContext, mock_clock, tmp_path: Path
):
    async with open_sqlite(SqliteSettings(), context):
        mock_clock.jump(3600)
        for _ in range(3):
            mock_clock.jump(1)
            await trio.testing.wait_all_tasks_blocked(0.01)
        subprocess.run(["cp", "-r", context.directory, tmp_path / "crashed"], check=True)
    seen = []
    crashed = evolve(context, directory=tmp_path / "crashed")
    async with open_sqlite(SqliteSettings(), crashed) as spool:
        await spool._write(lambda transaction: seen.append(transaction.running))
    assert 3600 <= seen[0] <= 3603
