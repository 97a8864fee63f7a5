"""Rows around damage: what can be read is read, what cannot is told."""

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from bridge.spool.store.salvage import Lost, joined, rows_between


class DamagedTable:
    """Answers as SQLite does: a query that meets a damaged row fails as a whole."""

    def __init__(self, rows: set[int], damaged: set[int]) -> None:
        self.rows, self.damaged = sorted(rows | damaged), damaged
        self.queries = 0

    def execute(self, _query, bounds):
        first, last, limit = bounds
        self.queries += 1
        self.found = [(number,) for number in self.rows if first <= number <= last][:limit]
        if any(number in self.damaged for (number,) in self.found):
            raise sqlite3.DatabaseError("malformed")
        return self

    def fetchall(self):
        return self.found


numbers = st.sets(st.integers(1, 300))


@given(numbers, numbers)
def test_every_row_that_is_not_damaged_is_read(rows: set[int], damaged: set[int]):
    found = list(joined(rows_between(DamagedTable(rows, damaged), "", 1, 300)))
    read = [each[0] for each in found if not isinstance(each, Lost)]
    assert read == sorted(rows - damaged)
    lost = [each for each in found if isinstance(each, Lost)]
    told = {number for each in lost for number in range(each.first, each.last + 1)}
    assert damaged <= told
    assert not told & (rows - damaged)


def test_wide_numbers_behind_the_damage_cost_few_queries():
    table = DamagedTable({1, 2, 1 << 60}, {3})
    found = list(rows_between(table, "", 1, 1 << 61))
    assert [each for each in found if not isinstance(each, Lost)] == [(1,), (2,), (1 << 60,)]
    assert table.queries < 5000
