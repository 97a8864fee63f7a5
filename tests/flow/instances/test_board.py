from __future__ import annotations

import logging

from bridge.flow.instances.board import Board


def test_a_state_is_logged_once_however_often_it_is_reported(caplog, now):
    caplog.set_level(logging.INFO)
    board = Board(now)
    report = board.report("sink:databoom")
    for _ in range(1000):
        report("connection refused", problem=True)
    report("delivers again")
    assert [record.getMessage() for record in caplog.records] == [
        "databoom: connection refused",
        "databoom: delivers again",
    ]


def test_only_problems_are_listed_as_problems(now):
    board = Board(now)
    board.report("sink:a")("ready")
    board.report("sink:b")("paused", problem=True)
    assert list(board.problems) == ["sink:b"]
    board.report("sink:b")("delivers again")
    assert not board.problems


def test_what_must_not_be_shown_is_taken_out_before_it_is_cut(caplog, now):
    board = Board(now, lambda text: text.replace("hunter2", "****"))
    board.report("sink:a")("x" * 995 + "hunter2", problem=True)
    assert "hunt" not in caplog.text + board.states["sink:a"].text


def test_what_a_vendor_answers_cannot_forge_a_line_of_the_log(caplog, now):
    Board(now).report("sink:a")(
        "refused: no\n12:00:00 I bridge: all is well \x1b[2J \ud800", problem=True
    )
    (message,) = [record.getMessage() for record in caplog.records]
    assert "\n" not in message
    assert "\\ud800" in message
    assert "\x1b" not in message
