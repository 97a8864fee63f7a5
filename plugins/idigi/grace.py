"""Work that is finished although a stop was asked for, if it finishes soon.

run the work ── stop asked for ── up to `grace` seconds more ── cut off
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


async def finish(work: Callable[[], Awaitable[None]], grace: float) -> None:
    """Run ``work`` to its end. Once cancelled from outside, it gets ``grace`` seconds more.

    What ``work`` raises is raised as it is.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as watching:
        with trio.CancelScope(shield=True) as shield:
            watching.start_soon(_limit_when_cancelled, shield, grace)
            try:
                await work()
            except Exception as exc:  # carried out of the nursery, which would wrap it
                failure = exc
        watching.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _limit_when_cancelled(shield: trio.CancelScope, grace: float) -> None:
    try:
        await trio.sleep_forever()
    finally:
        shield.deadline = trio.current_time() + grace
