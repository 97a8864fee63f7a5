"""``bridged parked`` and ``bridged retry``: the devices that wait apart."""

from __future__ import annotations

import argparse
from functools import partial

from bridge.admin.sinks import MAX_PAGE
from bridge.api import JSON
from bridge.cli.arguments import Commands, add_command, add_json, add_limit
from bridge.cli.spool.asking import Ask, run_with
from bridge.cli.spool.tables import clock, counted, due, print_json, print_table
from bridge.daemon.requests import SPOOL
from bridge.flow.recovery.gaps import span


def add(commands: Commands) -> None:
    """Add the commands."""
    parked = add_command(
        commands,
        "parked",
        partial(run_with, _parked),
        "list the devices that wait apart at a sink, and why",
    )
    parked.add_argument("sink", nargs="?", help="NAME of the sink; default: all")
    parked.add_argument("--after", default="", metavar="DEVICE", help="behind this device")
    add_limit(parked)
    retry = add_command(
        commands,
        "retry",
        partial(run_with, _retry),
        "try parked devices of a sink now, instead of when they are due",
    )
    retry.add_argument("sink", help="NAME of the sink")
    retry.add_argument("device", nargs="?", help="the vendor's id of the device; default: all")
    for each in (parked, retry):
        add_json(each)


async def _parked(ask: Ask, options: argparse.Namespace) -> int:
    if options.sink is not None:
        sinks = [options.sink]
    else:
        accounts = await ask(SPOOL, "accounts")
        sinks = [account["sink"] for account in accounts if account["parked_devices"]]
    devices: list[JSON] = []
    more: dict[str, str] = {}
    for sink in sinks:
        found, following = await _first_of(ask, sink, options.after, options.limit)
        devices += found
        if following is not None:
            more[sink] = following
    if options.json:
        print_json({"devices": devices, "next": more})
        return 0
    if not devices:
        print("no device is parked")
        return 0
    print_table(
        ("sink", "device", "events", "oldest (UTC)", "waits", "tried again", "attempts", "why"),
        [
            (
                device["sink"],
                device["device"],
                device["events"],
                clock(device["since"]),
                span(device["waited"]),
                due(device["due"]),
                device["attempts"],
                device["why"],
            )
            for device in devices
        ],
    )
    for sink, following in more.items():
        print(f"there are more; the next ones: bridged parked {sink} --after {following}")
    return 0


async def _first_of(ask: Ask, sink: str, after: str, limit: int) -> tuple[list[JSON], str | None]:
    """As many devices as are wanted, and behind which one there are more."""
    found: list[JSON] = []
    while len(found) <= limit:
        page = await ask(SPOOL, "parked", {"sink": sink, "after": after, "limit": MAX_PAGE})
        if not page:
            return found, None
        found += page
        after = page[-1]["device"]
    return found[:limit], found[limit - 1]["device"]


async def _retry(ask: Ask, options: argparse.Namespace) -> int:
    answer = await ask(SPOOL, "retry", {"sink": options.sink, "device": options.device})
    if options.json:
        print_json(answer)
    else:
        devices = counted(answer["due"], "parked device")
        print(f"{options.sink}: {devices} {'is' if answer['due'] == 1 else 'are'} due now")
    return 0
