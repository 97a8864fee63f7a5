"""What the answers of vendors have in common: verdicts, times, pages, turns."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio

from bridge.api import Pause, Reject, Retry
from bridge.api.rest import (
    RequestSpacing,
    clock_difference,
    read_pages,
    read_retry_after,
    verdict_of,
)

NOW = datetime(2026, 5, 4, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((200, 201, 204), None),
        ((100, 301, 304, 401, 403, 407), Pause),
        ((408, 425, 429, 500, 503, 599), Retry),
        ((400, 404, 409, 413, 418, 422), Reject),
    ],
)
def test_a_status_has_a_verdict(statuses, verdict):
    assert {verdict_of(status) for status in statuses} == {verdict}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "17"}, 17),
        ({"retry-after": " 0 "}, 0),
        ({"retry-after": "999999"}, 3600),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "\u0661\u0662"}, None),
        ({"retry-after": "1" * 40}, None),
        ({"retry-after": "Mon, 04 May 2026 10:01:00 GMT"}, 60),
        ({"retry-after": "Mon, 04 May 2026 09:59:00 GMT"}, 0),
        ({"retry-after": "Mon, 04 May 2026 10:01:00"}, 60),
        (
            {
                "retry-after": "Mon, 04 May 2026 09:01:00 GMT",
                "date": "Mon, 04 May 2026 09:00:30 GMT",
            },
            30,
        ),
        ({"retry-after": "Mon, 04 May 99999 10:01:00 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers, seconds):
    assert read_retry_after(headers, NOW) == seconds


def test_a_difference_of_clocks_is_seen():
    assert clock_difference({"date": "Mon, 04 May 2026 09:59:00 GMT"}, NOW) == 60
    assert clock_difference({}, NOW) is None


async def test_pages_are_read_to_the_last():
    pages = {None: ([1, 2], "b"), "b": ([], "c"), "c": ([3], None)}

    async def read(cursor: str | None) -> tuple[list[int], str | None]:
        return pages[cursor]

    assert await read_pages(read, "GET /numbers") == [1, 2, 3]


async def test_a_list_without_an_end_is_told():
    async def read(cursor: str | None) -> tuple[list[int], str | None]:
        return [1], "b" if cursor == "a" else "a"

    with pytest.raises(Pause, match="GET /numbers gives the same next page a second time"):
        await read_pages(read, "GET /numbers")


async def test_turns_lie_apart(autojump_clock):
    spacing = RequestSpacing(2.0)
    turns = []

    async def ask() -> None:
        await spacing.turn()
        turns.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert turns == [turns[0], turns[0] + 2, turns[0] + 4]


async def test_no_turn_is_given_while_held_off(autojump_clock):
    spacing = RequestSpacing()
    assert spacing.held_off == 0
    began = trio.current_time()
    spacing.hold_off(30)
    spacing.hold_off(10)
    assert spacing.held_off == 30
    await spacing.turn()
    assert trio.current_time() == began + 30
