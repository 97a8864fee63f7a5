"""Background work: attempted until it succeeds."""

from __future__ import annotations

import pytest
import trio

from bridge.api import Pause, Problem, Reject, Retry, SpoolUnavailable
from bridge.flow.instances.insist import Persistence, attempt_until_done, insisting
from bridge.testing.fakes import FakeReport

PERSISTENCE = Persistence(base=1, cap=60, probe=300)


def failing(*verdicts: Exception):
    rest = list(verdicts)

    async def attempt() -> str:
        await trio.lowlevel.checkpoint()
        if rest:
            raise rest.pop(0)
        return "done"

    return attempt


async def test_what_fails_is_told_and_taken_back_by_the_success(autojump_clock):
    report = FakeReport()
    insist = insisting(report, lambda: 1.0, PERSISTENCE)
    attempt = failing(Retry("503"), Pause("401"), Retry("429", after=77))
    assert await insist(attempt, topic="keys", doing="fetching the keys") == "done"
    assert report.problems == [
        "fetching the keys failed: 503; tried again until it succeeds",
        "fetching the keys failed: 401; tried again every 300 s",
        "fetching the keys failed: 429; tried again until it succeeds",
    ]
    assert report.problem_names == ["work-fails"] * 3
    assert report.texts[-1] == ""
    assert trio.current_time() == pytest.approx(1 + 300 + 77)


async def test_what_fails_may_be_a_problem_of_the_plugins_own(autojump_clock):
    report = FakeReport()
    keys_missing = Problem("acme-keys-missing", meaning="No keys.", remedy="Ask for some.")
    attempt = failing(Retry("503"))
    await insisting(report, lambda: 1.0, PERSISTENCE)(
        attempt, topic="keys", doing="fetching the keys", problem=keys_missing
    )
    assert report.problem_names == ["acme-keys-missing"]


async def test_pauses_grow_and_a_spool_names_its_own(autojump_clock):
    told: list[tuple[str, int]] = []
    attempt = failing(Retry("a"), Retry("b"), SpoolUnavailable("full", retry_after=10))
    await attempt_until_done(
        attempt, PERSISTENCE, lambda: 1.0, lambda verdict, n: told.append((str(verdict), n))
    )
    assert told == [("a", 1), ("b", 2), ("full", 3)]
    assert trio.current_time() == pytest.approx(1 + 2 + 10)


async def test_what_is_no_verdict_ends_the_attempts(autojump_clock):
    with pytest.raises(Reject):
        await attempt_until_done(
            failing(Reject("404")), PERSISTENCE, lambda: 1.0, lambda _verdict, _n: None
        )
