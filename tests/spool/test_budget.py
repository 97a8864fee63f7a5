"""The budget: what events may use, and what gives way before a source is refused."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bridge.spool.budget import GIVE_WAY, SHARE, Memory, decide, limit_of
from bridge.spool.disk import Disk

MIB = 1 << 20
GIB = 1 << 30
sizes = st.integers(0, 20 * GIB)
memories = st.dictionaries(st.sampled_from(Memory), sizes)


def limit(free: int, *, max_size: int = 10 * GIB, explicit: bool = False, own: int = 0) -> int:
    """Of a disk of 200 MiB."""
    disk = Disk(200 * MIB, free, None)
    return limit_of(max_size, explicit=explicit, disk=disk, own=own, reserve=8 * MIB, log=16 * MIB)


def test_the_default_is_cut_to_the_disk():
    assert limit(200 * MIB) == (200 - 20 - 8 - 16) * MIB
    assert limit(50 * MIB, own=150 * MIB) == (200 - 20 - 8 - 16) * MIB


def test_one_that_somebody_wrote_may_use_what_is_left_to_others():
    assert limit(200 * MIB, explicit=True) == (200 - 8 - 16) * MIB
    assert limit(200 * MIB, explicit=True, max_size=170 * MIB) == 170 * MIB


def test_a_disk_without_room_leaves_nothing_and_never_less():
    assert limit(10 * MIB) == 0


def test_files_that_may_not_grow_bound_it_too():
    disk = Disk(200 * GIB, 100 * GIB, 100 * MIB)
    figures = {"explicit": False, "disk": disk, "own": 0, "reserve": 8 * MIB, "log": 16 * MIB}
    assert limit_of(10 * GIB, **figures) == 84 * MIB


@given(sizes, sizes, sizes, st.booleans(), sizes)
def test_the_budget_never_takes_what_the_disk_has_not(
    size: int, free: int, own: int, explicit: bool, max_size: int
):
    disk = Disk(size, min(size, free), None)
    found = limit_of(max_size, explicit=explicit, disk=disk, own=own, reserve=8 * MIB, log=16 * MIB)
    assert 0 <= found <= max_size
    assert found == 0 or found + 8 * MIB + 16 * MIB <= disk.free + own
    if not explicit and found:
        assert found + int(size * 0.1) <= disk.free + own


def test_nothing_gives_way_while_there_is_room():
    fifth = dict.fromkeys(Memory, 20)
    assert decide(100, 97, fifth).give_way == ()


def test_a_memory_above_its_fifth_gives_way_with_room_or_without():
    assert decide(1000, 300, {Memory.KEYS: 250}).give_way == ((Memory.KEYS, 50),)


def test_memories_give_way_in_their_order():
    held = {Memory.KEPT: 10, Memory.ORPHANS: 10, Memory.LETTERS: 10, Memory.KEYS: 10}
    decision = decide(100, 100, held, wanted=20)
    assert decision.give_way == ((Memory.KEPT, 10), (Memory.ORPHANS, 10), (Memory.LETTERS, 3))
    assert not decision.refuse


def test_what_is_owed_fills_it_to_the_end_and_then_refuses():
    assert not decide(100, 99, {}, wanted=1).refuse
    assert decide(100, 99, {}, wanted=2).refuse
    assert decide(100, 99, {Memory.KEYS: 5}, wanted=7).refuse
    assert not decide(100, 99, {Memory.KEYS: 5}, wanted=6).refuse


@given(sizes, sizes, memories, sizes)
def test_a_decision_takes_no_more_than_there_is(
    limit: int, owed: int, held: dict[Memory, int], wanted: int
):
    used = owed + sum(held.values())
    decision = decide(limit, used, held, wanted=wanted)
    going = dict(decision.give_way)
    assert all(0 < size <= held[memory] for memory, size in decision.give_way)
    assert list(going) == [memory for memory in Memory if memory in going]
    for memory, size in held.items():
        assert size - going.get(memory, 0) <= limit // SHARE
    left = used + wanted - sum(going.values())
    # Refused only if everything is gone that may go.
    assert decision.refuse == (left > limit)
    if decision.refuse:
        assert going == {memory: size for memory, size in held.items() if size}
    # The next memory only when the one before has nothing left above its share.
    order = list(Memory)
    for before, after in pairwise(order):
        more = going.get(after, 0) > max(0, held.get(after, 0) - limit // SHARE)
        assert not more or going.get(before, 0) == held.get(before, 0)
    assert left <= int(limit * GIVE_WAY) or going == {m: s for m, s in held.items() if s}


@given(sizes, sizes, memories, sizes)
def test_what_was_given_way_is_enough(limit: int, owed: int, held: dict[Memory, int], wanted: int):
    used = owed + sum(held.values())
    decision = decide(limit, used, held, wanted=wanted)
    going = dict(decision.give_way)
    after = {memory: size - going.get(memory, 0) for memory, size in held.items()}
    again = decide(limit, used - sum(going.values()), after, wanted=wanted)
    assert again.give_way == ()
    assert again.refuse == decision.refuse
