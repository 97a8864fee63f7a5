"""One lane of a sink: what a verdict does to the events of a request."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Batch, Outcome, Pause, Reject, Retry, Stored
from bridge.api.spool import DeadLetter
from bridge.flow.delivery.lease import ConsecutiveRejects, LeaseProgress, Next
from tests.flow.conftest import START, make_stored

Attempt = Callable[[Batch], Outcome | None]


class Desk:
    """Drives a LeaseProgress as a lane does, without waiting: keeps what was taken, in
    order, and what was settled.
    """

    def __init__(
        self, events: tuple[Stored, ...], *, one_device: bool = False, limit: int = 0
    ) -> None:
        self.events = events
        self.progress = LeaseProgress(
            events, one_device=one_device, rejects=ConsecutiveRejects(limit), now=lambda: START
        )
        self.taken: list[Stored] = []
        self.settled = self.filtered = self.requests = 0
        self.dead: dict[int, DeadLetter] = {}
        self.waits: list[str] = []

    def run(self, attempt: Attempt, most: int = 10_000) -> None:
        while (group := self.progress.next_group()) is not None and self.requests < most:
            self.requests += 1
            batch = self.progress.batch(group)
            try:
                result = attempt(batch)
                self.taken += batch.events
            except Exception as exc:
                result = exc
            decision = self.progress.decide(group, result)
            if decision.next is not Next.GO_ON:
                self.waits.append(decision.why)
            self.settle()

    def settle(self) -> None:
        count, filtered, dead = self.progress.settlement()
        for letter in dead:
            self.dead[self.settled + letter.index] = letter
        self.settled += count
        self.filtered += filtered
        self.progress.settled(count)


def refuse(poison: Collection[int]) -> Attempt:
    def attempt(batch: Batch) -> None:
        if any(stored.sequence in poison for stored in batch.events):
            raise Reject("bad value", status=422)

    return attempt


def test_of_500_events_one_is_refused_and_499_are_taken():
    desk = Desk(make_stored(["d"] * 500))
    desk.run(refuse({123}))
    assert list(desk.dead) == [122]
    letter = desk.dead[122]
    assert (letter.reason, letter.status) == ("bad value", 422)
    assert [stored.sequence for stored in desk.taken] == [n for n in range(1, 501) if n != 123]
    assert desk.settled == 500
    assert desk.requests <= 1 + 2 * math.ceil(math.log2(500))


@given(
    devices=st.lists(st.sampled_from("abcd"), min_size=1, max_size=40),
    poison=st.sets(st.integers(1, 40)),
    trouble=st.lists(st.sampled_from(["retry", "pause", "device", "ok"]), max_size=30),
    one_device=st.booleans(),
)
def test_whatever_a_sink_says_each_event_ends_once_in_order(
    devices: list[str], poison: set[int], trouble: list[str], one_device: bool
):
    desk = Desk(make_stored(devices), one_device=one_device)
    script = iter(trouble)

    def attempt(batch: Batch) -> None:
        match next(script, "ok"):
            case "retry":
                raise Retry("away")
            case "pause":
                raise Pause("token")
            case "device":
                raise Pause("unknown device", device_only=True)
        if one_device:
            assert len({stored.event.device for stored in batch.events}) == 1
        refuse(poison)(batch)

    desk.run(attempt)
    assert desk.settled == len(devices)
    taken = [stored.sequence for stored in desk.taken]
    dead = [index + 1 for index in desk.dead]
    assert sorted(taken + dead) == list(range(1, len(devices) + 1))
    assert set(dead) == poison & set(range(1, len(devices) + 1))
    for device in set(devices):
        order = [stored.sequence for stored in desk.taken if stored.event.device == device]
        assert order == sorted(order)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_retried_request_holds_the_same_events_again(size: int):
    desk = Desk(make_stored(["d"] * size))
    seen: list[tuple[list[int], int]] = []

    def attempt(batch: Batch) -> None:
        seen.append(([stored.sequence for stored in batch.events], batch.attempt))
        if len(seen) < 4:
            raise Retry("away")

    desk.run(attempt)
    assert seen == [(list(range(1, size + 1)), n) for n in (1, 2, 3, 4)]


@pytest.mark.fact(
    "If every single point is refused the sink pauses instead of dead-lettering the queue",
    vendor="databoom",
)
def test_refusals_of_everything_pause_and_condemn_nothing():
    desk = Desk(make_stored(["d"] * 100), limit=20)
    desk.run(refuse(range(1, 101)), most=500)
    assert desk.dead == {}
    assert desk.settled == 0
    assert "refused 20 events in a row" in desk.waits[0]
    desk.run(lambda batch: None)
    assert [stored.sequence for stored in desk.taken] == list(range(1, 101))


def test_many_bad_events_among_good_ones_make_no_pause():
    poison = set(range(2, 200, 2))
    desk = Desk(make_stored(["d"] * 200), limit=20)
    desk.run(refuse(poison))
    assert not desk.waits
    assert {index + 1 for index in desk.dead} == poison


@pytest.mark.fact("A blocked device does not block the others", vendor="databoom")
def test_a_device_that_must_wait_does_not_hold_up_the_others():
    desk = Desk(make_stored(["a", "b", "a", "c"]), one_device=True)

    def attempt(batch: Batch) -> None:
        if batch.events[0].event.device == "a":
            raise Pause("unknown device", device_only=True)

    desk.run(attempt, most=3)
    assert [stored.event.device for stored in desk.taken] == ["b", "c"]
    assert desk.waits == []
    desk.run(attempt, most=4)
    assert desk.waits == ["unknown device"]
    assert desk.settled == 0  # the first event of the lease is still owed
    desk.run(lambda batch: None)
    assert desk.settled == 4


def test_a_device_that_always_fails_does_not_hold_up_the_others():
    desk = Desk(make_stored(["a", "b"]), one_device=True)

    def attempt(batch: Batch) -> None:
        if batch.events[0].event.device == "a":
            raise Retry("500")

    desk.run(attempt, most=10)
    assert [stored.event.device for stored in desk.taken] == ["b"]


def test_verdicts_that_name_the_culprits_need_no_bisecting():
    desk = Desk(make_stored(["d"] * 5))

    def attempt(batch: Batch) -> None:
        raise Reject("bad value", indexes=[1, 3])

    desk.run(attempt)
    assert sorted(desk.dead) == [1, 3]
    assert desk.requests == 1
    assert desk.settled == 5


def test_an_event_that_crashes_the_plugin_becomes_a_dead_letter():
    desk = Desk(make_stored(["d"] * 8))

    def attempt(batch: Batch) -> None:
        if any(stored.sequence == 5 for stored in batch.events):
            raise ZeroDivisionError("division by zero")

    desk.run(attempt)
    assert list(desk.dead) == [4]
    assert "ZeroDivisionError" in desk.dead[4].reason
    assert len(desk.taken) == 7


def test_events_without_anything_for_a_sink_count_as_filtered():
    desk = Desk(make_stored(["d"] * 3))
    desk.run(lambda batch: Outcome({0, 2}))
    assert (desk.settled, desk.filtered) == (3, 2)


def test_what_is_done_in_front_is_settled_while_the_rest_waits():
    desk = Desk(make_stored(["a", "a", "b"]), one_device=True)

    def attempt(batch: Batch) -> None:
        if batch.events[0].event.device == "b":
            raise Retry("away")

    desk.run(attempt, most=2)
    assert desk.settled == 2


def test_the_time_of_a_dead_letter_is_when_it_was_given_up():
    later: datetime = START.replace(year=2027)
    progress = LeaseProgress(
        make_stored(["d"]), one_device=False, rejects=ConsecutiveRejects(0), now=lambda: later
    )
    group = progress.next_group()
    assert group is not None
    progress.batch(group)
    progress.decide(group, Reject("no"))
    _, _, (letter,) = progress.settlement()
    assert (letter.time, letter.attempts) == (later, 1)
