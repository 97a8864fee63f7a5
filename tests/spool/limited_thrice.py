"""Run as a process whose files may not grow beyond a size: three times appends until it
is refused, and delivers. Prints how many were stored each time, and the longest wait
until sources were heard again.
"""

import resource
import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import trio

from bridge.api import Duration, SpoolUnavailable
from bridge.api.spool import SpoolContext
from bridge.spool import SqliteSettings
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import arrival, take_all


async def main() -> None:
    size = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    context = SpoolContext(
        Path(sys.argv[1]), ("out",), lambda _text, **_how: None, lambda: datetime.now(UTC)
    )
    numbers, stored, waits = count(), [], []
    async with (
        open_sqlite(SqliteSettings(keep=Duration(0)), context) as spool,
        spool.subscribe("out", batch=100) as out,
    ):
        for turn in range(3):
            stored.append(0)
            try:
                while True:
                    stored[turn] += await spool.append([arrival(f"{next(numbers)}" + "x" * 3000)])
            except SpoolUnavailable:
                await take_all(out, stored[turn])
            refused = trio.current_time()
            while spool.refusal is not None:
                await trio.sleep(0.05)
            waits.append(trio.current_time() - refused)
    print(*stored, f"{max(waits):.1f}")


trio.run(main)
