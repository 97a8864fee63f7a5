"""How a child talks to the benchmark: a line of JSON out for each line of JSON in."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import trio


def say(value: Any) -> None:
    """Say a line."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


async def answer_commands(answer: Callable[..., Any]) -> None:
    """Answer each command until standard input ends."""
    async for line in trio.wrap_file(sys.stdin):
        say(answer(*json.loads(line)))


async def until_told(serve: Callable[..., Awaitable[None]], ready: Any) -> None:
    """Serve, say when it is ready, and end with standard input."""
    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        say(ready)
        await answer_commands(lambda: None)
        nursery.cancel_scope.cancel()
