"""What Databoom has shown of itself: sizes. Devices are tested against the stand-in, in
test_sink.py.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from bridge.testing.fakes import FixedClock
from bridge_plugins.databoom.limits import FittingSize


@pytest.mark.fact("It grows back, doubled hour by hour")
def test_a_refused_size_is_halved_and_doubles_hour_by_hour_up_to_the_setting():
    clock = FixedClock()
    fitting = FittingSize(1000, clock)
    assert fitting.bytes == 1000
    fitting.refused(800)
    fitting.refused(400)
    sizes = []
    for _ in range(5):
        sizes.append(fitting.bytes)
        clock.move(timedelta(minutes=59, seconds=59))
        sizes.append(fitting.bytes)
        clock.move(timedelta(seconds=1))
    assert sizes == [200, 200, 400, 400, 800, 800, 1000, 1000, 1000, 1000]


def test_a_size_never_grows_by_a_refusal_and_never_reaches_nothing():
    fitting = FittingSize(1000, FixedClock())
    fitting.refused(100)
    fitting.refused(900)
    assert fitting.bytes == 50
    for _ in range(20):
        fitting.refused(fitting.bytes)
    assert fitting.bytes == 1


@pytest.mark.parametrize("step", [-86_400, 0, 10**9])
def test_a_clock_that_is_set_does_no_harm(step):
    clock = FixedClock()
    fitting = FittingSize(1000, clock)
    fitting.refused(100)
    clock.move(timedelta(seconds=step))
    assert 50 <= fitting.bytes <= 1000
