"""Keys that version 1 of the tables kept: known for one more window."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Arrival, decode
from bridge.spool import keys_old
from bridge.spool.keys_old import OldKeys, PrefixFilter
from bridge.spool.schema import APPLICATION_ID, MIGRATIONS
from bridge.testing.arrivals import TIME
from tests.spool.keys_file import DAY, KeysFile, at

KEPT = Path(__file__).parents[1] / "data" / "spool_1b4bf5f" / "spool.sqlite"
WINDOW = 35 * DAY


def digest_1(source: str, key: str) -> bytes:
    """As version 1 made it."""
    return blake2b(f"{source}\0{key}".encode(), digest_size=16).digest()


@pytest.fixture
def file_1(tmp_path: Path) -> Path:
    """A folder with a file of version 1, in which sensors have stored 300 keys."""
    with closing(sqlite3.connect(tmp_path / "spool.sqlite", isolation_level=None)) as file:
        file.execute("BEGIN")
        for statement in MIGRATIONS[0]:
            file.execute(statement)
        file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        file.execute("PRAGMA user_version = 1")
        file.executemany("INSERT INTO lanes VALUES (?, 0)", [(lane,) for lane in range(4)])
        file.execute("INSERT INTO sources (name) VALUES ('sensors')")
        file.executemany(
            "INSERT INTO keys VALUES (?, ?)",
            [(digest_1("sensors", f"{number}"), int(TIME.timestamp())) for number in range(300)],
        )
        file.execute("COMMIT")
    return tmp_path


@pytest.fixture
def migrated(file_1: Path) -> Iterator[KeysFile]:
    file = KeysFile(file_1)
    yield file
    file.connection.close()


def test_a_new_file_has_no_such_table(keys_file: KeysFile):
    assert keys_file.state.old_keys is None
    assert not keys_old.has_old_keys(keys_file.connection)


@pytest.mark.parametrize("place", [0, -DAY, None])
def test_a_key_of_version_1_is_known_wherever_it_would_lie(migrated: KeysFile, place):
    old = [at(f"{number}", place) for number in range(300)]
    assert migrated.append(*old, at("new", place), at("new", place)) == 1
    assert migrated.count("keys") == 300
    assert migrated.count("known") == 1
    assert migrated.problems() == []


def test_a_key_of_version_1_may_be_a_former_one(migrated: KeysFile):
    assert migrated.append(at("a", former_keys=("7",)), at("b", former_keys=("700",))) == 1


def test_another_source_has_other_keys(migrated: KeysFile):
    assert migrated.append(at("7", source="towers"), at("7")) == 1


def test_a_renamed_source_knows_its_keys_of_version_1(migrated: KeysFile):
    migrated.connection.execute("UPDATE sources SET name = 'indoor'")
    migrated.state.load(migrated.connection)
    assert migrated.append(at("7", source="indoor"), at("7", source="sensors")) == 1


def test_what_an_earlier_bridge_stored_is_known(tmp_path: Path):
    shutil.copyfile(KEPT, tmp_path / "spool.sqlite")
    with closing(sqlite3.connect(KEPT)) as kept:
        rows = kept.execute(
            "SELECT name, body FROM events JOIN sources ON sources.id = source"
        ).fetchall()
    file = KeysFile(tmp_path)
    events = [(source, decode(body)) for source, body in rows]
    again = [
        Arrival(source, event.key, event.device, b"{}", TIME, (), event.time)
        for source, event in events
    ]
    before = file.count("keys")
    assert before >= len(again) == 394
    assert file.append(*again) == 0
    assert (file.count("keys"), file.count("known")) == (before, 0)
    file.connection.close()


def test_they_go_in_steps_a_window_after_the_migration(
    migrated: KeysFile, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keys_old, "MIN_FILTERED", 0)
    monkeypatch.setattr("bridge.spool.keys_prune.KEYS_A_STEP", 70)
    migrated.running = WINDOW - 1
    migrated.keep_house(WINDOW)
    assert migrated.append(*[at(f"{number}") for number in range(300)]) == 0
    migrated.running = WINDOW
    before = migrated.steps
    migrated.keep_house(WINDOW)
    assert migrated.steps - before == 1 + 5  # a look at how long it ran; 4 * 70 + 20
    assert migrated.state.old_keys is None
    assert not keys_old.has_old_keys(migrated.connection)
    assert migrated.append(at("7")) == 1
    migrated.state.load(migrated.connection)
    assert migrated.append(at("7"), at("8")) == 1


def test_those_that_fill_the_last_step_go_with_their_table(
    migrated: KeysFile, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bridge.spool.keys_prune.KEYS_A_STEP", 100)
    migrated.running = WINDOW
    migrated.keep_house(WINDOW)
    assert not keys_old.has_old_keys(migrated.connection)


def test_a_window_counts_from_when_it_was_migrated(migrated: KeysFile):
    migrated.connection.execute("INSERT INTO meta VALUES ('migrated', ?)", (3 * DAY,))
    migrated.running = WINDOW + 3 * DAY - 1
    migrated.keep_house(WINDOW)
    assert migrated.append(at("7")) == 0
    migrated.running += 1
    migrated.keep_house(WINDOW)
    assert migrated.append(at("7")) == 1


def build(file: KeysFile) -> int:
    """Build the filter; how many steps it took."""
    steps = 1
    while file.state.old_keys.build(file.connection):
        steps += 1
    return steps


def asked_of(file: KeysFile) -> list[str]:
    """From now on, what is asked of the table."""
    asked: list[str] = []
    file.connection.set_trace_callback(
        lambda statement: asked.append(statement) if "FROM keys" in statement else None
    )
    return asked


def test_a_filter_answers_for_the_table_once_it_is_complete(
    migrated: KeysFile, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keys_old, "MIN_FILTERED", 0)
    monkeypatch.setattr(keys_old, "SPARE_BITS", 28)  # no bit is set by chance
    monkeypatch.setattr(keys_old, "KEYS_A_STEP", 70)
    assert migrated.state.old_keys.build(migrated.connection)
    assert migrated.state.old_keys.filter is None
    assert migrated.append(*[at(f"{number}") for number in range(300)]) == 0
    assert build(migrated) == 5
    asked = asked_of(migrated)
    assert migrated.append(*[at(f"new {number}") for number in range(1000)]) == 1000
    assert asked == []
    asked.clear()
    assert migrated.append(*[at(f"{number}") for number in range(300)]) == 0
    assert asked


def test_a_filter_that_has_more_than_the_table_is_as_good(
    migrated: KeysFile, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keys_old, "MIN_FILTERED", 0)
    build(migrated)
    migrated.connection.execute("DELETE FROM keys WHERE digest = ?", (digest_1("sensors", "7"),))
    assert migrated.append(at("7"), at("8")) == 1


def test_few_keys_are_not_worth_a_filter(migrated: KeysFile):
    assert build(migrated) == 1
    assert migrated.state.old_keys.filter is None


def test_the_background_builds_the_filter(migrated: KeysFile, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys_old, "MIN_FILTERED", 0)
    migrated.keep_house(WINDOW)
    assert migrated.state.old_keys.filter is not None
    assert migrated.append(*[at(f"{number}") for number in range(301)]) == 1


DIGESTS = st.binary(min_size=16, max_size=16)


@given(st.sets(DIGESTS, max_size=30), st.sets(DIGESTS, max_size=30), st.integers(0, 10**5))
def test_a_filter_never_hides_a_key(digests: set[bytes], others: set[bytes], count: int):
    made = PrefixFilter(count)
    made.add(b"".join(digest[:4] for digest in digests))
    assert made.among(sorted(digests)) == sorted(digests)
    spare = 32 - min(count.bit_length() + 4, 28)
    beginnings = {int.from_bytes(digest[:4], "big") >> spare for digest in digests}
    assert made.among(sorted(others)) == [
        digest
        for digest in sorted(others)
        if int.from_bytes(digest[:4], "big") >> spare in beginnings
    ]


def test_a_filter_tells_28_bits_apart():
    made = PrefixFilter(10**9)
    made.add(bytes.fromhex("12345670"))
    alike, other, turned = (
        bytes.fromhex(f"{prefix}{'00' * 12}") for prefix in ("1234567f", "12345680", "70563412")
    )
    assert made.among([alike, other, turned]) == [alike]


@pytest.mark.parametrize(
    ("count", "size"), [(300_000, 1 << 20), (10**7, 32 << 20), (10**9, 32 << 20)]
)
def test_a_filter_takes_some_bytes_a_key_and_32_mib_at_most(count: int, size: int):
    assert len(PrefixFilter(count)._bits) == size


def test_a_table_that_is_not_filtered_is_asked(migrated: KeysFile):
    digests = [digest_1("sensors", f"{number}") for number in range(290, 310)]
    assert OldKeys().known(migrated.connection, digests) == set(digests[:10])
