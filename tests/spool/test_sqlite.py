"""What the SQLite spool promises beyond the contract: its files, its limits, its
upkeep.
"""

# ruff: noqa: SIM117  # what is nested is opened one after the other

import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pluggy
import pytest
import trio
import trio.testing
from attrs import evolve

from bridge import spool as plugin
from bridge.api import Duration, SettingError, Size, SpoolUnavailable, hookspecs
from bridge.api.spool import DeadLetter, SpoolContext, SpoolError, Stale
from bridge.spool import SqliteSettings
from bridge.spool import read as reading
from bridge.spool.audit import audit
from bridge.spool.requests import Request
from bridge.spool.sqlite import open_sqlite
from bridge.spool.thread import PendingRequest
from bridge.spool.writer import Writer
from bridge.testing.arrivals import TIME, arrival, arrivals, keys_of, take_all
from bridge.testing.fakes import FakeReport


@contextmanager
def rows_of(context: SpoolContext) -> Iterator[sqlite3.Connection]:
    """The rows themselves, for a test that looks at them or damages them."""
    with closing(
        sqlite3.connect(context.directory / "spool.sqlite", isolation_level=None)
    ) as connection:
        yield connection


def test_the_spool_is_found_through_its_hook():
    manager = pluggy.PluginManager("bridge")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    ((kind,),) = manager.hook.bridge_spool_kinds()
    assert (kind.name, kind.settings, kind.open) == ("sqlite", SqliteSettings, open_sqlite)


def test_a_limit_that_holds_nothing_is_refused():
    with pytest.raises(SettingError, match="max_size: expected 1MiB or more, got 1023KiB"):
        SqliteSettings(max_size=Size.parse("1023KiB"))
    assert SqliteSettings(max_size=Size.parse("1MiB")).max_size == 1 << 20


async def test_nobody_else_can_read_the_files(context: SpoolContext):
    async with open_sqlite(SqliteSettings(), context) as spool:
        await spool.append(arrivals("a"))
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode) for path in context.directory.iterdir()
        }
        assert stat.S_IMODE(context.directory.stat().st_mode) == 0o700
    assert modes.keys() == {
        "spool.lock", "spool.mark", "spool.reserve", "spool.sqlite", "spool.sqlite-shm",
        "spool.sqlite-wal",
    }  # fmt: skip
    assert set(modes.values()) == {0o600}


async def test_a_second_process_is_refused_and_told_who_has_it(context: SpoolContext):
    holder = (
        "import sys; from pathlib import Path; from bridge.spool.files import Files, claim\n"
        "with claim(Files(Path(sys.argv[1]))): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(context.directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(
            SpoolError, match=f"spool.sqlite is in use by process {process.pid}; end that one"
        ):
            async with open_sqlite(SqliteSettings(), context):
                pass
        process.communicate()
    async with open_sqlite(SqliteSettings(), context) as spool:
        assert await spool.append(arrivals("a")) == 1


async def test_a_spool_cannot_be_opened_twice_in_one_process(context: SpoolContext):
    async with open_sqlite(SqliteSettings(), context):
        with pytest.raises(SpoolError, match="is in use by process"):
            async with open_sqlite(SqliteSettings(), context):
                pass


async def test_a_spool_of_a_newer_bridge_is_left_alone(context: SpoolContext):
    async with open_sqlite(SqliteSettings(), context):
        pass
    with rows_of(context) as rows:
        rows.execute("PRAGMA user_version = 99")
    with pytest.raises(
        SpoolError, match=r"has version 99, this bridge knows versions up to 2: .* run that one"
    ):
        async with open_sqlite(SqliteSettings(), context):
            pass


async def test_a_file_of_another_program_is_left_alone(context: SpoolContext):
    context.directory.mkdir()
    with rows_of(context) as rows:
        rows.execute("CREATE TABLE music (title TEXT)")
    with pytest.raises(SpoolError, match="is an SQLite file of another program"):
        async with open_sqlite(SqliteSettings(), context):
            pass
    with rows_of(context) as rows:
        assert rows.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_a_file_that_is_no_database_is_named_as_damaged(context: SpoolContext):
    context.directory.mkdir()
    (context.directory / "spool.sqlite").write_bytes(
        b"not a database, whatever its name may say" * 50
    )
    with pytest.raises(
        SpoolError, match=r"spool.sqlite is damaged \(file is not a database\); keep a copy"
    ):
        async with open_sqlite(SqliteSettings(), context):
            pass


