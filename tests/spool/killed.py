"""Run as a process that is to be killed: appends and settles without end, prints each
key once it was acknowledged.
"""

import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import trio

from bridge.api.spool import SpoolContext
from bridge.spool import SqliteSettings
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import arrival


async def append(spool, sender: str) -> None:
    for number in count():
        key = f"{sender}-{number}"
        await spool.append([arrival(key, f"device{number % 9}")])
        sys.stdout.write(f"{key}\n")
        sys.stdout.flush()


async def deliver(spool) -> None:
    async with spool.subscribe("out", batch=5) as out:
        while True:
            lease = await out.take()
            await lease.settle(len(lease.events))


async def main() -> None:
    context = SpoolContext(
        Path(sys.argv[1]), (), lambda text, problem=False: None, lambda: datetime.now(UTC)
    )
    async with open_sqlite(SqliteSettings(), context) as spool, trio.open_nursery() as nursery:
        nursery.start_soon(deliver, spool)
        for sender in range(8):
            nursery.start_soon(append, spool, f"{sys.argv[2]}-{sender}")


trio.run(main)
