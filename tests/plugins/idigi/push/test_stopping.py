"""Pauses and verdicts between two sessions, and what is finished after a stop."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

from bridge.api import Duration, Pause, Retry, Secret
from bridge_plugins.idigi.push.grace import finish
from bridge_plugins.idigi.push.session import UnknownMonitor, login_verdict
from bridge_plugins.idigi.settings import Settings
from bridge_plugins.idigi.source import pause_after

SETTINGS = Settings(username="user", password=Secret("pass"))


@pytest.mark.fact("Backoff with full jitter: base 1 s, factor 2, cap 60 s")
@pytest.mark.fact("Backoff with jitter")
def test_pauses_grow_with_full_jitter_up_to_the_cap() -> None:
    longest = [
        pause_after(Retry("x"), failures, SETTINGS, 1.0) for failures in (0, 1, 2, 5, 6, 7, 5000)
    ]
    assert longest == [1, 2, 4, 32, 60, 60, 60]
    assert pause_after(Retry("x"), 3, SETTINGS, 0.25) == 2.0
    assert pause_after(Retry("x"), 3, SETTINGS, 0.0) == 0.0


@pytest.mark.fact("The longest wait wins over the backoff")
def test_what_the_server_asked_for_is_the_shortest_pause() -> None:
    assert pause_after(Retry("x", after=30), 0, SETTINGS, 0.5) == 30
    assert pause_after(Retry("x", after=1), 10, SETTINGS, 0.5) == 30


@pytest.mark.fact("A refusal is probed every 5 minutes")
def test_a_refusal_is_probed_slowly() -> None:
    assert pause_after(Pause("x"), 0, SETTINGS, 0.1) == 300
    slower = Settings(username="user", password=Secret("pass"), pause_probe=Duration(900))
    assert pause_after(Pause("x"), 50, slower, 0.1) == 900


@pytest.mark.fact(
    "200 to 299 attach; 400, 403, other 4xx and everything else mean what the table says",
)
@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, None),
        (204, None),
        (299, None),
        (400, UnknownMonitor),
        (401, Pause),
        (403, Pause),
        (404, Pause),
        (499, Pause),
        (1, Retry),
        (199, Retry),
        (300, Retry),
        (500, Retry),
        (65535, Retry),
    ],
)
def test_the_answer_to_the_login_decides_what_follows(status: int, verdict: type | None) -> None:
    found = login_verdict(status, 5)
    assert (None if found is None else type(found)) is verdict


async def test_work_is_finished_although_a_stop_was_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    done = []

    async def work() -> None:
        await trio.sleep(4)
        done.append(trio.current_time())

    began = trio.current_time()
    with trio.move_on_after(1) as scope:
        await finish(work, 5)
        done.append("went on after the stop")
    assert scope.cancelled_caught
    assert done == [began + 4]


async def test_work_that_takes_too_long_after_a_stop_is_cut_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    with trio.move_on_after(1) as scope:
        await finish(trio.sleep_forever, 5)
    assert scope.cancelled_caught
    assert trio.current_time() == began + 6


async def test_work_that_nobody_stops_has_no_limit(autojump_clock: trio.testing.MockClock) -> None:
    async def work() -> None:
        await trio.sleep(1000)

    await finish(work, 0.1)


async def test_what_work_raises_comes_out_as_it_is() -> None:
    async def work() -> None:
        raise Retry("as it is")

    with pytest.raises(Retry, match="as it is"):
        await finish(work, 1)


async def test_work_that_is_slow_is_noticed_once(autojump_clock: trio.testing.MockClock) -> None:
    noticed = []
    began = trio.current_time()
    await finish(
        partial(trio.sleep, 100),
        1,
        patience=30,
        when_slow=lambda: noticed.append(trio.current_time()),
    )
    assert noticed == [began + 30]


async def test_work_that_is_quick_is_not_remarked_upon(
    autojump_clock: trio.testing.MockClock,
) -> None:
    noticed: list[str] = []
    await finish(partial(trio.sleep, 29), 1, patience=30, when_slow=lambda: noticed.append("slow"))
    assert noticed == []
