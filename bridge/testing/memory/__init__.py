"""A spool in memory: the twin of the engines on disk, for fast tests of everything that
moves events.

    async with open_memory_spool() as spool:
        await spool.append([...])
        assert spool.commits == [(...)]
        spool.refuse = "the disk is full"        # append raises SpoolUnavailable

It keeps the whole contract of ``bridge.api.spool`` except durability, and passes the
same contract suite. It has no thread, so a clock that jumps may be used. What a
:class:`MemoryStore` holds outlives the spool: open it again.
"""

from bridge.testing.memory.cursors import Cursor
from bridge.testing.memory.lane import MemoryLease
from bridge.testing.memory.parked import MemoryParkedLease
from bridge.testing.memory.queues import MemoryLetter
from bridge.testing.memory.spool import MemorySpool, open_memory_spool
from bridge.testing.memory.store import MemoryStore
from bridge.testing.memory.subscription import MemorySubscription

__all__ = [
    "Cursor",
    "MemoryLease",
    "MemoryLetter",
    "MemoryParkedLease",
    "MemorySpool",
    "MemoryStore",
    "MemorySubscription",
    "open_memory_spool",
]
