"""Benchmarks: ``python -m tests.bench [NAME ...]`` from the root of the repository.

Trust ratios, not figures: load, destination and daemon share the machine, so that what
is compared comes from one run, taken in turns, and is the median of its rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import trio

from tests.bench import delivery, memory, report, spool, webhooks

BENCHMARKS = {
    module.__name__.rpartition(".")[2]: module for module in (webhooks, spool, delivery, memory)
}
WORK = Path(__file__).with_name(
    ".work"
)  # beside the code and not in /tmp, which may be memory: an fsync must be one


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"one of {', '.join(BENCHMARKS)}; default: all")
    names = parser.parse_args().name or list(BENCHMARKS)
    if unknown := set(names) - BENCHMARKS.keys():
        parser.error(f"there is no benchmark {unknown.pop()!r}; there are {', '.join(BENCHMARKS)}")
    WORK.mkdir(exist_ok=True)
    print(report.machine(WORK))
    for name in names:
        print(f"\n== {name}\n\n{BENCHMARKS[name].__doc__}", end="", flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=WORK) as work:
            trio.run(BENCHMARKS[name].run, Path(work))
        print(f"\n({time.monotonic() - began:.0f} s)")
    with suppress(OSError):  # another run may be under way
        WORK.rmdir()


if __name__ == "__main__":
    main()
