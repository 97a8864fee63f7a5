"""How often a lane goes."""

from __future__ import annotations

import pytest
import trio

from bridge.flow.delivery.lease import Decision, Next
from bridge.flow.delivery.pacing import MAX_REST, REST, Policy, Stopwatch

POLICY = Policy(
    batch=100,
    in_flight=4,
    timeout=30,
    linger=0,
    retry_base=1,
    retry_cap=300,
    pause_probe=120,
    reject_limit=20,
    one_device=False,
)


async def test_a_lane_rests_some_times_as_long_as_its_delivery_took(autojump_clock):
    stopwatch = Stopwatch(rests=True)
    await trio.sleep(0.01)
    assert stopwatch.rest() == pytest.approx(REST * 0.01)
    await trio.sleep(10)
    assert stopwatch.rest() == MAX_REST


async def test_a_lane_with_a_full_lease_does_not_rest(autojump_clock):
    stopwatch = Stopwatch(rests=False)
    await trio.sleep(0.01)
    assert stopwatch.rest() == 0


@pytest.mark.parametrize(
    ("follows", "failures", "seconds"),
    [
        (Next.SINK_FAILS, 1, 1),
        (Next.SINK_FAILS, 4, 8),
        (Next.DEVICE_FAILS, 20, 300),
        (Next.DEVICE_PAUSES, 1, 120),
        (Next.SINK_PAUSES, 9, 0),  # the breaker holds it
    ],
)
def test_a_lane_waits_as_what_follows_says(follows: Next, failures: int, seconds: float):
    assert POLICY.wait(Decision(follows), failures, lambda: 1.0) == seconds
