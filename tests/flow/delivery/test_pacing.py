"""How often a lane goes."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve

from bridge.api import Pause, Retry
from bridge.flow.delivery.decisions import Decision, DeviceVerdict, Next
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
        (Next.PLUGIN_FAILS, 20, 300),
        (Next.SINK_PAUSES, 9, 0),  # the breaker holds it
    ],
)
def test_a_lane_waits_as_what_follows_says(follows: Next, failures: int, seconds: float):
    assert POLICY.wait(Decision(follows), failures, lambda: 1.0) == seconds


@pytest.mark.parametrize(
    ("verdict", "attempts", "seconds"),
    [
        (Retry("busy", scope="device"), 1, 1),
        (Retry("busy", scope="device"), 5, 16),
        (Retry("busy", scope="device"), 100, 3600),
        (Retry("busy", scope="device", after=90), 1, 90),
        (Retry("busy", scope="device", after=10**6), 1, 3600),
        (Pause("unknown", scope="device"), 1, 120),
        (Pause("unknown", scope="device"), 9, 256),
        (Pause("unknown", scope="device"), 100, 3600),
    ],
)
def test_a_device_waits_longer_each_time_up_to_an_hour(
    verdict: DeviceVerdict, attempts: int, seconds: float
):
    assert POLICY.device_wait(verdict, attempts, lambda: 1.0) == seconds


def test_a_device_is_tried_hourly_however_slow_the_probes():
    slow = evolve(POLICY, pause_probe=86_400)
    assert slow.device_wait(Pause("unknown", scope="device"), 1, lambda: 1.0) == 3600
