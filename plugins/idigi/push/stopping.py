"""Work that is finished although a stop was asked for, if it finishes soon; and that is
not slow unnoticed.

run the work ── `patience` seconds ── say so ── stop asked for ── up to `grace` seconds more ── cut off
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio


async def finish(
    work: Callable[[], Awaitable[None]],
    grace: float,
    *,
    patience: float = math.inf,
    when_slow: Callable[[], None] | None = None,
) -> None:
    """Run ``work`` to its end. Once cancelled from outside, it gets ``grace`` seconds
    more.

    What ``work`` raises is raised as it is.

    :param when_slow: called once, if the work takes longer than ``patience`` seconds.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as watching:
        with trio.CancelScope(shield=True) as shield:
            watching.start_soon(_watch, shield, grace, patience, when_slow)
            try:
                await work()
            except Exception as exc:  # carried out of the nursery, which would wrap it
                failure = exc
        watching.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _watch(
    shield: trio.CancelScope, grace: float, patience: float, when_slow: Callable[[], None] | None
) -> None:
    try:
        if when_slow is not None:
            await trio.sleep(patience)
            when_slow()
        await trio.sleep_forever()
    finally:
        shield.deadline = trio.current_time() + grace
