"""Pauses between attempts, and the breaker that all attempts of a sink share."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import backoff
from bridge.flow.delivery.retry import FAILURES_TO_OPEN, MAX_RETRY_AFTER, Breaker


@given(st.integers(1, 10_000), st.floats(0, 0.999))
def test_a_pause_is_never_longer_than_the_cap(failures: int, luck: float):
    assert 0 <= backoff(failures, 1.0, 300.0, lambda: luck) <= 300.0


@pytest.mark.fact("Back-off doubles to a cap, with full jitter", vendor="databoom")
def test_the_ceiling_doubles_with_each_failure():
    assert [backoff(n, 1.0, 300.0, lambda: 1.0) for n in (1, 2, 3, 4)] == [1, 2, 4, 8]


def make_breaker(base: float = 1.0, cap: float = 300.0) -> Breaker:
    return Breaker(base, cap, 60.0, lambda: 1.0)


async def test_one_lost_request_leaves_the_breaker_closed(autojump_clock):
    breaker = make_breaker()
    breaker.failed(None)
    breaker.succeeded()
    breaker.failed(None)
    breaker.failed(None)
    assert breaker.state == "closed"


async def test_an_open_breaker_lets_one_probe_through(autojump_clock):
    breaker = make_breaker()
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(None)
    opened = trio.current_time()
    passed: list[float] = []

    async def attempt() -> None:
        await breaker.permit()
        passed.append(trio.current_time() - opened)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(attempt)
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(100)
        assert passed == [
            4.0
        ]  # the third failure waits four seconds; four others wait for the probe
        breaker.succeeded()
    assert passed == [4.0, 100.0, 100.0, 100.0, 100.0]


async def test_during_an_outage_probes_are_as_far_as_the_backoff_asks(autojump_clock):
    breaker = make_breaker(cap=60.0)
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(None)
    probes = 0
    end = trio.current_time() + 86_400
    while trio.current_time() < end:
        await breaker.permit()
        probes += 1
        breaker.failed(None)
    assert 86_400 / 60 <= probes <= 86_400 / 60 + 10


@pytest.mark.fact("Mistake 9: ignoring Retry-After", vendor="databoom")
async def test_retry_after_closes_the_gate_for_everybody_at_once(autojump_clock):
    breaker = make_breaker()
    breaker.failed(after=30.0)
    began = trio.current_time()
    await breaker.permit()
    assert trio.current_time() - began == 30.0


async def test_a_retry_after_of_a_week_is_capped(autojump_clock):
    breaker = make_breaker()
    breaker.failed(after=7 * 86_400.0)
    began = trio.current_time()
    await breaker.permit()
    assert trio.current_time() - began == MAX_RETRY_AFTER


@pytest.mark.fact("A paused sink is probed at the slowest pace", vendor="databoom")
async def test_a_paused_sink_is_probed_at_its_own_slow_pace(autojump_clock):
    breaker = make_breaker()
    breaker.paused()
    began = trio.current_time()
    await breaker.permit()
    breaker.paused()
    await breaker.permit()
    assert trio.current_time() - began == 120.0


async def test_who_holds_a_lease_probes_and_nobody_takes_another(autojump_clock):
    breaker = make_breaker()
    breaker.paused()
    with breaker.holding(), trio.move_on_after(1000) as waiting:
        await breaker.wait_wanted()
    assert waiting.cancelled_caught
    await breaker.wait_wanted()


async def test_a_lease_is_taken_for_a_probe_if_nobody_has_one(autojump_clock):
    breaker = make_breaker()
    breaker.paused()
    await breaker.wait_wanted(patience=1)
    assert trio.current_time() == 61
    assert await breaker.permit()


async def test_a_probe_is_wanted_once_the_last_lease_is_given_back(autojump_clock):
    breaker = make_breaker()
    breaker.paused()

    async def hold() -> None:
        with breaker.holding():
            await trio.sleep(500)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        await breaker.wait_wanted()
        assert trio.current_time() == 500


async def test_whether_an_attempt_is_a_probe_is_told(autojump_clock):
    breaker = make_breaker()
    assert not await breaker.permit()
    breaker.paused()
    assert await breaker.permit()


async def test_a_probe_that_nobody_makes_is_left_to_others(autojump_clock):
    breaker = make_breaker()
    breaker.paused()
    assert await breaker.permit()
    breaker.pass_on()
    with trio.fail_after(1):
        assert await breaker.permit()
