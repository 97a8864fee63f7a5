"""Pauses between attempts, and the breaker that all attempts of a sink share."""

from __future__ import annotations

import pytest
import trio
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
