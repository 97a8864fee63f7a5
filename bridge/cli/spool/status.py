"""``bridged status``: how the running bridge is, on a terminal."""

from __future__ import annotations

import argparse
from functools import partial

from bridge.api import JSON, printable
from bridge.cli.arguments import Commands, add_command, add_json
from bridge.cli.spool.asking import Ask, run_with
from bridge.cli.spool.tables import clock, counted, due, print_json
from bridge.daemon.requests import CORE


def add(commands: Commands) -> None:
    """Add the command."""
    add_json(
        add_command(commands, "status", partial(run_with, _status), "show how the bridge is now")
    )


async def _status(ask: Ask, options: argparse.Namespace) -> int:
    status = await ask(CORE, "status")
    if options.json:
        print_json(status)
        return 0
    print(f"bridge {status['instance']}, running since {clock(status['started'])} UTC")
    problems = [line for each in status["problems"].items() for line in _problem(*each)]
    if status["spool"]["refusal"] is not None:
        problems.insert(0, f"spool: {status['spool']['refusal']}")
    _section("problems", problems or ["none"])
    _section("sources", [line for source in status["sources"] for line in _source(source)])
    _section("sinks", [line for sink in status["sinks"] for line in _sink(sink)])
    return 0


def _section(name: str, lines: list[str]) -> None:
    print(f"{name}:")
    for line in lines:
        print(f"  {printable(line)}")


def _problem(place: str, state: JSON) -> list[str]:
    since = clock(state["since"])
    return [
        f"{place}: {state['text']} (since {since}) [{state['problem']}]",
        f"  {state['remedy']}",
    ]


def _source(source: JSON) -> list[str]:
    return [
        f"{source['name']} ({source['plugin']}): {source['state'] or '-'}",
        *(f"  {remark}" for remark in source["remarks"]),
        (
            f"  {counted(source['events'], 'event')}, {source['refused']:,} refused, the last "
            f"{clock(source['last'])}"
        ),
    ]


def _sink(sink: JSON) -> list[str]:
    state = "orphaned: no section names it" if sink["orphaned"] else sink["state"] or "-"
    lines = [f"{sink['name']} ({sink['plugin']}): {state}"]
    lines += [f"  {remark}" for remark in sink["remarks"]]
    if sink["received"] is None:
        return lines
    again = f" + again {sink['again']:,}" if sink["again"] else ""
    lines.append(
        f"  received {sink['received']:,}{again} = delivered {sink['delivered']:,} + "
        f"dead {sink['dead']:,} + filtered {sink['filtered']:,} + expired {sink['expired']:,} + "
        f"pending {sink['pending']:,}"
    )
    if sink["oldest_pending"] is not None:
        lines.append(f"  the oldest that waits was received {clock(sink['oldest_pending'])}")
    if sink["parked_devices"]:
        lines.append(
            f"  {counted(sink['parked'], 'event')} of "
            f"{counted(sink['parked_devices'], 'device')} wait apart:"
        )
        lines += [_parked(device) for device in sink["first_parked"]]
        if sink["parked_devices"] > len(sink["first_parked"]):
            lines.append(f"    and more: bridged parked {sink['name']}")
    return lines


def _parked(device: JSON) -> str:
    return (
        f"    {device['device']}: {counted(device['events'], 'event')} since "
        f"{clock(device['since'])}, tried again {due(device['due'])}: {device['why']}"
    )
