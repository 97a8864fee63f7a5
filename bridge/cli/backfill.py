"""``bridged KIND backfill``: has the running bridge read back a span of time, and
follows the job.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

import trio

from bridge.api import JSON, Command, CommandContext, SourceKind
from bridge.cli.arguments import time
from bridge.flow.recovery.backfill import BACKFILL, PROGRESS

POLL = 1.0  # seconds between two looks at the progress


def backfill_command(kind: SourceKind[Any]) -> Command:
    """The command of a kind of source with a history."""
    return Command(
        kind=kind.name,
        name=BACKFILL,
        run=_backfill,
        help="have the running bridge read back what happened in a span of time; what is "
        "known already is known once",
        arguments=_backfill_arguments,
        asks=True,
    )


def _backfill_arguments(parser: argparse.ArgumentParser) -> None:
    when = "such as 2026-05-04T10:00 (UTC) or 2026-05-04T10:00+02:00"
    parser.add_argument("--from", dest="start", type=time, required=True, metavar="TIME", help=when)
    parser.add_argument(
        "--to", dest="end", type=time, default=None, metavar="TIME", help="default: now"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be read")


async def _backfill(context: CommandContext, options: argparse.Namespace) -> int:
    end = options.end or context.now()
    span = {"from": options.start.isoformat(), "to": end.isoformat(), "dry_run": options.dry_run}
    answer = await context.ask(BACKFILL, span)
    if options.dry_run:
        for part in answer["parts"]:
            print(part)
        called = answer["called"]
        print(
            f"would read {len(answer['parts'])} {called} from {_short(options.start)} to "
            f"{_short(end)}"
        )
        return 0
    print(
        f"{context.name}: job {answer['job']}; it goes on in the bridge, whatever becomes of "
        "this command"
    )
    return await _follow(context, answer["job"])


async def _follow(context: CommandContext, job: int) -> int:
    told = ""
    while True:
        progress: JSON = await context.ask(PROGRESS, {"job": job})
        if progress["text"] != told:
            told = progress["text"]
            print(told, flush=True)
        if progress["finished"]:
            return 0
        await trio.sleep(POLL)


def _short(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
