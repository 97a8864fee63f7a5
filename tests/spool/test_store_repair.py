"""Repairing a spool: a sound file with everything that could be read, the old one kept,
each loss told, and the balance of each sink.
"""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve

from bridge.api.spool import DeadLetter, SpoolContext, SpoolError
from bridge.spool import SqliteSettings
from bridge.spool.audit import audit
from bridge.spool.checksum import damage
from bridge.spool.mark import read_mark
from bridge.spool.schema import LANE_BITS
from bridge.spool.sqlite import open_sqlite
from bridge.spool.store import Repair, check, repair
from bridge.testing.arrivals import TIME, arrival, arrivals, keys_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PAGE = 4096


@contextmanager
def rows_of(context: SpoolContext) -> Iterator[sqlite3.Connection]:
    with closing(
        sqlite3.connect(context.directory / "spool.sqlite", isolation_level=None)
    ) as connection:
        yield connection


def asked(context: SpoolContext, query: str, *values: object) -> list[tuple]:
    with rows_of(context) as rows:
        return rows.execute(query, values).fetchall()


def mend(context: SpoolContext, *, apply: bool = True) -> Repair:
    return repair(context.directory, apply=apply, now=lambda: NOW)


def assert_balanced(context: SpoolContext) -> None:
    """Each account adds up, from the rows; only damaged bodies may be left."""
    problems = audit(context.directory).problems
    assert [problem for problem in problems if "cannot be read back" not in problem] == []
    counted = asked(context, "SELECT sum(size + 200) FROM letters")[0][0] or 0
    assert asked(context, "SELECT value FROM meta WHERE name = 'letters'") == [(counted,)]
    hours = "SELECT hour, count FROM hours ORDER BY hour"
    known = asked(context, "SELECT key FROM known ORDER BY key")
    spread: dict[int, int] = {}
    for (key,) in known:
        hour = int.from_bytes(key[:4], "big") // 3600
        spread[hour] = spread.get(hour, 0) + 1
    assert asked(context, hours) == sorted(spread.items())


