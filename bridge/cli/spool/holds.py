"""``bridged pause`` and ``bridged resume``: a source, a sink, or a device at a sink."""

from __future__ import annotations

import argparse
from functools import partial

from bridge.cli.arguments import Commands, add_command, add_json
from bridge.cli.spool.asking import Ask, run_with
from bridge.cli.spool.tables import print_json
from bridge.daemon.requests import CORE

NOTHING_LOST = {
    "source": "its vendor is told to send again later",
    "sink": "its events wait",
}


def add(commands: Commands) -> None:
    """Add the commands."""
    pause = add_command(
        commands,
        "pause",
        partial(run_with, _pause),
        "let a source, a sink or a device rest until it is resumed, over restarts too",
    )
    pause.add_argument("--why", default="", help="shown for as long as it lasts")
    resume = add_command(
        commands, "resume", partial(run_with, _resume), "let go on what was paused"
    )
    for each in (pause, resume):
        each.add_argument(
            "name", nargs="?", help="NAME of a source or sink, or source:NAME or sink:NAME"
        )
        each.add_argument(
            "--device", help="the vendor's id of a device: only that, at the sink, or at all"
        )
        add_json(each)


async def _pause(ask: Ask, options: argparse.Namespace) -> int:
    asked = {"name": options.name, "device": options.device, "why": options.why}
    instances = await ask(CORE, "pause", asked)
    if options.json:
        print_json({"paused": instances})
        return 0
    for instance in instances:
        if options.device is None:
            what, meanwhile = "paused", NOTHING_LOST[instance.partition(":")[0]]
            ending = f"bridged resume {instance}"
        else:
            what, meanwhile = f"device {options.device} is paused", "its events wait"
            ending = f"bridged resume {instance} --device {options.device}"
        print(f"{instance}: {what}; {meanwhile}, until: {ending}")
    return 0


async def _resume(ask: Ask, options: argparse.Namespace) -> int:
    asked = {"name": options.name, "device": options.device}
    instances = await ask(CORE, "resume", asked)
    if options.json:
        print_json({"resumed": instances})
        return 0
    what = "" if options.device is None else f"device {options.device} "
    for instance in instances:
        print(f"{instance}: {what}goes on")
    if not instances:
        print(f"{what or options.name + ' '}was not paused")
    return 0
