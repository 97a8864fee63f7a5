"""Sparing log lines."""

import logging

import pytest

from bridge.http.throttled_log import MAX_TEXT, ThrottledLog

LOGGER = logging.getLogger("bridge.http.test")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sparing(clock: Clock, caplog: pytest.LogCaptureFixture) -> ThrottledLog:
    caplog.set_level(logging.INFO)
    return ThrottledLog(LOGGER, clock)


def test_three_thousand_alike_make_two_lines(sparing, clock, caplog):
    for number in range(3000):
        sparing.log("refusals", logging.WARNING, f"refused {number}")
    clock.now += 60
    sparing.log("refusals", logging.WARNING, "refused again")
    assert caplog.messages == [
        "refused 0",
        "refused again (2999 more alike since the last line about it)",
    ]


def test_what_was_counted_is_written_without_another_one(sparing, clock, caplog):
    for number in range(3):
        sparing.log("refusals", logging.WARNING, f"refused {number}")
    sparing.catch_up()
    assert caplog.messages == ["refused 0"]
    clock.now += 60
    sparing.catch_up()
    sparing.catch_up()
    assert caplog.messages == ["refused 0", "refused 2 (1 more alike since the last line about it)"]


def test_another_topic_is_written_at_once(sparing, caplog):
    sparing.log("a", logging.INFO, "one")
    sparing.log("b", logging.INFO, "two")
    assert caplog.messages == ["one", "two"]


def test_the_traceback_goes_with_the_line(sparing, caplog):
    sparing.log("a", logging.ERROR, "failed", error=ValueError("because"))
    assert "ValueError: because" in caplog.text


def test_foreign_text_can_neither_forge_nor_flood_the_log(sparing, caplog):
    sparing.log("a", logging.INFO, "x\r\nroot: all is well\x1b[2J" + "y" * 10_000)
    (line,) = caplog.messages
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) <= MAX_TEXT + 3
