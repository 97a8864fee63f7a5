"""The audit's look at the keys finds what the hours say wrongly."""

import pytest
from attrs import evolve

from bridge.spool.keys_check import check_keys
from bridge.testing.arrivals import TIME, arrival
from tests.spool.keys_file import KeysFile, at

HOUR = int(TIME.timestamp()) // 3600


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (
            "UPDATE hours SET count = 3",
            "keys of the hour from 2026-01-02 03:00 on: 3 are counted, there are 2",
        ),
        (
            "UPDATE hours SET count = 1",
            "keys of the hour from 2026-01-02 03:00 on: 1 are counted, there are more",
        ),
        (
            "UPDATE hours SET count = -1",
            "keys of the hour from 2026-01-02 03:00 on: -1 are counted, there are more",
        ),
        (
            "UPDATE hours SET newest = oldest - 1",
            "keys of the hour from 2026-01-02 03:00 on: "
            "the newest is said to be older than the oldest",
        ),
        (
            "DELETE FROM hours",
            "keys between 1970-01-01 00:00 and 2106-02-07 07:00: none are counted, there are some",
        ),
        (
            f"INSERT INTO hours VALUES ({HOUR + 5}, 0, 0, 0)",
            "keys of the hour from 2026-01-02 08:00 on: 0 are counted, there are 0",
        ),
        (
            f"INSERT INTO known SELECT CAST(X'{(HOUR * 3600 + 3600).to_bytes(4, 'big').hex()}' "
            "|| substr(key, 5) AS BLOB), 0 FROM known LIMIT 1",
            "keys between 2026-01-02 04:00 and 2106-02-07 07:00: none are counted, there are some",
        ),
    ],
)
def test_what_the_hours_say_wrongly_is_found(tmp_path, damage: str, problem: str):
    file = KeysFile(tmp_path)
    file.append(at("a"), at("b"))
    assert file.problems() == []
    file.connection.execute(damage)
    assert file.problems() == [problem]
    file.connection.close()


def test_a_key_between_two_hours_is_found(tmp_path):
    file = KeysFile(tmp_path)
    file.append(at("a"), at("b", 3600), at("c", 7200))
    file.connection.execute("DELETE FROM hours WHERE hour = ?", (HOUR + 1,))
    expected = (
        "keys between 2026-01-02 04:00 and 2026-01-02 05:00: none are counted, there are some"
    )
    assert file.problems() == [expected]
    file.connection.close()


def test_hours_side_by_side_at_both_ends_are_right(keys_file: KeysFile):
    times = (-3600, 0, 3600, 10**9, None)
    keys_file.append(*[at(f"{time}", time) for time in times])
    first = evolve(arrival("first"), key_time=TIME.replace(year=1960))
    last = evolve(arrival("last"), key_time=TIME.replace(year=2200))
    keys_file.append(first, last)
    assert list(check_keys(keys_file.connection)) == []
    assert keys_file.rows("SELECT count FROM hours") == [(2,), (1,), (1,), (1,), (1,), (1,)]
