"""A parked event that is damaged becomes a letter, and its device goes on."""

import sqlite3
from contextlib import closing

import pytest

from bridge.api.spool import LetterFilter, SpoolContext
from bridge.spool import SqliteSettings
from bridge.spool.audit import audit
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import METER, arrivals, keys_of, park_all

DAMAGES = {
    "no JSON": "X'00'",
    "another digit": "CAST(replace(CAST(body AS TEXT), 'first', 'worst') AS BLOB)",
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_parked_event_is_a_letter_that_stays(context: SpoolContext, damage: str):
    async with (
        open_sqlite(SqliteSettings(), context) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        await spool.append(arrivals("first", "second"))
        await park_all(out, METER, after=0.0)
    with closing(sqlite3.connect(context.directory / "spool.sqlite")) as rows:
        first = "sequence = (SELECT min(sequence) FROM parked)"
        rows.execute(f"UPDATE parked SET body = {DAMAGES[damage]} WHERE {first}")
        rows.commit()
    async with (
        open_sqlite(SqliteSettings(), context) as spool,
        spool.subscribe("out", batch=9) as out,
    ):
        lease = await out.take_parked()
        assert keys_of(lease.events) == ["second"]
        await lease.settle(1)
        (letter,) = await spool.letters(LetterFilter())
        kept = await spool.letter(letter.id)
        assert (letter.device, kept.stored) == (None, None)
        assert await spool.replay([letter.id]) == 0
    assert audit(context.directory).problems == ()
