"""Run as a process: takes over a spool of version 1 again and again, each time in a
folder of its own and in a child that is killed a step later.

    python -m tests.spool.killed_migration FOLDER NAME FIRST STEP

The child is killed at its write or sync number FIRST,
the next one before FIRST + STEP, and so on, until one comes to the end. Each folder has
the number as its name.
"""

import os
import signal
import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import trio
import trio.testing

from bridge.api.spool import SpoolContext
from bridge.spool import SqliteSettings, ageing, keys_prune, letters
from bridge.spool.sqlite import SqliteSpool, open_sqlite
from tests.spool.earlier import CONFIGURED, copy_earlier
from tests.spool.vfs_shim import FileLayer, file_layer

DAY = 86400.0
STEPS = {
    (letters, "MOVED_A_STEP"): 7,
    (ageing, "PARKED_A_STEP"): 12,
    (keys_prune, "KEYS_A_STEP"): 50,
}
"""What is done in the background takes more steps than usual."""


class Countdown(list):
    """Stands for the log of a layer: acts when it has become long enough."""

    def __init__(self, length, act):
        self.length, self.act = length, act

    def append(self, entry):
        super().append(entry)
        if len(self) >= self.length:
            self.act()


def take_small_steps() -> None:
    for (module, size), rows in STEPS.items():
        setattr(module, size, rows)


async def let_time_pass(clock: trio.testing.MockClock, seconds: int) -> None:
    """Let the background do its rounds."""
    for _ in range(seconds):
        clock.jump(1)
        await trio.testing.wait_all_tasks_blocked(0.001)


async def take_over(spool: SqliteSpool, clock: trio.testing.MockClock) -> None:
    """Let letters move, let the orphan go, and let the window of the old keys end."""
    while spool.housekeeping._letters_to_move:
        await spool.housekeeping.move_letters()
    await spool.housekeeping.age()
    clock.jump(7 * DAY)
    await spool.housekeeping.age()
    clock.jump(28 * DAY)
    while spool._writer.state.old_keys is not None:
        await let_time_pass(clock, 1)


def context_of(folder: Path) -> SpoolContext:
    return SpoolContext(folder, CONFIGURED, lambda *_, **__: None, lambda: datetime.now(UTC))


async def live(folder: Path, layer: FileLayer, clock: trio.testing.MockClock) -> None:
    async with open_sqlite(SqliteSettings(), context_of(folder), vfs=layer.name) as spool:
        await take_over(spool, clock)


def live_until(length: int, folder: Path) -> None:
    clock = trio.testing.MockClock()
    with file_layer() as layer:
        layer.log = Countdown(length, lambda: os.kill(os.getpid(), signal.SIGKILL))
        trio.run(live, folder, layer, clock, clock=clock)


def main() -> None:
    folder, name, first, step = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
    take_small_steps()
    for length in count(first, step):
        copy_earlier(name, folder / str(length))
        child = os.fork()
        if child == 0:
            live_until(length, folder / str(length))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        (folder / str(length) / "spool.reserve").unlink(missing_ok=True)
        if not os.WIFSIGNALED(status):
            sys.exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main()
