"""What a person is told while readings go through."""

from __future__ import annotations

import trio

from bridge.testing.fakes import FakeReport
from bridge_plugins.databoom.concerns import Concerns


def test_several_concerns_are_told_together_and_taken_back_one_by_one():
    report = FakeReport()
    concerns = Concerns(report)
    concerns.set("clock", "the clock is wrong")
    concerns.set("validation", "not validated")
    concerns.set("clock", "")
    concerns.set("validation", "")
    assert report.texts == [
        "the clock is wrong",
        "the clock is wrong; not validated",
        "not validated",
        "no concern any more",
    ]
    assert report.problems == report.texts[:3]


def test_what_is_known_is_not_told_again():
    report = FakeReport()
    concerns = Concerns(report)
    concerns.set("a", "x")
    concerns.set("a", "x")
    concerns.once("a", "y")
    assert report.texts == ["x"]


async def test_a_count_is_told_at_once_and_then_once_an_hour(autojump_clock):
    report = FakeReport()
    concerns = Concerns(report)
    for _ in range(7):
        concerns.count("left out", "signal 's'", 2)
        await trio.sleep(600)
    assert report.texts == [
        "left out: 2 since the start, the newest: signal 's'",
        "left out: 14 since the start, the newest: signal 's'",
    ]
    assert report.problems == []


async def test_a_count_does_not_cover_a_concern():
    report = FakeReport()
    concerns = Concerns(report)
    concerns.set("a", "not validated")
    concerns.count("left out", "signal 's'")
    assert (
        report.problems[-1] == "not validated; left out: 1 since the start, the newest: signal 's'"
    )
