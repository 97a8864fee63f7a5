"""Run as a process: appends until its files may not grow any more. Prints how many were
stored and refused.
"""

import resource
import sys
from datetime import UTC, datetime
from pathlib import Path

import trio

from bridge.api import SpoolUnavailable
from bridge.api.spool import SpoolContext
from bridge.spool import SqliteSettings
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import arrival


async def main() -> None:
    context = SpoolContext(
        Path(sys.argv[1]), (), lambda text, problem=None: None, lambda: datetime.now(UTC)
    )
    stored = refused = 0
    async with open_sqlite(SqliteSettings(), context) as spool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        for number in range(1000):
            try:
                stored += await spool.append([arrival(f"{number}" + "x" * 3000)])
            except SpoolUnavailable:
                refused += 1
    print(stored, refused)


trio.run(main)
