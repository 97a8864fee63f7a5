"""The audit finds each way in which rows and counters can disagree."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bridge.api.spool import DeadLetter, SpoolContext, SpoolError
from bridge.spool import SqliteSettings
from bridge.spool.audit import audit
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import TIME, arrivals

DAMAGES = {
    "DELETE FROM events WHERE id % 65536 = 5": "lane 0: events 5 to 5 are missing",
    "UPDATE events SET body = X'00' WHERE id % 65536 = 5": "event 5: cannot be read back: ",
    "UPDATE events SET source = 9 WHERE id % 65536 = 5": "event 5: its source 9 has no name",
    "UPDATE events SET id = id + (1 << 48) WHERE id % 65536 = 6": (
        "event 281474976710662: lane 1 does not exist"
    ),
    "UPDATE cursors SET delivered = 2": "out, lane 0: 4 events are settled, but 2 delivered, "
    "0 filtered, 1 dead, 0 expired, 0 parked",
    "UPDATE cursors SET position = 9, delivered = 8": "out, lane 0: the cursor is at 9, beyond "
    "the newest event 6",
    "UPDATE lanes SET pruned = 5": "out, lane 0: events 5 to 5 were deleted before they were "
    "settled",
    "UPDATE cursors SET lane = 7": "out, lane 7: the lane does not exist",
    "INSERT INTO lanes VALUES (1, 0)": "out: has 1 cursors, there are 2 lanes",
    "UPDATE hours SET count = 7": "keys without a time: 7 are counted, there are 6",
    "UPDATE letters SET sequence = sequence + 3": (
        "out: event 5 is a dead letter, and also to come from its lane"
    ),
    "INSERT INTO letters SELECT id + 1, sink, source, device, sequence, received, reason, "
    "status, attempts, time, kept, size, purged FROM letters": (
        "out: event 2 is a dead letter 2 times"
    ),
    "DELETE FROM letters": "out: 1 events are counted as dead, 0 dead letters are kept",
}


async def made(context: SpoolContext) -> None:
    """A spool with one lane: 6 events, of which 3 were delivered and 1 is dead."""
    async with (
        open_sqlite(SqliteSettings(lanes=1), context) as spool,
        spool.subscribe("out", batch=4) as out,
    ):
        await spool.append(arrivals(*"abcdef"))
        await (await out.take()).settle(4, dead=[DeadLetter(1, "refused", 422, 1, TIME)])


async def test_an_open_spool_can_be_audited(context: SpoolContext):
    await made(context)
    async with open_sqlite(SqliteSettings(), context) as spool:
        found = audit(context.directory, ["out"])
        assert found.problems == ()
        assert list(found.accounts) == await spool.accounts(["out"])


@pytest.mark.parametrize("damage", DAMAGES)
async def test_the_audit_names_the_damage(context: SpoolContext, damage: str):
    await made(context)
    with closing(sqlite3.connect(context.directory / "spool.sqlite")) as rows:
        rows.execute(damage)
        rows.commit()
    problems = audit(context.directory).problems
    assert any(problem.startswith(DAMAGES[damage]) for problem in problems), problems


async def test_a_file_full_of_damage_is_not_described_row_by_row(context: SpoolContext):
    async with open_sqlite(SqliteSettings(lanes=1), context) as spool:
        await spool.append(arrivals(*(str(number) for number in range(90))))
    with closing(sqlite3.connect(context.directory / "spool.sqlite")) as rows:
        rows.execute("UPDATE events SET body = X'00'")
        rows.commit()
    problems = audit(context.directory).problems
    assert len(problems) == 51
    assert problems[-1] == "... and 40 more like the last"


async def test_letters_of_a_purged_sink_do_not_count_for_the_next(
    context: SpoolContext,
):
    await made(context)
    async with open_sqlite(SqliteSettings(), context) as spool:
        await spool.purge("out")
        async with spool.subscribe("out", batch=4):
            pass
    assert audit(context.directory).problems == ()


def test_a_folder_without_a_spool_is_named(tmp_path: Path):
    with pytest.raises(SpoolError, match="there is no spool; expected the state folder"):
        audit(tmp_path)


def test_a_spool_that_was_never_begun_is_named(tmp_path: Path):
    (tmp_path / "spool.sqlite").touch()
    with pytest.raises(SpoolError, match="is empty"):
        audit(tmp_path)


def test_a_file_that_is_no_database_cannot_be_audited(tmp_path: Path):
    (tmp_path / "spool.sqlite").write_bytes(b"not a database" * 500)
    with pytest.raises(SpoolError, match="cannot be read"):
        audit(tmp_path)
