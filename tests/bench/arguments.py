"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence

from attrs import frozen

ROUNDS = 5
KEYS = 5_000_000


@frozen
class Arguments:
    """What is wanted: benchmarks, or a comparison if ``against`` is not empty."""

    names: tuple[str, ...] = ()
    against: str = ""
    """A commit, by any name that git knows."""
    rounds: int = ROUNDS
    rows: tuple[str, ...] = ()
    keys: int = KEYS
    """Keys that the large spool of the benchmark ``keys`` knows."""


def parse(
    arguments: Sequence[str], about: str, benchmarks: Collection[str], rows: Collection[str]
) -> Arguments:
    """Parse; leave with a message and exit code 2 if that is not possible."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="*", help=f"one of {', '.join(benchmarks)}; default: all")
    parser.add_argument(
        "--against", metavar="REV", help="compare with this commit instead, in turns"
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help=f"rounds of a comparison; default: {ROUNDS}"
    )
    parser.add_argument(
        "--rows", metavar="NAME,...", help=f"rows of a comparison; default: {','.join(rows)}"
    )
    parser.add_argument(
        "--keys",
        type=int,
        metavar="N",
        default=KEYS,
        help=f"keys that are known in the benchmark keys; default: {KEYS:,}",
    )
    given = parser.parse_args(arguments)
    if given.keys < 1000:
        parser.error(f"--keys must be at least 1000, not {given.keys}")
    if given.against is None:
        if given.rounds is not None or given.rows is not None:
            parser.error("--rounds and --rows belong to --against")
        _known(parser, "benchmark", given.name, benchmarks)
        return Arguments(tuple(given.name or benchmarks), keys=given.keys)
    if given.name:
        parser.error(f"--against takes --rows, not names of benchmarks such as {given.name[0]!r}")
    if not given.against:
        parser.error("--against needs the name of a commit")
    rounds = ROUNDS if given.rounds is None else given.rounds
    if rounds < 1:
        parser.error(f"--rounds must be at least 1, not {rounds}")
    wanted = list(rows) if given.rows is None else [row.strip() for row in given.rows.split(",")]
    _known(parser, "row", wanted, rows)
    return Arguments((), given.against, rounds, tuple(row for row in rows if row in wanted))


def _known(
    parser: argparse.ArgumentParser, what: str, names: Sequence[str], known: Collection[str]
) -> None:
    for name in names:
        if name not in known:
            parser.error(f"there is no {what} {name!r}; there are {', '.join(known)}")