async def test_a_state_folder_that_is_a_file_is_refused_in_a_sentence(context: SpoolContext):
    context.directory.write_text("")
    with pytest.raises(SpoolError, match="cannot hold the spool: File exists; it must be a folder"):
        async with open_sqlite(SqliteSettings(), context):
            pass


async def test_another_number_of_lanes_has_no_effect_and_is_reported(
    context: SpoolContext, report: FakeReport
):
    async with open_sqlite(SqliteSettings(lanes=3), context):
        assert report.texts == []
    async with open_sqlite(SqliteSettings(lanes=5), context) as spool:
        await spool.append([arrival(f"{number}", f"device{number}") for number in range(50)])
        async with spool.subscribe("out", batch=100, start="beginning") as out:
            assert {(await out.take()).lane for _ in range(3)} == {0, 1, 2}
    assert report.problems == ["lanes = 5 has no effect: the spool was made with 3"]


async def test_appends_that_wait_for_the_disk_share_a_commit(
    context: SpoolContext, monkeypatch: pytest.MonkeyPatch
):
    disk, commits = threading.Event(), []
    serve = Writer.serve

    def serve_slowly(writer: Writer, batch: list[PendingRequest[Request]]) -> None:
        disk.wait()
        serve(writer, batch)
        commits.append([asked.answer for asked in batch])

    async with open_sqlite(SqliteSettings(), context) as spool:
        await spool.append(arrivals("before"))  # its source has a row from now on
    monkeypatch.setattr(Writer, "serve", serve_slowly)
    async with open_sqlite(SqliteSettings(), context) as spool, trio.open_nursery() as sources:
        sources.start_soon(spool.append, arrivals("first"))
        await trio.testing.wait_all_tasks_blocked(0.01)
        for number in range(49):
            sources.start_soon(spool.append, arrivals(f"n{number}"))
        await trio.testing.wait_all_tasks_blocked(0.01)
        disk.set()
    assert commits == [[1], [1] * 49]


async def test_a_lane_has_one_owner_at_a_time(context: SpoolContext):
    async with open_sqlite(SqliteSettings(), context) as spool:
        async with spool.subscribe("out", batch=9) as one, spool.subscribe("out", batch=1) as two:
            await spool.append(arrivals("a", "b", "c"))
            first, second = await one.take(), await two.take()
            await second.settle(1)
            with pytest.raises(Stale, match="cursor of out in lane"):
                await first.settle(3)
            first.give_back()
            assert keys_of((await one.take()).events) == ["b", "c"]