async def made(context: SpoolContext, count: int = 60, size: int = 900) -> None:
    """Two lanes, four devices; a sink with dead letters, parked events, known keys."""
    async with (
        open_sqlite(SqliteSettings(lanes=2), context) as spool,
        spool.subscribe("out", batch=10) as out,
        spool.subscribe("slow", batch=10),
    ):
        await spool.append(
            [arrival(f"{number:04}" + "x" * size, f"d{number % 4}") for number in range(count)]
        )
        for _ in range(2):
            dead = [DeadLetter(7, "refused", 422, 1, TIME)]
            await (await out.take()).settle(10, dead=dead)
        await spool.state("source:sensors").put("received", "2026")
    with rows_of(context) as rows:
        rows.execute("BEGIN")
        park(rows, "out", "d0", 4)
        for number in range(400):
            key = (1_700_000_000 + 60 * number).to_bytes(4, "big") + number.to_bytes(12, "big")
            rows.execute("INSERT INTO known VALUES (?, ?)", (key, number))
            rows.execute(
                "INSERT INTO hours VALUES (?, 1, ?2, ?2) ON CONFLICT(hour) DO UPDATE SET "
                "count = count + 1, newest = excluded.newest",
                (int.from_bytes(key[:4], "big") // 3600, number),
            )
        rows.execute("COMMIT")


def park(rows: sqlite3.Connection, sink: str, device: str, count: int) -> None:
    """Park the first events that a cursor has passed, as if none had been delivered."""
    (lane,) = rows.execute(
        "SELECT lane FROM cursors WHERE sink = ? AND delivered > 4 ORDER BY lane",
        (sink,),
    ).fetchone()
    rows.execute(
        "UPDATE cursors SET delivered = delivered - ? WHERE sink = ? AND lane = ?",
        (count, sink, lane),
    )
    rows.execute(
        "INSERT INTO parked_devices (sink, device, lane, due, attempts, why) "
        "VALUES (?, ?, ?, 0, 1, 'waits')",
        (sink, device, lane),
    )
    rows.execute(
        "INSERT INTO parked SELECT last_insert_rowid(), id, source, received, checksum, 0, NULL, "
        "body FROM events WHERE id > ? ORDER BY id LIMIT ?",
        (lane << LANE_BITS, count),
    )


def damage_page(context: SpoolContext, number: int, content: bytes) -> None:
    with (context.directory / "spool.sqlite").open("r+b") as file:
        file.seek((number - 1) * PAGE)
        file.write(content)


async def test_a_sound_file_is_left_alone(context: SpoolContext):
    await made(context)
    assert_balanced(context)
    before = (context.directory / "spool.sqlite").read_bytes()
    found = mend(context)
    assert (found.findings, found.kept_as) == ((), None)
    assert found.rows["events"] == 60
    assert found.rows["known"] == 460
    assert (context.directory / "spool.sqlite").read_bytes() == before
    assert not list(context.directory.glob("*repairing*"))


async def test_a_plan_changes_nothing(context: SpoolContext):
    await made(context)
    with rows_of(context) as rows:
        rows.execute("DELETE FROM lanes WHERE lane = 1")
    before = (context.directory / "spool.sqlite").read_bytes()
    found = mend(context, apply=False)
    assert found.findings == ("lane 1: begins with its oldest event that is there",)
    assert found.kept_as is None
    assert (context.directory / "spool.sqlite").read_bytes() == before


async def test_the_old_file_is_kept_under_another_name(context: SpoolContext):
    await made(context)
    for turn in range(2):
        with rows_of(context) as rows:
            rows.execute("UPDATE cursors SET position = 9999 WHERE sink = 'out' AND lane = 0")
        before = (context.directory / "spool.sqlite").read_bytes()
        found = mend(context)
        suffix = "" if turn == 0 else "-2"
        assert found.kept_as.name == f"spool.sqlite.damaged-20260102T030405Z{suffix}"
        assert found.kept_as.read_bytes() == before
    assert (context.directory / "spool.sqlite").stat().st_mode & 0o777 == 0o600
    assert read_mark(context.directory / "spool.mark").written == NOW


async def test_the_log_of_the_old_file_goes_with_it(context: SpoolContext, tmp_path: Path):
    """As a crash leaves it: what was committed last is only in the log."""
    crashed = evolve(context, directory=tmp_path / "crashed")
    await made(context)
    async with open_sqlite(SqliteSettings(lanes=2), context) as spool:
        await spool.append(arrivals("in the log"))
        shutil.copytree(context.directory, crashed.directory)
    with (crashed.directory / "spool.sqlite").open("r+b") as file:
        file.seek(30 * PAGE)
        file.write(bytes(PAGE))
    log = (crashed.directory / "spool.sqlite-wal").read_bytes()
    found = mend(crashed)
    assert found.kept_as.with_name(found.kept_as.name + "-wal").read_bytes() == log
    assert not (crashed.directory / "spool.sqlite-wal").exists()
    async with open_sqlite(SqliteSettings(lanes=2), crashed) as spool:
        assert await spool.append(arrivals("in the log")) == 0
    assert_balanced(crashed)


async def test_a_damaged_cursor_goes_back_to_the_oldest_event(context: SpoolContext):
    await made(context)
    for wrong in (
        "position = 9999",
        "position = -1",
        "delivered = delivered + 1",
        "dead = 'x'",
        "start = position + 1",
        "filtered = -1, delivered = delivered + 1",
    ):
        here = evolve(context, directory=context.directory.parent / "copy")
        shutil.copytree(context.directory, here.directory)
        with rows_of(here) as rows:
            rows.execute(f"UPDATE cursors SET {wrong} WHERE sink = 'out' AND lane = 1")
        found = mend(here)
        assert found.findings == ("out, lane 1: its cursor goes back to its oldest event",), wrong
        assert_balanced(here)
        others = "SELECT * FROM cursors WHERE NOT (sink = 'out' AND lane = 1)"
        assert asked(here, others) == asked(context, others)
        shutil.rmtree(here.directory)


async def test_parked_events_below_a_cursor_that_goes_back_stay(context: SpoolContext):
    await made(context)
    ((lane,),) = asked(context, "SELECT lane FROM parked_devices")
    with rows_of(context) as rows:
        rows.execute("UPDATE cursors SET position = 9999 WHERE sink = 'out'")
    mend(context)
    # Nothing is pruned here: what was parked comes again with its lane.
    assert asked(context, "SELECT count(*) FROM parked") == [(0,)]
    assert asked(context, "SELECT position, again FROM cursors WHERE sink = 'out' AND lane = ?",
                 lane) == [(0, 0)]  # fmt: skip
    assert asked(context, "SELECT count(*) FROM parked_devices") == [(0,)]
    assert_balanced(context)


async def test_what_is_parked_from_below_the_oldest_event_stays(context: SpoolContext):
    await made(context)
    ((lane,),) = asked(context, "SELECT lane FROM parked_devices")
    with rows_of(context) as rows:
        rows.execute("UPDATE cursors SET position = 2, delivered = 2, start = 0, dead = 0 "
                     "WHERE sink = 'slow' AND lane = ?", (lane,))  # fmt: skip
        rows.execute("DELETE FROM events WHERE id BETWEEN ? AND ?",
                     ((lane << LANE_BITS) + 1, (lane << LANE_BITS) + 2))  # fmt: skip
        rows.execute("UPDATE lanes SET pruned = 2 WHERE lane = ?", (lane,))
        rows.execute("UPDATE cursors SET position = 9999 WHERE sink = 'out' AND lane = ?", (lane,))
    mend(context)
    cursor = "SELECT start, position, again FROM cursors WHERE sink = 'out' AND lane = ?"
    assert asked(context, cursor, lane) == [(2, 2, 2)]
    assert asked(context, "SELECT sequence & 65535 FROM parked") == [(1,), (2,)]
    assert_balanced(context)


async def test_a_damaged_parked_event_is_a_letter_and_its_device_goes_on(context: SpoolContext):
    await made(context)
    with rows_of(context) as rows:
        rows.execute("UPDATE parked SET body = x'00' WHERE sequence & 65535 = 2")
    (finding,) = mend(context).findings
    assert finding.startswith("out: a parked event of d0: the file was damaged")
    letters = asked(
        context,
        "SELECT sink, device, sequence & 65535, substr(reason, 1, 19), body FROM letters "
        "JOIN letter_bodies USING (id) WHERE reason <> 'refused'",
    )
    assert letters == [("out", "d0", 2, "cannot be read back", b"\0")]
    assert asked(context, "SELECT sequence & 65535 FROM parked") == [(1,), (3,), (4,)]
    assert asked(context, "SELECT events FROM parked_devices") == [(3,)]
    assert_balanced(context)


async def test_a_parked_event_that_its_lane_will_bring_is_dropped(context: SpoolContext):
    await made(context)
    with rows_of(context) as rows:
        rows.execute("UPDATE parked SET sequence = sequence + 25 WHERE sequence & 65535 = 4")
    (finding,) = mend(context).findings
    assert "1 parked events are lost, they are counted as expired" in finding
    assert asked(context, "SELECT sequence & 65535 FROM parked") == [(1,), (2,), (3,)]
    assert_balanced(context)


async def test_lost_letters_and_parked_events_are_counted_as_expired(context: SpoolContext):
    await made(context)
    with rows_of(context) as rows:
        rows.execute("DELETE FROM parked WHERE sequence & 65535 = 3")
        letters = rows.execute("DELETE FROM letters WHERE sequence >> 48 = 0").rowcount
    findings = mend(context).findings
    assert any("1 parked events are lost, they are counted as expired" in text for text in findings)
    assert f"out, lane 0: {letters} dead letters are lost" in findings
    assert asked(context, "SELECT sum(expired) FROM cursors") == [(letters + 1,)]
    assert_balanced(context)


async def test_a_lane_that_is_lost_begins_with_its_oldest_event(context: SpoolContext):
    await made(context)
    with rows_of(context) as rows:
        rows.execute("DELETE FROM lanes")
    mend(context)
    assert asked(context, "SELECT * FROM lanes") == [(0, 0), (1, 0)]
    assert_balanced(context)


async def test_damaged_keys_are_dropped_and_hours_counted_anew(context: SpoolContext):
    await made(context)
    with rows_of(context) as rows:
        rows.execute("UPDATE known SET key = substr(key, 1, 9) WHERE stored = 7")
        rows.execute("UPDATE hours SET count = 99")
    found = mend(context)
    assert found.findings == ("known: keys in 1 places cannot be read and are dropped",)
    assert found.rows["known"] == 459
    assert_balanced(context)


async def test_numbers_are_not_given_twice_after_a_repair(context: SpoolContext):
    await made(context)
    with rows_of(context) as rows:
        rows.execute("UPDATE sqlite_sequence SET seq = 41 WHERE name = 'letters'")
        rows.execute("DELETE FROM lanes WHERE lane = 0")
    mend(context)
    with rows_of(context) as rows:
        numbers = dict(rows.execute("SELECT name, seq FROM sqlite_sequence"))
    assert numbers == {"letters": 41, "parked_devices": 1}


async def test_a_file_whose_first_page_is_gone_says_what_is_left_to_do(context: SpoolContext):
    await made(context)
    damage_page(context, 1, bytes(PAGE))
    for tool in (lambda: mend(context), lambda: check(context.directory)):
        with pytest.raises(SpoolError, match=r"cannot be read \(.*\); keep a copy of the folder"):
            tool()


async def assert_saved(context: SpoolContext, original: dict[int, bytes]) -> Repair:
    """What can be known of a damaged file after its repair."""
    checked = check(context.directory)
    found = mend(context)
    assert bool(found.findings) == bool(checked.problems), (found, checked)
    assert check(context.directory).problems == () or all(
        "its bytes are lost" in problem or "the file was damaged" in problem
        for problem in check(context.directory).problems
    )
    damaged = 0
    for number, body, checksum in asked(context, "SELECT id, body, checksum FROM events"):
        if damage(body, checksum) is None:
            assert body == original[number]
        else:
            damaged += 1
    assert asked(context, "SELECT count(*) FROM events") == [(len(original),)]
    assert damaged <= 15  # about what a page holds, or the pages below one
    assert_balanced(context)
    return found


PATTERNS = {
    "zeros": lambda _page, _chance: bytes(PAGE),
    "noise": lambda _page, chance: chance.randbytes(PAGE),
    "a flipped bit": lambda page, chance: flipped(page, chance),
}


def flipped(page: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(page)
    damaged[chance.randrange(len(page))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


async def damaged_everywhere(context: SpoolContext, every: int) -> None:
    chance = random.Random(5)
    await made(context)
    original = dict(asked(context, "SELECT id, body FROM events"))
    whole = (context.directory / "spool.sqlite").read_bytes()
    refused = saved = tried = 0
    for number in range(1, len(whole) // PAGE + 1, every):
        for name, pattern in PATTERNS.items():
            here = evolve(context, directory=context.directory.parent / f"{number}-{name}")
            shutil.copytree(context.directory, here.directory)
            page = whole[(number - 1) * PAGE : number * PAGE]
            damage_page(here, number, pattern(page, chance))
            try:
                found = await assert_saved(here, original)
            except SpoolError as exc:
                refused += "keep a copy of the folder" in str(exc)
            else:
                saved += 1
                if found.kept_as is not None:
                    async with (
                        open_sqlite(SqliteSettings(lanes=2), here) as spool,
                        spool.subscribe("slow", batch=100) as slow,
                    ):
                        pending = {a.sink: a.pending for a in await spool.accounts([])}["slow"]
                        assert pending == len(original)
                        await drained(slow, spool)
            tried += 1
            shutil.rmtree(here.directory)
    assert saved + refused == tried
    assert saved > refused


async def drained(subscription, spool) -> None:
    """Take until the last event of each device has come; damaged ones never come."""
    ends = {f"end{number}" for number in range(4)}
    assert await spool.append([arrival(end, f"d{end[3:]}") for end in sorted(ends)]) == 4
    while ends:
        lease = await subscription.take()
        ends -= set(keys_of(lease.events))
        await lease.settle(len(lease.events))


async def test_some_damaged_pages_cost_no_more_than_themselves(context: SpoolContext):
    await damaged_everywhere(context, every=9)


@pytest.mark.slow
async def test_any_damaged_page_costs_no_more_than_itself(context: SpoolContext):
    await damaged_everywhere(context, every=1)


@pytest.mark.slow
async def test_cut_anywhere_it_is_told_and_saved(context: SpoolContext, tmp_path: Path):
    """With its log and without; what is behind the cut is told to be lost."""
    crashed = evolve(context, directory=tmp_path / "crashed")
    await made(context, 200)
    async with open_sqlite(SqliteSettings(lanes=2), context) as spool:
        await spool.append(arrivals("in the log"))
        shutil.copytree(context.directory, crashed.directory)
    whole = (crashed.directory / "spool.sqlite").read_bytes()
    for length in range(0, len(whole) + 1, 3 * PAGE // 2):
        for log in (True, False):
            here = evolve(context, directory=tmp_path / "cut")
            shutil.copytree(crashed.directory, here.directory)
            if not log:
                (here.directory / "spool.sqlite-wal").unlink()
            (here.directory / "spool.sqlite").write_bytes(whole[:length])
            told = cut_is_told(here)
            assert told or length > len(whole) - PAGE or log, (length, log)
            shutil.rmtree(here.directory)


def cut_is_told(context: SpoolContext) -> bool:
    try:
        return bool(check(context.directory).problems)
    except SpoolError:
        return True
