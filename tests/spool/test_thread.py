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
