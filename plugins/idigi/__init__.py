"""Digi Remote Manager, earlier called iDigi and Device Cloud: a source, its history,
and a command.

    push port ── push ── documents ──▶ events     source.py: one session in each run
    REST ─────── rest ── which monitor is ours    history.py, commands.py

``docs/facts/idigi.rst`` lists what is known of the vendor, each fact with the test that
holds it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from bridge.api import (
    Command,
    CommandContext,
    History,
    Recovery,
    SourceContext,
    SourceKind,
    hookimpl,
)

from .problems import PROBLEMS
from .settings import Settings

HOUR = 3600.0


def _add_monitor_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "show", "delete"), help="what to do")
    parser.add_argument(
        "id", nargs="?", type=int, help="number of the monitor, for show and delete"
    )
    parser.add_argument(
        "--force", action="store_true", help="delete a monitor that is not ours, or is in use"
    )


def lacks_for_history(settings: Settings) -> str | None:
    """What these settings lack for reading back what was missed; None: nothing."""
    if settings.replay or settings.streams:
        return None
    return (
        "replay is off and no streams are named, so the service saves nothing that could be "
        "read back"
    )


def meanwhile(settings: Settings) -> str:
    """What the service does about a gap by itself."""
    if settings.replay:
        return "its monitor records what happens and sends it first"
    return "nothing recorded it"


@hookimpl
def bridge_source_kinds() -> Sequence[SourceKind[Any]]:
    """The source. Its server replays what was missed: nothing is read back unasked,
    because the history is for what the replay has lost.
    """
    recovery = Recovery(
        open_history,
        lacks_for_history,
        meanwhile=meanwhile,
        parts="monitors and streams",
        automatic=False,
        after=HOUR,
        overlap=HOUR,
    )
    help_ = "Digi Remote Manager (iDigi, Device Cloud), TCP push monitors"
    return [
        SourceKind(
            "idigi",
            Settings,
            _run,
            recovery=recovery,
            on_stop=_stop,
            help=help_,
            problems=PROBLEMS,
        )
    ]


# What follows is imported once it is needed: a bridge without such a section has no use
# for 2 MB of it.


async def _run(
    settings: Settings, context: SourceContext, *, task_status: trio.TaskStatus[None]
) -> None:
    from .source import run

    await run(settings, context, task_status=task_status)


async def _stop(settings: Settings, context: SourceContext) -> None:
    from .source import stop

    await stop(settings, context)


@asynccontextmanager
async def open_history(settings: Settings, context: SourceContext) -> AsyncIterator[History]:
    """Open the history."""
    from . import history

    async with history.open_history(settings, context) as opened:
        yield opened


async def _run_monitors(context: CommandContext, arguments: Namespace) -> int:
    from .commands import run_monitors

    return await run_monitors(context, arguments)


@hookimpl
def bridge_commands() -> Sequence[Command]:
    """The command for the account's monitors."""
    help_ = "list, show and delete the monitors of the account"
    return [Command("idigi", "monitors", _run_monitors, help_, _add_monitor_arguments)]
