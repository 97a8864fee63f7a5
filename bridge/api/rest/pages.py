"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from bridge.api.errors import Pause

P = TypeVar("P")
T = TypeVar("T")


class EndlessListError(Exception):
    """A cursor came a second time: reading on would never end."""


async def follow_pages(
    read_page: Callable[[str | None], Awaitable[tuple[P, str | None]]],
) -> AsyncIterator[P]:
    """Yield page after page, from the first.

    :param read_page: given the cursor of a page, None for the first, returns it and the
        cursor of the page that follows, None for the last.
    :raises EndlessListError: after a page whose following one was read already.
    """
    seen: set[str] = set()
    cursor: str | None = None
    while True:
        page, cursor = await read_page(cursor)
        yield page
        if cursor is None:
            return
        if cursor in seen:
            raise EndlessListError
        seen.add(cursor)


async def read_pages(
    read_page: Callable[[str | None], Awaitable[tuple[Sequence[T], str | None]]], what: str
) -> list[T]:
    """Return the items of all pages of a list.

    :param read_page: as of :func:`follow_pages`.
    :param what: the list, for the sentence of the error, such as ``GET /devices``.
    :raises Pause: if a cursor comes a second time: the list would have no end.
    """
    items: list[T] = []
    try:
        async for page in follow_pages(read_page):
            items += page
    except EndlessListError:
        raise Pause(f"{what} gives the same next page a second time: its list has no end") from None
    return items
