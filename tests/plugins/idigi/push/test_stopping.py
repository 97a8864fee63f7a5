"""What is finished although a stop was asked for."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

from bridge.api import Retry
from bridge_plugins.idigi.push.stopping import finish


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
