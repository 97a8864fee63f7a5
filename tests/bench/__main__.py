"""Benchmarks, from the root of the repository.

    python -m tests.bench [--keys N] [NAME ...]
    python -m tests.bench --against REV [--rounds N] [--rows NAME,...]

Trust ratios, not figures: load, destination and daemon share the machine, so that what
is compared comes from one run, taken in turns, and is the median of its rounds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

from tests.bench import against, delivery, keys, memory, report, spool, webhooks
from tests.bench.arguments import parse
from tests.bench.rows import ROWS

BENCHMARKS = {
    module.__name__.rpartition(".")[2]: module
    for module in (webhooks, spool, keys, delivery, memory)
}
# Beside the code and not in /tmp, which may be memory: an fsync must be one.
WORK = Path(__file__).with_name(".work")


def main() -> str:
    """Give what went wrong, or nothing."""
    arguments = parse(sys.argv[1:], __doc__ or "", BENCHMARKS, ROWS)
    WORK.mkdir(exist_ok=True)
    print(report.machine(WORK))
    try:
        if not arguments.against:
            run(arguments.names, arguments.keys)
            return ""
        print(f"\n{against.__doc__}", flush=True)
        with tempfile.TemporaryDirectory(prefix="against-", dir=WORK) as work:
            return against.run(arguments.against, arguments.rounds, arguments.rows, Path(work))
    finally:
        with suppress(OSError):  # another run may be under way
            WORK.rmdir()


def run(names: Sequence[str], known: int) -> None:
    """Run benchmarks one after the other."""
    options = {"keys": {"known": known}}
    for name in names:
        print(f"\n== {name}\n\n{BENCHMARKS[name].__doc__}", end="", flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=WORK) as work:
            trio.run(partial(BENCHMARKS[name].run, Path(work), **options.get(name, {})))
        print(f"\n({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    # An empty text would be printed, and count as a failure.
    sys.exit(main() or None)
