from __future__ import annotations

import itertools

import trio

from bridge.flow.instances.supervision import supervise


async def test_a_crashing_instance_is_started_again_beside_a_good_one(autojump_clock, caplog):
    crashes = ticks = 0
    reports: list[str] = []

    async def crashing(task_status: trio.TaskStatus[None]) -> None:
        nonlocal crashes
        crashes += 1
        async with trio.open_nursery():
            raise RuntimeError("boom")

    async def good(task_status: trio.TaskStatus[None]) -> None:
        nonlocal ticks
        while True:
            await trio.sleep(1)
            ticks += 1

    def report(text: str, *, problem: bool = False) -> None:
        assert problem
        reports.append(text)

    with trio.move_on_after(3600.5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervise, "a", crashing, report, lambda: 0.9)
            nursery.start_soon(supervise, "b", good, report, lambda: 0.9)
    assert ticks == 3600
    assert 60 <= crashes <= 75
    assert "RuntimeError: boom" in reports[0]
    assert len([record for record in caplog.records if record.exc_info]) == 1  # its traceback, once


async def test_health_makes_the_next_crash_the_first(autojump_clock):
    starts: list[float] = []

    async def crashing_after_an_hour(task_status: trio.TaskStatus[None]) -> None:
        starts.append(trio.current_time())
        await trio.sleep(3600)
        raise OSError

    with trio.move_on_after(36_000):
        await supervise("a", crashing_after_an_hour, lambda text, problem=False: None, lambda: 1.0)
    assert all(later - earlier == 3602 for earlier, later in itertools.pairwise(starts))


async def test_an_instance_that_returns_at_once_is_started_again(autojump_clock):
    reports: list[str] = []

    async def returning(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    with trio.move_on_after(100):
        async with trio.open_nursery() as nursery:
            await nursery.start(
                lambda task_status: supervise(
                    "a",
                    returning,
                    lambda text, problem=False: reports.append(text),
                    lambda: 0.5,
                    task_status=task_status,
                )
            )
    assert len(reports) > 3
    assert "ended by itself" in reports[0]


async def test_cancelling_while_the_clean_up_fails_still_cancels(autojump_clock):
    async def failing_on_exit(task_status: trio.TaskStatus[None]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in clean-up")

    with trio.move_on_after(5) as scope:
        await supervise("a", failing_on_exit, lambda text, problem=False: None, lambda: 0.5)
    assert scope.cancelled_caught
