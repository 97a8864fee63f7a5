from __future__ import annotations

import logging

import pytest

from bridge.api.problems import TOLD_BY_PLUGIN
from bridge.flow.instances.board import Board
from bridge.flow.problems import SINK_FAILS, SINK_PAUSED


def test_a_state_is_logged_once_however_often_it_is_reported(caplog, now):
    caplog.set_level(logging.INFO)
    board = Board(now)
    report = board.report("sink:databoom")
    for _ in range(1000):
        report("connection refused", problem=SINK_FAILS)
    report("delivers again")
    assert [record.getMessage() for record in caplog.records] == [
        "databoom: connection refused [sink-fails]",
        "databoom: delivers again",
    ]


def test_only_problems_are_listed_as_problems(now):
    board = Board(now)
    board.report("sink:a")("ready")
    board.report("sink:b")("paused", problem=SINK_PAUSED)
    assert {name: state.problem for name, state in board.problems.items()} == {
        "sink:b": SINK_PAUSED
    }
    board.report("sink:b")("delivers again")
    assert not board.problems


def test_what_must_not_be_shown_is_taken_out_before_it_is_cut(caplog, now):
    board = Board(now, lambda text: text.replace("hunter2", "****"))
    board.report("sink:a")("x" * 995 + "hunter2", problem=SINK_FAILS)
    assert "hunt" not in caplog.text + board.states["sink:a"].text


def test_what_a_vendor_answers_cannot_forge_a_line_of_the_log(caplog, now):
    Board(now).report("sink:a")(
        "refused: no\n12:00:00 I bridge: all is well \x1b[2J \ud800", problem=SINK_FAILS
    )
    (message,) = [record.getMessage() for record in caplog.records]
    assert "\n" not in message
    assert "\\ud800" in message
    assert "\x1b" not in message


def test_the_same_words_about_another_problem_are_told_again(caplog, now):
    board = Board(now)
    report = board.report("sink:a")
    report("401", problem=SINK_FAILS)
    report("401", problem=SINK_PAUSED)
    assert board.states["sink:a"].problem is SINK_PAUSED
    assert [record.getMessage() for record in caplog.records] == [
        "a: 401 [sink-fails]",
        "a: 401 [sink-paused]",
    ]


def test_a_plugin_of_version_1_1_tells_of_a_problem_by_true(now):
    board = Board(now)
    report = board.report("sink:a")
    with pytest.warns(DeprecationWarning, match=r"problem=True is problem=Problem") as warned:
        report("refused", problem=True)
    assert warned[0].filename == __file__
    assert board.problems["sink:a"].problem is TOLD_BY_PLUGIN
    with pytest.warns(DeprecationWarning, match="problem=True"):
        report("delivers", problem=False)
    assert not board.problems
