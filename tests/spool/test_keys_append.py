"""What is known is not stored again, whatever comes together in one transaction."""

import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.api import Arrival
from bridge.spool.append import add_sources
from bridge.spool.keys import Source
from bridge.testing.arrivals import TIME
from tests.spool.keys_file import KeysFile, at

KEYS = st.sampled_from("abcd")
ARRIVALS = st.builds(
    at,
    st.none() | KEYS,
    st.sampled_from([None, 0, 1, 4000]),
    source=st.sampled_from(["sensors", "towers"]),
    former_keys=st.just(()) | st.lists(KEYS, max_size=2).map(tuple),
)
APPENDS = st.lists(ARRIVALS, max_size=4)
PLAIN = st.lists(st.builds(at, KEYS), max_size=4)  # no former keys: these need no question
COMMITS = st.lists(st.lists(APPENDS | PLAIN, min_size=1, max_size=3), max_size=5)


class Model:
    """Keys as a set."""

    def __init__(self):
        self.known = set()

    def append(self, arrivals: list[Arrival]) -> int:
        return sum(self.is_new(each) for each in arrivals)

    def is_new(self, each: Arrival) -> bool:
        if each.key is None:
            return True
        own = each.source, each.key_time, each.key
        former = {
            (each.source, place, key) for key in each.former_keys for place in (each.key_time, None)
        }
        if {own, *former} & self.known:
            return False
        self.known.add(own)
        return True


@settings(max_examples=150)
@given(COMMITS)
def test_a_set_of_keys_agrees_about_what_is_new(commits: list[list[list[Arrival]]]):
    model = Model()
    with tempfile.TemporaryDirectory() as folder:
        file = KeysFile(Path(folder))
        expected = [[model.append(one) for one in appends] for appends in commits]
        assert [file.commit(*appends) for appends in commits] == expected
        assert file.count("known") == len(model.known)
        assert file.count("events") == sum(map(sum, expected))
        assert file.problems() == []
        file.connection.close()


@pytest.mark.parametrize("again", [(0,), (299,), (5, 100, 290), range(0, 300, 2), range(300)])
@pytest.mark.parametrize("expected", [False, True])
def test_known_ones_are_found_among_many(keys_file: KeysFile, again, expected: bool):
    known = [at(f"{number}", number) for number in again]
    assert keys_file.append(*known) == len(known)
    # Whether the last commit held something known decides how it is found out.
    assert keys_file.append(*(known[:1] if expected else [at("other")])) == (not expected)
    assert keys_file.state.repeats == expected
    assert keys_file.append(*[at(f"{number}", number) for number in range(300)]) == 300 - len(known)
    assert keys_file.append(*[at(f"{number}", number) for number in range(300)]) == 0


def test_a_key_counts_once_within_a_transaction(keys_file: KeysFile):
    assert keys_file.commit([at("a"), at("b"), at("a")], [at("b"), at("c")]) == [2, 1]
    assert keys_file.commit([at("c"), at("d")], [at("d")]) == [1, 0]


def test_a_former_key_is_asked_and_never_stored(keys_file: KeysFile):
    assert keys_file.append(at("old")) == 1
    assert keys_file.append(at("new", former_keys=("older", "old"))) == 0
    assert keys_file.append(at("newer", former_keys=("older",))) == 1
    assert keys_file.append(at("older")) == 1
    assert keys_file.count("known") == 3


def test_a_former_key_lies_at_the_same_second_or_without_a_time(keys_file: KeysFile):
    assert keys_file.append(at("old", 0), at("older", None)) == 2
    assert keys_file.append(at("new", 1, former_keys=("old",))) == 1
    assert keys_file.append(at("newer", 1, former_keys=("older",))) == 0


def test_an_event_without_a_key_is_always_new(keys_file: KeysFile):
    assert keys_file.append(at(None), at(None), at("a")) == 3
    assert keys_file.append(at(None, former_keys=("a",)), at("a")) == 1
    assert keys_file.count("known") == 1


def test_a_key_without_a_time_is_known_as_any_other(keys_file: KeysFile):
    assert keys_file.append(at("a", None), at("b", None), at("a", None)) == 2
    assert keys_file.append(at("b", None), at("c", None)) == 1
    assert keys_file.rows("SELECT hour, count FROM hours") == [(0, 3)]


def test_hours_say_how_many_and_when(keys_file: KeysFile):
    hour = int(TIME.timestamp()) // 3600
    keys_file.running = 125.0
    keys_file.append(at("a", 0), at("b", 1), at("c", 3600))
    keys_file.running = 60 * 90.0
    keys_file.append(at("d", 2), at("a", 0))
    assert keys_file.rows("SELECT * FROM hours") == [(hour, 3, 2, 90), (hour + 1, 1, 2, 2)]
    assert keys_file.rows("SELECT stored FROM known ORDER BY key") == [(2,), (2,), (90,), (2,)]


def test_each_event_has_the_checksum_of_its_body(keys_file: KeysFile):
    keys_file.append(at("a"))
    assert keys_file.rows("SELECT checksum FROM events") == [(zlib.crc32(at("a").body),)]


def test_a_source_that_was_renamed_keeps_its_keys(keys_file: KeysFile):
    keys_file.append(at("a", source="old"))
    keys_file.connection.execute("UPDATE sources SET name = 'new'")
    keys_file.state.load(keys_file.connection)
    assert keys_file.append(at("a", source="new")) == 0
    # The next source of the old name is another one.
    assert keys_file.append(at("a", source="old")) == 1
    assert keys_file.append(at("a", source="old"), at("a", source="new")) == 0
    assert {source.salt for source in keys_file.state.sources.values()} == {"old", "old/2"}


def test_a_source_gets_one_number_however_often_it_asks(keys_file: KeysFile):
    def twice(transaction):
        add_sources(transaction, ["towers"])
        add_sources(transaction, ["sensors", "towers"])

    keys_file.write(twice)
    assert keys_file.state.sources == {
        "towers": Source(1, "towers"),
        "sensors": Source(2, "sensors"),
    }


def test_what_was_rolled_back_is_not_known(keys_file: KeysFile):
    assert keys_file.unknown(at("a"), at("b")) == 2
    assert keys_file.append(at("a"), at("b")) == 2


def test_what_came_again_is_asked_before_and_new_ones_are_not(keys_file: KeysFile):
    statements: list[str] = []
    keys_file.append(at("a"))
    keys_file.connection.set_trace_callback(statements.append)

    def about_known() -> list[str]:
        words = [one.split(maxsplit=1)[0] for one in statements if " known" in one]
        statements.clear()
        return words

    keys_file.append(at("b"))
    assert about_known() == ["INSERT"]
    keys_file.append(at("b"), at("c"))  # is not expected: the first one stores nothing
    assert about_known() == ["INSERT", "SELECT", "INSERT"]
    keys_file.append(at("b"), at("d"))
    assert about_known() == ["SELECT", "INSERT"]
    keys_file.append(at("e"))
    assert about_known() == ["SELECT", "INSERT"]
    keys_file.append(at("f"))
    assert about_known() == ["INSERT"]
