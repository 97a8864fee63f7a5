"""The thread that owns a connection: it serves what it was asked, and outlives mistakes
and leavers.
"""

import threading

import pytest
import trio
import trio.testing

from bridge.spool import thread
from bridge.spool.thread import open_thread


def nothing():
    pass


async def test_all_that_wait_are_served_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(thread, "MAX_WAITING", 4)
    sizes, go = [], threading.Event()

    def serve(batch):
        go.wait()
        sizes.append(len(batch))
        for asked in batch:
            asked.answer = asked.request + 1

    answers = []

    async def ask(running, number):
        answers.append(await running.ask(number))

    async with open_thread("test", serve, finish=nothing) as running, trio.open_nursery() as askers:
        for number in range(10):
            askers.start_soon(ask, running, number)
        await trio.testing.wait_all_tasks_blocked()
        go.set()
    assert sorted(answers) == list(range(1, 11))
    assert sum(sizes) == 10
    assert max(sizes) == 4


async def test_a_mistake_is_told_and_does_not_end_the_thread(caplog: pytest.LogCaptureFixture):
    def serve(batch):
        for asked in batch:
            asked.answer = 1 / asked.request

    async with open_thread("test", serve, finish=nothing, rest=lambda: [][0]) as running:
        with pytest.raises(RuntimeError, match="the spool failed: ZeroDivisionError"):
            await running.ask(0)
        assert await running.ask(2) == 0.5
    assert "a mistake in bridge" in caplog.text


async def test_a_request_whose_asker_left_is_served_all_the_same():
    served, go = [], threading.Event()

    def serve(batch):
        go.wait()
        served.extend(asked.request for asked in batch)

    async with open_thread("test", serve, finish=lambda: served.append("finished")) as running:
        with trio.move_on_after(0):
            await running.ask("not asked: cancelled before")
        async with trio.open_nursery() as askers:
            askers.start_soon(running.ask, "left")
            await trio.testing.wait_all_tasks_blocked()
            askers.cancel_scope.cancel()
        assert served == []
        go.set()
    assert served == ["left", "finished"]
    with pytest.raises(trio.ClosedResourceError):
        await running.ask("late")


async def test_a_thread_that_hangs_does_not_keep_the_loop_from_ending(mock_clock):
    go = threading.Event()
    async with open_thread("test", lambda _batch: go.wait(), finish=nothing) as running:
        async with trio.open_nursery() as askers:
            askers.start_soon(running.ask, "hang")
            await trio.testing.wait_all_tasks_blocked()
            askers.cancel_scope.cancel()
        mock_clock.autojump_threshold = 0
    go.set()
    assert trio.current_time() == thread.CLOSING


async def test_who_asks_in_one_turn_of_the_loop_is_served_at_once():
    sizes = []
    async with (
        open_thread("test", lambda batch: sizes.append(len(batch)), finish=nothing) as running,
        trio.open_nursery() as askers,
    ):
        for number in range(10):
            askers.start_soon(running.ask, number)
    assert sizes == [10]


async def test_an_asker_may_leave_while_the_channel_is_full(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(thread, "MAX_WAITING", 2)
    served, go = [], threading.Event()

    def serve(batch):
        go.wait()
        served.extend(asked.request for asked in batch)

    async with open_thread("test", serve, finish=nothing) as running:
        async with trio.open_nursery() as askers:
            askers.start_soon(running.ask, "in hand")
            await trio.testing.wait_all_tasks_blocked()
            for number in range(2):
                askers.start_soon(running.ask, number)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.001):
                await running.ask("left before it was asked")
            go.set()
        await running.ask("next")
    assert sorted(served[1:3]) == [0, 1]
    assert (served[0], served[3:]) == ("in hand", ["next"])
