"""Lists that come in pages."""

from __future__ import annotations

import pytest
import trio

from bridge.api import Pause
from bridge.api.rest.pages import EndlessListError, follow_pages, read_pages


def served(pages: dict[str | None, tuple[list[int], str | None]]):
    async def read_page(cursor: str | None) -> tuple[list[int], str | None]:
        await trio.lowlevel.checkpoint()
        return pages[cursor]

    return read_page


async def test_pages_are_read_from_the_first_to_the_last():
    pages = {None: ([1, 2], "a"), "a": ([], "b"), "b": ([3], None)}
    assert await read_pages(served(pages), "GET /devices") == [1, 2, 3]


async def test_a_list_without_an_end_is_given_up():
    pages = {None: ([1], "a"), "a": ([2], "b"), "b": ([3], "a")}
    with pytest.raises(Pause, match="GET /devices gives the same next page a second time"):
        await read_pages(served(pages), "GET /devices")
    seen = []

    async def follow() -> None:
        async for page in follow_pages(served(pages)):
            seen.extend(page)

    with pytest.raises(EndlessListError):
        await follow()
    assert seen == [1, 2, 3]
