"""One lease of a sink: what a verdict does to the events of a request."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from datetime import datetime

import pytest
from attrs import define, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Batch, Outcome, Pause, Reject, Retry, Stored
from bridge.api.spool import DeadLetter, Parking
from bridge.flow.delivery.decisions import GO_ON, Decision, Front, Next
from bridge.flow.delivery.lease import LeaseProgress
from bridge.flow.delivery.refusals import Refusals
from tests.flow.conftest import START, make_stored

Attempt = Callable[[Batch], Outcome | None]


@frozen
class FakeLease:
    """What a LeaseProgress asks of a lease."""

    events: tuple[Stored, ...]
    parked: bool = False
    replay: bool = False
    attempts: int = 0
    lane: int = 0


@define(eq=False)
class Desk:
    """Drives leases of the same events as a lane does, without waiting: keeps what was
    taken, in order, and what was settled.
    """

    lease: FakeLease
    refusals: Refusals
    one_device: bool = False
    now: Callable[[], datetime] = lambda: START
    taken: list[Stored] = field(factory=list)
    settled: int = 0
    filtered: int = 0
    requests: int = 0
    dead: dict[int, DeadLetter] = field(factory=dict)
    aside: dict[int, Parking] = field(factory=dict)
    """Of a lane: by index, why an event was parked."""
    parkings: list[Parking] = field(factory=list)
    waits: list[Decision] = field(factory=list)
    left: tuple[Stored, ...] = ()
    parked: set[str] = field(factory=set)
    """Devices that the present lease parked."""
    progress: LeaseProgress = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.lend()

    def lend(self) -> None:
        """Lend what is not settled."""
        self.left = self.lease.events[self.settled :]
        self.parked.clear()
        self.progress = LeaseProgress(
            FakeLease(self.left, self.lease.parked, self.lease.replay, self.lease.attempts),
            one_device=self.one_device,
            refusals=self.refusals,
            wait=lambda verdict, attempts: 100.0 * attempts,
            now=self.now,
        )

    def run(self, attempt: Attempt, most: int = 10_000) -> None:
        """Deliver one lease, to its end or with so many requests."""
        while most and (group := self.progress.next_group()) is not None:
            most -= 1
            self.requests += 1
            batch = self.progress.batch(group)
            try:
                result = attempt(batch)
                self.taken += batch.events
            except Exception as exc:
                result = exc
            decision = self.progress.decide(group, result)
            if decision != GO_ON:
                self.waits.append(decision)
            self.settle(sure=False)
        if self.progress.unsure:
            self.settle(sure=True)

    def check(self, front: Front) -> None:
        """Check what a spool asks of a settlement that parks."""
        aside = [index for each in front.park for index in each.indexes]
        ends = [*aside, *(letter.index for letter in front.dead)]
        assert len(set(ends)) == len(ends) <= front.count - front.filtered
        assert len({each.device for each in front.park}) == len(front.park)
        for each in front.park:
            assert {self.left[index].event.device for index in each.indexes} == {each.device}
        for index in range(front.count):  # once a device is parked, nothing of it is delivered
            device = self.left[index].event.device
            if index in aside:
                self.parked.add(device)
            assert device not in self.parked or index in ends

    def settle(self, *, sure: bool) -> None:
        front = self.progress.settlement(sure=sure)
        if not self.lease.parked:
            self.check(front)
        for letter in front.dead:
            self.dead[self.settled + letter.index] = letter
        for parking in front.park:
            self.parkings.append(parking)
            self.aside.update({self.settled + index: parking for index in parking.indexes})
        self.settled += front.count
        self.left = self.left[front.count :]
        self.filtered += front.filtered
        self.progress.settled(front)


def make_desk(
    devices: Collection[str],
    *,
    one_device: bool = False,
    limit: int = 0,
    refusals: Refusals | None = None,
    parked: bool = False,
    replay: bool = False,
    attempts: int = 0,
) -> Desk:
    lease = FakeLease(make_stored(list(devices)), parked, replay, attempts)
    return Desk(lease, refusals or Refusals(limit), one_device)


def numbered(count: int) -> list[str]:
    return [f"d{number}" for number in range(count)]


def refuse(poison: Collection[int]) -> Attempt:
    def attempt(batch: Batch) -> None:
        if any(stored.sequence in poison for stored in batch.events):
            raise Reject("bad value", status=422)

    return attempt


def unknown(*devices: str) -> Attempt:
    def attempt(batch: Batch) -> None:
        if any(stored.event.device in devices for stored in batch.events):
            raise Pause("unknown device", scope="device")

    return attempt


def sequences(stored: Collection[Stored]) -> list[int]:
    return [each.sequence for each in stored]


def test_of_500_events_one_is_refused_and_499_are_taken():
    desk = make_desk(["d"] * 500)
    desk.run(refuse({123}))
    assert list(desk.dead) == [122]
    letter = desk.dead[122]
    assert (letter.reason, letter.status) == ("bad value", 422)
    assert sequences(desk.taken) == [n for n in range(1, 501) if n != 123]
    assert desk.settled == 500
    assert desk.requests <= 1 + 2 * math.ceil(math.log2(500))


@given(
    devices=st.lists(st.sampled_from("abcd"), min_size=1, max_size=40),
    poison=st.sets(st.integers(1, 40)),
    trouble=st.lists(
        st.sampled_from(["retry", "pause", "device", "device retry", "crash", "ok"]), max_size=30
    ),
    one_device=st.booleans(),
    limit=st.integers(0, 3),
)
def test_whatever_a_sink_says_each_event_ends_once_in_order(
    devices: list[str], poison: set[int], trouble: list[str], one_device: bool, limit: int
):
    # Each settlement is checked by the rules of a spool.
    desk = make_desk(devices, one_device=one_device, limit=limit)
    script = iter(trouble)

    def attempt(batch: Batch) -> None:
        if one_device:
            assert len({stored.event.device for stored in batch.events}) == 1
        match next(script, "ok"):
            case "retry":
                raise Retry("away")
            case "pause":
                raise Pause("token")
            case "device":
                raise Pause("unknown device", scope="device")
            case "device retry":
                raise Retry("busy", scope="device")
            case "crash":
                raise ZeroDivisionError
        refuse(poison)(batch)

    desk.run(attempt, most=1000)

    # With a limit it may be the whole sink that refuses: then the lease ends early.
    assert desk.settled == len(devices) or limit
    delivered = sequences(desk.taken)
    dead = {index + 1 for index in desk.dead}
    aside = {index + 1 for index in desk.aside}
    assert len(set(delivered)) == len(delivered)
    assert set(range(1, desk.settled + 1)) <= {*delivered, *dead, *aside}
    assert {*dead, *aside} <= set(range(1, desk.settled + 1))
    assert not dead & aside
    assert {*dead, *aside}.isdisjoint(delivered)
    for device in set(devices):
        order = [n for n in delivered if devices[n - 1] == device]
        assert order == sorted(order)
        waits = [n for n in aside if devices[n - 1] == device]
        assert max(order, default=0) < min(waits, default=len(devices) + 1)


@given(
    devices=st.lists(st.sampled_from("abcd"), min_size=1, max_size=40),
    waiting=st.sets(st.sampled_from("abcd")),
    poison=st.sets(st.integers(1, 40)),
    one_device=st.booleans(),
)
def test_exactly_the_devices_that_wait_are_parked_whole(
    devices: list[str], waiting: set[str], poison: set[int], one_device: bool
):
    desk = make_desk(devices, one_device=one_device)

    def attempt(batch: Batch) -> None:
        unknown(*waiting)(batch)
        refuse(poison)(batch)

    desk.run(attempt)
    expected = [index for index, device in enumerate(devices) if device in waiting]
    assert sorted(desk.aside) == expected
    assert desk.settled == len(devices)
    assert not desk.waits
    others = [n for n in range(1, len(devices) + 1) if n - 1 not in expected]
    assert sorted(sequences(desk.taken)) == [n for n in others if n not in poison]
    assert {index + 1 for index in desk.dead} == poison & set(others)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_retried_request_holds_the_same_events_again(size: int):
    desk = make_desk(["d"] * size)
    seen: list[tuple[list[int], int]] = []

    def attempt(batch: Batch) -> None:
        seen.append((sequences(batch.events), batch.attempt))
        if len(seen) < 4:
            raise Retry("away")

    desk.run(attempt)
    assert seen == [(list(range(1, size + 1)), n) for n in (1, 2, 3, 4)]


@pytest.mark.fact(
    "If every single point is refused the sink pauses instead of dead-lettering the queue",
    vendor="databoom",
)
@pytest.mark.parametrize("one_device", [True, False])
def test_refusals_of_everything_pause_and_condemn_nothing(one_device: bool):
    desk = make_desk(numbered(100), limit=20, one_device=one_device)
    for _ in range(3):
        desk.run(refuse(range(1, 101)))
        desk.lend()
    assert (desk.dead, desk.settled) == ({}, 0)
    assert {decision.next for decision in desk.waits} == {Next.SINK_PAUSES}
    assert "refused 20 devices in a row" in desk.waits[0].why
    desk.run(lambda batch: None)
    assert sequences(desk.taken) == list(range(1, 101))


def test_devices_that_all_have_to_wait_pause_and_park_nobody():
    desk = make_desk(numbered(100), limit=20, one_device=True)
    for _ in range(3):
        desk.run(unknown(*numbered(100)))
        desk.lend()
    assert (desk.parkings, desk.settled) == ([], 0)
    assert "refused 20 devices in a row" in desk.waits[0].why


def test_a_thousand_bad_events_of_one_device_are_no_pause():
    desk = make_desk(["d"] * 1000, limit=20)
    desk.run(refuse(range(1, 1001)))
    assert not desk.waits
    assert len(desk.dead) == 1000


def test_one_device_that_waits_again_and_again_is_no_pause():
    refusals = Refusals(2)
    for _ in range(3):
        desk = make_desk(["a"], refusals=refusals, one_device=True)
        desk.run(unknown("a"))
        assert desk.settled == 1
    assert not refusals.systemic


def test_many_bad_events_among_good_ones_make_no_pause():
    poison = set(range(2, 200, 2))
    desk = make_desk(numbered(200), limit=20)
    desk.run(refuse(poison))
    assert not desk.waits
    assert {index + 1 for index in desk.dead} == poison


def test_a_probe_of_a_sink_that_refuses_all_finds_who_is_well():
    bad, good = numbered(15), "z"
    refusals = Refusals(20)
    refusals.add([f"other{number}" for number in range(20)])
    desk = make_desk([*bad, good], refusals=refusals, one_device=True)
    desk.run(unknown(*bad))
    assert not desk.waits
    assert [stored.event.device for stored in desk.taken] == [good]
    assert sorted(desk.aside) == list(range(15))
    assert not refusals.systemic


def test_what_a_probe_was_refused_is_asked_again_once_one_is_taken():
    refusals = Refusals(20)
    refusals.add([f"other{number}" for number in range(20)])
    desk = make_desk(["a", "b", "a", "c", "b"], refusals=refusals, one_device=True)
    mended = False

    def attempt(batch: Batch) -> None:
        nonlocal mended
        mended = mended or batch.events[0].event.device == "b"
        if not mended or batch.events[0].sequence == 4:
            raise Reject("date format")

    desk.run(attempt)
    assert sequences(desk.taken) == [2, 5, 1, 3]
    assert (list(desk.dead), desk.settled) == ([3], 5)


def test_a_probe_of_a_sink_that_refuses_all_is_bounded():
    refusals = Refusals(20)
    refusals.add([f"other{number}" for number in range(20)])
    desk = make_desk(numbered(100), refusals=refusals, one_device=True)
    desk.run(unknown(*numbered(100)))
    assert (desk.requests, desk.settled) == (20, 0)
    assert [decision.next for decision in desk.waits] == [Next.SINK_PAUSES]


def test_too_many_refusals_in_other_lanes_reprieve_this_one():
    refusals = Refusals(3)
    desk = make_desk(["a", "b", "c"], refusals=refusals, one_device=True)

    def attempt(batch: Batch) -> None:
        if batch.events[0].event.device == "a":
            raise Reject("no")
        unknown("b")(batch)

    desk.run(attempt, most=2)
    assert desk.settled == 0  # nothing was taken since
    refusals.add(["x"])
    desk.run(attempt)
    assert desk.progress.finished
    assert (desk.settled, desk.dead, desk.parkings, desk.requests) == (0, {}, [], 2)


def test_a_letter_that_stands_outlives_a_pause():
    desk = make_desk(["a", "b", "a", "a", "a"], limit=2, one_device=True)
    desk.run(refuse({2, 3, 5}), most=8)
    assert [decision.next for decision in desk.waits] == [Next.SINK_PAUSES]
    assert (desk.settled, sequences(desk.taken)) == (1, [1, 4])
    desk.run(lambda batch: None)  # 3 was refused before 4 was taken, and stays so
    assert (desk.settled, sorted(desk.dead), sequences(desk.taken)) == (5, [2], [1, 4, 2, 5])


def test_a_filtered_event_ends_no_row_of_refusals():
    refusals = Refusals(3)
    refusals.add(["x", "y", "z"])
    desk = make_desk(["a", "b"], refusals=refusals, one_device=True)

    def attempt(batch: Batch) -> Outcome:
        if batch.events[0].event.device == "a":
            raise Reject("no")
        return Outcome({0})

    desk.run(attempt)
    assert (desk.settled, desk.dead) == (0, {})


@pytest.mark.fact("A blocked device does not block the others", vendor="databoom")
def test_a_device_that_must_wait_is_parked_and_the_others_go_on():
    desk = make_desk(["a", "b", "a", "c"], one_device=True)
    desk.run(unknown("a"))
    assert [stored.event.device for stored in desk.taken] == ["b", "c"]
    assert (desk.waits, desk.settled) == ([], 4)
    assert desk.parkings == [Parking("a", (0, 2), "unknown device", 100.0, 1)]


def test_events_of_a_parked_device_are_parked_in_later_settlements():
    desk = make_desk(["b", "a", "c", "a"], one_device=True)

    def attempt(batch: Batch) -> None:
        unknown("a")(batch)
        if batch.events[0].event.device == "c":
            raise Retry("away")

    desk.run(attempt, most=4)
    assert (desk.settled, desk.aside) == (1, {})  # nothing was taken after it
    desk.run(lambda batch: None)
    assert sorted(desk.aside) == [1, 3]


def test_after_a_refusal_in_halves_all_of_a_waiting_device_is_parked():
    desk = make_desk(["a", "b", "a", "b"])

    def attempt(batch: Batch) -> None:
        if len(batch.events) == 4:
            raise Reject("one of them")
        unknown("a")(batch)

    desk.run(attempt)
    assert sorted(desk.aside) == [0, 2]
    assert sequences(desk.taken) == [2, 4]


def test_of_many_devices_in_a_request_the_one_that_waits_is_found():
    desk = make_desk(numbered(64))
    desk.run(unknown("d40"))
    assert list(desk.aside) == [40]
    assert [(each.device, each.attempts) for each in desk.parkings] == [("d40", 7)]
    assert len(desk.taken) == 63
    assert desk.requests == 1 + 2 * 6


def test_a_sink_that_is_away_parks_nobody():
    desk = make_desk(["a", "b"], one_device=True)

    def attempt(batch: Batch) -> None:
        raise Retry("away")

    desk.run(attempt, most=10)
    assert (desk.settled, desk.parkings) == (0, [])


def test_a_device_that_always_fails_does_not_hold_up_the_others():
    desk = make_desk(["a", "b"], one_device=True)

    def attempt(batch: Batch) -> None:
        if batch.events[0].event.device == "a":
            raise Retry("500")

    desk.run(attempt, most=10)
    assert [stored.event.device for stored in desk.taken] == ["b"]


def test_a_parked_device_that_still_waits_is_put_off():
    desk = make_desk(["a", "a"], parked=True, attempts=4, limit=1)
    seen: list[int] = []

    def attempt(batch: Batch) -> None:
        seen.append(batch.attempt)
        unknown("a")(batch)

    desk.run(attempt)
    assert (seen, desk.settled, desk.waits) == ([5], 0, [])
    assert desk.parkings == [Parking("a", (), "unknown device", 500.0, 5)]


def test_a_parked_device_that_gets_on_begins_to_count_again():
    desk = make_desk(["a"] * 4, parked=True, attempts=4)

    def attempt(batch: Batch) -> None:
        if len(batch.events) == 4:
            raise Reject("one of them")
        if batch.events[0].sequence == 3:
            raise Retry("busy", scope="device")

    desk.run(attempt)
    assert sequences(desk.taken) == [1, 2]
    assert desk.parkings == [Parking("a", (), "busy", 200.0, 2)]
    assert desk.settled == 2


def test_an_event_that_waited_apart_is_refused_with_all_its_attempts():
    desk = make_desk(["a", "a"], parked=True, attempts=4)
    desk.run(refuse({1, 2}))
    assert [letter.attempts for letter in desk.dead.values()] == [6, 2]


def test_a_replay_that_is_refused_again_stops_and_pauses_nothing():
    refusals = Refusals(3)
    for sequence in range(2):
        desk = make_desk([f"d{sequence}"], refusals=refusals, parked=True, replay=True)
        desk.run(refuse({1}))
        assert (len(desk.dead), desk.waits) == (1, [])
    desk = make_desk(["d9"] * 8, refusals=refusals, parked=True, replay=True)
    desk.run(refuse(range(9)))
    assert [decision.next for decision in desk.waits] == [Next.REPLAY_STOPS]
    assert desk.waits[0].why == "3 events in a row were refused again: bad value"
    assert (desk.settled, sorted(desk.dead)) == (1, [0])  # the others stay as they were
    assert not refusals.systemic


def test_a_replay_that_is_taken_now_and_then_does_not_stop():
    desk = make_desk(["d"] * 100, limit=3, parked=True, replay=True)
    desk.run(refuse([n for n in range(101) if n % 3]))
    assert not desk.waits
    assert len(desk.dead) == 67


def test_what_comes_again_after_a_rewind_neither_stops_nor_pauses():
    desk = make_desk(numbered(10), limit=3, replay=True)
    replays: list[bool] = []

    def attempt(batch: Batch) -> None:
        replays.append(batch.replay)
        raise Reject("too old")

    desk.run(attempt)
    assert (len(desk.dead), desk.waits) == (10, [])
    assert set(replays) == {True}


def test_a_replay_is_refused_for_nothing_by_a_sink_that_refuses_all():
    refusals = Refusals(3)
    refusals.add(["x", "y", "z"])
    desk = make_desk(["a"], refusals=refusals, parked=True, replay=True)
    desk.run(refuse({1}))
    assert (desk.settled, [decision.next for decision in desk.waits]) == (0, [Next.SINK_PAUSES])


def test_verdicts_that_name_the_culprits_need_no_bisecting():
    desk = make_desk(["d"] * 5)

    def attempt(batch: Batch) -> None:
        raise Reject("bad value", indexes=[1, 3])

    desk.run(attempt)
    assert sorted(desk.dead) == [1, 3]
    assert desk.requests == 1
    assert desk.settled == 5


def test_an_event_that_crashes_the_plugin_becomes_a_dead_letter():
    desk = make_desk(["d"] * 8)

    def attempt(batch: Batch) -> None:
        if any(stored.sequence == 5 for stored in batch.events):
            raise ZeroDivisionError("division by zero")

    desk.run(attempt)
    assert list(desk.dead) == [4]
    assert "ZeroDivisionError" in desk.dead[4].reason
    assert len(desk.taken) == 7
    assert {decision.next for decision in desk.waits} == {Next.PLUGIN_FAILS}


def test_events_without_anything_for_a_sink_count_as_filtered():
    desk = make_desk(["d"] * 3)
    desk.run(lambda batch: Outcome({0, 2}))
    assert (desk.settled, desk.filtered) == (3, 2)


def test_what_is_done_in_front_is_settled_while_the_rest_waits():
    desk = make_desk(["a", "a", "b"], one_device=True)

    def attempt(batch: Batch) -> None:
        if batch.events[0].event.device == "b":
            raise Retry("away")

    desk.run(attempt, most=2)
    assert desk.settled == 2


def test_the_time_of_a_dead_letter_is_when_it_was_given_up():
    later: datetime = START.replace(year=2027)
    desk = Desk(FakeLease(make_stored(["d"])), Refusals(0), now=lambda: later)
    desk.run(refuse({1}))
    assert (desk.dead[0].time, desk.dead[0].attempts) == (later, 1)
