from __future__ import annotations

import itertools

import pytest
import trio

from bridge.api import Pause, Problem, Retry, SpoolUnavailable
from bridge.flow.instances.insist import Persistence
from bridge.flow.instances.supervision import (
    SINK_VERDICTS,
    SOURCE_VERDICTS,
    VerdictProblems,
    supervise,
)
from bridge.flow.problems import PLUGIN_CRASHES


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

    def report(text: str, *, problem: Problem | None = None) -> None:
        assert problem is PLUGIN_CRASHES
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
        await supervise("a", crashing_after_an_hour, lambda text, problem=None: None, lambda: 1.0)
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
                    lambda text, problem=None: reports.append(text),
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
        await supervise("a", failing_on_exit, lambda text, problem=None: None, lambda: 0.5)
    assert scope.cancelled_caught


class Reported:
    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def __call__(self, text: str, *, problem: Problem | None = None, topic: str = "") -> None:
        self.texts.append((text, problem.name if problem else ""))


async def ended_by(
    *ends: BaseException, after: float = 0.0, problems: VerdictProblems = SOURCE_VERDICTS
) -> tuple[Reported, list[float]]:
    """Supervise an instance whose runs end so one after the other; then it goes on."""
    reported, starts = Reported(), []
    left = list(ends)

    async def run(task_status: trio.TaskStatus[None]) -> None:
        starts.append(trio.current_time())
        task_status.started()
        if not left:
            await trio.sleep_forever()
        await trio.sleep(after)
        raise left.pop(0)

    with trio.move_on_after(10_000):
        await supervise(
            "a",
            run,
            reported,
            lambda: 0.5,
            problems=problems,
            persistence=Persistence(base=2, cap=60, probe=300),
        )
    return reported, [later - earlier for earlier, later in itertools.pairwise(starts)]


async def test_a_retry_of_a_source_is_waited_for_and_no_crash(autojump_clock, caplog):
    reported, pauses = await ended_by(Retry("no answer"), Retry("429", after=77))
    assert reported.texts == [
        ("no answer; trying again until it succeeds", "source-fails"),
        ("429; trying again until it succeeds", "source-fails"),
    ]
    assert pauses == [1, 77]
    assert not caplog.records


async def test_a_pause_of_a_source_is_probed_slowly(autojump_clock):
    reported, pauses = await ended_by(Pause("the login is refused"))
    assert reported.texts == [("the login is refused; trying again every 300 s", "source-paused")]
    assert pauses == [300]


async def test_what_ends_after_a_good_run_is_no_problem(autojump_clock):
    reported, _ = await ended_by(Retry("closed"), after=3600)
    assert reported.texts == [("closed; trying again until it succeeds", "")]


async def test_a_crash_beside_a_verdict_is_what_is_told(autojump_clock, caplog):
    mixed = ExceptionGroup("", [Retry("503"), ExceptionGroup("", [KeyError("bug")])])
    reported, _ = await ended_by(mixed)
    text, problem = reported.texts[0]
    assert text.startswith("failed: KeyError")
    assert problem == "plugin-crashes"
    assert "KeyError" in caplog.text


async def test_a_pause_beside_a_retry_is_what_is_told(autojump_clock):
    reported, _ = await ended_by(ExceptionGroup("", [Retry("503"), Pause("401")]))
    assert reported.texts == [("401; trying again every 300 s", "source-paused")]


async def test_a_spool_that_refuses_a_source_is_a_problem_of_its_own(autojump_clock):
    reported, _ = await ended_by(SpoolUnavailable("the disk is full"))
    assert [problem for _, problem in reported.texts] == ["source-refused"]


@pytest.mark.parametrize(
    ("verdict", "problem"), [(Retry("no answer"), "sink-fails"), (Pause("401"), "sink-paused")]
)
async def test_a_sink_that_is_not_opened_is_a_problem_of_a_sink(
    autojump_clock, verdict: Exception, problem: str
):
    reported, _ = await ended_by(verdict, problems=SINK_VERDICTS)
    assert reported.texts[0][1] == problem
