"""Work that is finished although a stop was asked for, if it finishes soon; and that is
not slow unnoticed.

A block in hand is such work: cut off between storing and acknowledging, it would come
again.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio


async def finish(
    work: Callable[[], Awaitable[None]],
    stop_timeout: float,
    *,
    patience: float = math.inf,
    when_slow: Callable[[], None] | None = None,
) -> None:
    """Run ``work`` to its end. What it raises is raised as it is.

    :param stop_timeout: seconds that it gets once we are cancelled from outside.
    :param when_slow: called once, if it takes longer than ``patience`` seconds.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as watching:
        with trio.CancelScope(shield=True) as shield:
            watching.start_soon(_watch, shield, stop_timeout, patience, when_slow)
            try:
                await work()
            except Exception as exc:  # carried out of the nursery, which would wrap it
                failure = exc
        watching.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _watch(
    shield: trio.CancelScope,
    stop_timeout: float,
    patience: float,
    when_slow: Callable[[], None] | None,
) -> None:
    try:
        if when_slow is not None:
            await trio.sleep(patience)
            when_slow()
        await trio.sleep_forever()
    finally:  # reached by the stop, and harmlessly when the work is done
        shield.deadline = trio.current_time() + stop_timeout