async def test_a_lease_cannot_be_settled_beyond_its_events(context: SpoolContext):
    async with (
        open_sqlite(SqliteSettings(), context) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        await spool.append(arrivals("a", "b"))
        lease = await out.take()
        with pytest.raises(ValueError, match="settle names 3 events of a lease of 2"):
            await lease.settle(3)
        with pytest.raises(ValueError, match="has 2 filtered"):
            await lease.settle(1, filtered=2)


async def test_events_that_come_at_once_can_be_waited_for(context: SpoolContext, mock_clock):
    taken = []

    async def take(subscription):
        taken.extend(keys_of((await subscription.take(linger=5)).events))

    async with (
        open_sqlite(SqliteSettings(), context) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        async with trio.open_nursery() as takers:
            takers.start_soon(take, out)
            await trio.testing.wait_all_tasks_blocked()
            await spool.append(arrivals("a"))
            await spool.append(arrivals("b"))
            mock_clock.jump(5)
    assert taken == ["a", "b"]


async def test_a_damaged_event_is_a_dead_letter_and_others_are_lent(context: SpoolContext):
    async with (
        open_sqlite(SqliteSettings(), context) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        await spool.append(arrivals("a", "b", "c", "d"))
        with rows_of(context) as rows:
            rows.execute("UPDATE events SET body = X'7B00FF' WHERE id % 65536 = 2")
            rows.execute("UPDATE events SET body = CAST(X'7B00FF' AS TEXT) WHERE id % 65536 = 4")
        assert keys_of(await take_all(out, 2)) == ["a", "c"]
        await spool.append(arrivals("e"))
        assert keys_of(await take_all(out, 1)) == ["e"]
        (account,) = await spool.accounts(["out"])
        assert (account.delivered, account.dead, account.pending) == (3, 2, 0)
        with rows_of(context) as rows:
            letters = rows.execute(
                "SELECT reason, CAST(body AS BLOB) FROM letters JOIN letter_bodies USING (id) "
                "ORDER BY id"
            ).fetchall()
    assert all(
        reason.startswith("cannot be read back: ") and body == b"{\0\xff"
        for reason, body in letters
    )
    assert [problem.split(": ")[1] for problem in audit(context.directory).problems] == [
        "cannot be read back"
    ] * 2


async def test_large_events_are_lent_a_few_at_a_time(
    context: SpoolContext, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "MAX_BYTES", 400)
    async with (
        open_sqlite(SqliteSettings(), context) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        await spool.append(arrivals("a", "b", "c", "d" * 500))
        sizes = []
        for _ in range(3):
            lease = await out.take()
            sizes.append(len(lease.events))
            await lease.settle(len(lease.events))
        assert sizes == [2, 1, 1]


async def test_a_long_stretch_of_unwanted_events_is_passed_in_steps(
    context: SpoolContext, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "SCAN", 10)
    async with open_sqlite(SqliteSettings(), context) as spool:
        async with spool.subscribe("out", batch=9, sources=["towers"]) as out:
            await spool.append([arrival(f"{number}", source="gate") for number in range(55)])
            await spool.append(arrivals("wanted", source="towers"))
            assert keys_of(await take_all(out, 1)) == ["wanted"]
        (account,) = await spool.accounts(["out"])
        assert (account.filtered, account.delivered, account.pending) == (55, 1, 0)


def count(context: SpoolContext, table: str) -> int:
    with rows_of(context) as rows:
        return rows.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


async def test_events_are_deleted_once_no_sink_owes_them(context: SpoolContext, mock_clock):
    async with open_sqlite(SqliteSettings(keep=Duration(0)), context) as spool:
        async with (
            spool.subscribe("fast", batch=2000) as fast,
            spool.subscribe("slow", batch=50) as slow,
        ):
            await spool.append([arrival(f"{number}") for number in range(2500)])
            await take_all(fast, 2500)
            await spool.housekeeping.prune_events()
            assert count(context, "events") == 2500
            await (await slow.take()).settle(50)
            await spool.housekeeping.prune_events()
            assert count(context, "events") == 2450
            await take_all(slow, 2450)
            await spool.housekeeping.prune_events()
            assert count(context, "events") == 0
            await spool.append(arrivals("after"))
            assert keys_of(await take_all(fast, 1)) == ["after"]
        async with spool.subscribe("new", batch=10, start="beginning") as new:
            assert keys_of(await take_all(new, 1)) == ["after"]
        account = {account.sink: account for account in await spool.accounts([])}["new"]
        assert (account.received, account.delivered) == (1, 1)
    assert audit(context.directory).problems == ()


async def test_nothing_is_deleted_before_every_sink_has_begun(context: SpoolContext, mock_clock):
    context = evolve(context, sinks=("one", "two"))
    async with (
        open_sqlite(SqliteSettings(keep=Duration(0)), context) as spool,
        spool.subscribe("one", batch=10) as one,
    ):
        await spool.append(arrivals("a", "b"))
        await take_all(one, 2)
        await spool.housekeeping.prune_events()
        async with spool.subscribe("two", batch=10, start="beginning") as two:
            assert keys_of(await take_all(two, 2)) == ["a", "b"]
        await spool.housekeeping.prune_events()
        assert count(context, "events") == 0


async def test_an_orphaned_sink_keeps_its_backlog(context: SpoolContext, mock_clock):
    async with (
        open_sqlite(SqliteSettings(keep=Duration(0)), context) as spool,
        spool.subscribe("gone", batch=10),
    ):
        await spool.append(arrivals("a"))
    async with open_sqlite(
        SqliteSettings(keep=Duration(0)), evolve(context, sinks=("out",))
    ) as spool:
        async with spool.subscribe("out", batch=10):
            await spool.housekeeping.prune_events()
        assert count(context, "events") == 1
        assert [account.orphaned for account in await spool.accounts(["out"])] == [True, False]
        assert await spool.purge("gone") == 1
        await spool.housekeeping.prune_events()
        assert count(context, "events") == 0


async def test_what_is_due_is_deleted_in_the_background(context: SpoolContext, mock_clock):
    async with open_sqlite(SqliteSettings(keep=Duration(0)), context) as spool:
        async with spool.subscribe("out", batch=10) as out:
            await spool.append(arrivals("a"))
            await take_all(out, 1)
            mock_clock.jump(1)
            while count(context, "events"):
                await spool.state("source:sensors").put(
                    "turn", 1
                )  # a turn of the writer, until the round is through
    assert audit(context.directory).problems == ()


async def test_sources_are_refused_beyond_the_limit_not_below_it(
    context: SpoolContext, report: FakeReport, mock_clock
):
    settings = SqliteSettings(keep=Duration(0), max_size=Size.parse("1MiB"))
    large = [arrival(f"{number}" + "x" * 2000) for number in range(1000)]
    async with open_sqlite(settings, context) as spool, spool.subscribe("out", batch=100) as out:
        stored = 0
        while spool.refusal is None:
            with suppress(SpoolUnavailable):
                stored += await spool.append([large[stored]])
        expected = (
            r"the spool holds (1\.0|0\.9) MiB, the limit is max_size = 1MiB; let the sinks "
            r"deliver, purge"
        )
        with pytest.raises(SpoolUnavailable, match=expected):
            await spool.append([large[stored]])
        assert 100 < stored < 300
        assert report.problems == [spool.refusal]
        assert (context.directory / "spool.sqlite").stat().st_size < 1.05 * (1 << 20)
        assert len(await take_all(out, stored)) == stored
        await spool.state("sink:out").put("last", "delivered")
        mock_clock.jump(1)
        while report.texts[-1] != "stores events":
            mock_clock.jump(1)
            await spool.accounts([])
        assert await spool.append([large[-1]]) == 1
    assert audit(context.directory).problems == ()


async def test_a_request_after_closing_is_a_closed_resource(context: SpoolContext):
    async with open_sqlite(SqliteSettings(), context) as spool:
        pass
    with pytest.raises(trio.ClosedResourceError):
        await spool.append(arrivals("a"))


async def test_a_stranger_that_holds_the_file_costs_one_refusal(
    context: SpoolContext, monkeypatch: pytest.MonkeyPatch, mock_clock
):
    monkeypatch.setattr("bridge.spool.schema.BUSY_TIMEOUT", 0.01)
    async with open_sqlite(SqliteSettings(), context) as spool:
        with rows_of(context) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            with pytest.raises(SpoolUnavailable, match="is held by another program"):
                await spool.append(arrivals("a"))
            assert spool.refusal is None
        assert await spool.append(arrivals("a")) == 1


async def test_a_request_that_cannot_be_written_fails_alone(context: SpoolContext, mock_clock):
    async with (
        open_sqlite(SqliteSettings(), context) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        await spool.append(arrivals("a"))
        lease = await out.take()

        async def settle_without_a_reason():
            with pytest.raises(sqlite3.IntegrityError):
                await lease.settle(1, dead=[DeadLetter(0, None, None, 1, TIME)])

        async def put_under_half_a_letter():
            with pytest.raises(UnicodeEncodeError):
                await spool.state("source:sensors").put("\ud800", 1)

        async with trio.open_nursery() as requests:
            requests.start_soon(settle_without_a_reason)
            requests.start_soon(put_under_half_a_letter)
            requests.start_soon(spool.append, arrivals("b"))
            requests.start_soon(spool.append, arrivals("c"))
        assert spool.refusal is None
        await lease.settle(1)
        assert {*keys_of(await take_all(out, 2))} == {"b", "c"}


async def test_rows_put_in_behind_our_back_are_not_overwritten(context: SpoolContext, mock_clock):
    async with open_sqlite(SqliteSettings(lanes=1), context) as spool:
        await spool.append(arrivals("a"))
        with rows_of(context) as rows:
            rows.execute(
                "INSERT INTO events SELECT id + 1, source, received, body, checksum FROM events"
            )
        with pytest.raises(sqlite3.IntegrityError):
            await spool.append(arrivals("b"))
        assert "IntegrityError" in spool.refusal or "SQLITE_CONSTRAINT" in spool.refusal
        assert await spool.housekeeping.recover()
        assert await spool.append(arrivals("b")) == 1


async def test_opening_a_large_spool_reads_next_to_nothing(context: SpoolContext, layer):
    async with open_sqlite(SqliteSettings(), context) as spool:
        await spool.append([arrival(f"{number}", f"device{number % 40}") for number in range(5000)])
    pages = (context.directory / "spool.sqlite").stat().st_size / 4096
    layer.log.clear()
    async with open_sqlite(SqliteSettings(), context, vfs=layer.name) as spool:
        reads = layer.reads
        assert await spool.append(arrivals("0", "4999")) == 0
    assert pages > 250
    assert reads < 120


async def test_a_file_that_cannot_grow_is_refused_and_survives(context: SpoolContext):
    script = Path(__file__).with_name("limited.py")
    done = subprocess.run(
        [sys.executable, script, context.directory], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    stored, refused = map(int, done.stdout.split())
    assert stored > 0
    assert refused > 0
    found = audit(context.directory)
    assert found.problems == ()
    async with open_sqlite(SqliteSettings(), context) as spool:
        async with spool.subscribe("all", batch=9999, start="beginning") as out:
            assert len({stored.event.key for stored in await take_all(out, stored)}) >= stored
