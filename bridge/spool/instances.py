"""The durable memory of sources and sinks, read from memory, written by the writer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
from attrs import define

from bridge.api import JSON
from bridge.spool.transaction import WriterState


@define(eq=False)
class InstanceState:
    """The memory of one instance."""

    instance: str
    _state: WriterState
    _put: Callable[[str, str, bytes | None], Awaitable[None]]

    def get(self, key: str) -> JSON:
        """Give the value, or None."""
        value = self._state.instances.get(self.instance, {}).get(key)
        return None if value is None else orjson.loads(value)

    async def put(self, key: str, value: JSON) -> None:
        """Store a value; None removes the key."""
        await self._put(self.instance, key, None if value is None else orjson.dumps(value))
