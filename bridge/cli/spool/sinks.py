"""``bridged sink``: what a sink owes is forgotten, renamed, or sent again."""

from __future__ import annotations

import argparse
from datetime import datetime
from functools import partial

from bridge.cli.arguments import (
    WHEN,
    Commands,
    add_apply,
    add_command,
    add_group,
    add_json,
    past_time,
)
from bridge.cli.spool.asking import Ask, Work, run_with
from bridge.cli.spool.tables import clock, counted, print_json
from bridge.daemon.requests import SPOOL

APPLY = "--apply does it"


def add(commands: Commands) -> None:
    """Add the commands."""
    sink = add_group(commands, "sink", "what a sink owes: forget it, rename it, send it again")
    purge = _add(
        sink, "purge", _purge, "forget a sink that no section names, and the events it still owes"
    )
    rename = _add(
        sink, "rename", _rename, "give what a sink that no section names owes another name"
    )
    rename.add_argument("name", help="its new NAME")
    rewind = _add(sink, "rewind", _rewind, "send again what was received since a time")
    rewind.add_argument("to", type=past_time, metavar="TIME", help=WHEN)
    for each in (purge, rename, rewind):
        add_apply(each)
        add_json(each)


def _add(commands: Commands, name: str, work: Work, text: str) -> argparse.ArgumentParser:
    parser = add_command(commands, name, partial(run_with, work), text)
    parser.add_argument("sink", help="NAME of the sink")
    return parser


async def _purge(ask: Ask, options: argparse.Namespace) -> int:
    answer = await ask(SPOOL, "purge", {"sink": options.sink, "apply": options.apply})
    if options.json:
        print_json({**answer, "applied": options.apply})
        return 0
    events = counted(answer["pending"], "pending event")
    if options.apply:
        print(f"{options.sink}: forgotten, with {events}")
    else:
        print(f"{options.sink}: would be forgotten, with {events}; its dead letters stay; {APPLY}")
    return 0


async def _rename(ask: Ask, options: argparse.Namespace) -> int:
    sink, name = options.sink, options.name
    asked = {"sink": sink, "name": name, "apply": options.apply}
    answer = await ask(SPOOL, "rename", asked)
    if options.json:
        print_json({**answer, "applied": options.apply})
        return 0
    said = "belong" if options.apply else "would belong"
    print(f"{sink}: its {counted(answer['pending'], 'pending event')} {said} to {name}")
    if answer["begun"]:
        print(
            f"{name} has begun already: it goes on where the one that is further behind was, so "
            "events may come again"
        )
    if not answer["configured"]:
        print(f"no section names {name}: they wait until there is [sink:{name}]")
    if not options.apply:
        print(APPLY)
    return 0


async def _rewind(ask: Ask, options: argparse.Namespace) -> int:
    sink, to = options.sink, options.to.isoformat()
    answer = await ask(SPOOL, "rewind", {"sink": sink, "to": to, "apply": options.apply})
    if options.json:
        print_json({**answer, "applied": options.apply})
        return 0
    if answer["reaches"] is None:
        print(
            f"{sink}: nothing to send again: of what was received since {clock(to)} UTC, nothing "
            "is kept that it is through with"
        )
        return 0
    said = "are" if options.apply else "would be"
    reaches = clock(answer["reaches"])
    print(f"{sink}: {counted(answer['again'], 'event')} {said} sent again")
    print(f"the oldest of them was received {reaches} UTC{_missing(to, answer['reaches'])}")
    if not options.apply:
        print(APPLY)
    return 0


def _missing(to: str, reaches: str) -> str:
    """What is said of the time before the oldest that is kept."""
    if datetime.fromisoformat(reaches) <= datetime.fromisoformat(to):
        return ""
    return f"; what was received between {clock(to)} and then, if anything, is not kept any more"
