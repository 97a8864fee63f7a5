"""The memory of one instance."""

from __future__ import annotations

import orjson
import trio
from attrs import define

from bridge.api import JSON
from bridge.testing.memory.life import Life


@define(eq=False)
class MemoryState:
    """Values as bytes, so that a reader cannot change them."""

    _life: Life
    _values: dict[str, bytes]

    def get(self, key: str) -> JSON:
        """Return the value, or None."""
        value = self._values.get(key)
        return None if value is None else orjson.loads(value)

    async def put(self, key: str, value: JSON) -> None:
        """Store a value; None removes the key."""
        await trio.lowlevel.checkpoint()
        self._life.check_writes()
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = orjson.dumps(value)
