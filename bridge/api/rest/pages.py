"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from bridge.api.errors import Pause

T = TypeVar("T")


async def read_pages(
    read_page: Callable[[str | None], Awaitable[tuple[Sequence[T], str | None]]], what: str
) -> list[T]:
    """Read all pages of a list, from its beginning.

    :param read_page: given the cursor of a page, None for the first, returns its items
        and the cursor of the page that follows, None for the last.
    :param what: the list, for the sentence of the error, such as ``GET /devices``.
    :raises Pause: if a cursor comes a second time: the list would have no end.
    """
    items: list[T] = []
    seen: set[str] = set()
    cursor: str | None = None
    while True:
        page, cursor = await read_page(cursor)
        items += page
        if cursor is None:
            return items
        if cursor in seen:
            raise Pause(f"{what} gives the same next page a second time: its list has no end")
        seen.add(cursor)
