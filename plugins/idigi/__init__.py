"""Digi Remote Manager, earlier called iDigi and Device Cloud: a source, its history,
and an emulator for the service.

push port ── protocol.py ── session.py ── documents.py ──▶ events      source.py keeps the session up
REST ── rest.py, answers.py ── monitors.py (which monitor) · history.py (what was missed) · commands.py

What needs an HTTP client is imported when it is called: a bridge without a section of
this kind starts without it.

``docs/facts/idigi.rst`` lists what is known of the vendor, each fact with the test that
holds it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
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

from .settings import Settings

HOUR = 3600.0


async def _run(
    settings: Settings, context: SourceContext, *, task_status: trio.TaskStatus[None]
) -> None:
    from .source import run

    await run(settings, context, task_status=task_status)


def _open_history(
    settings: Settings, context: SourceContext
) -> AbstractAsyncContextManager[History]:
    from .history import open_history

    return open_history(settings, context)


async def _run_monitors(context: CommandContext, arguments: Namespace) -> int:
    from .commands import run_monitors

    return await run_monitors(context, arguments)


def _add_monitor_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "show", "delete"), help="what to do")
    parser.add_argument(
        "id", nargs="?", type=int, help="number of the monitor, for show and delete"
    )
    parser.add_argument(
        "--force", action="store_true", help="delete a monitor that is not ours, or is in use"
    )


def lacks_for_history(settings: Settings) -> str | None:
    """Say what these settings lack for reading back what was missed; None: nothing."""
    if settings.replay or settings.streams:
        return None
    return (
        "replay is off and no streams are named, so the service saves nothing that could be "
        "read back"
    )


@hookimpl
def bridge_source_kinds() -> Sequence[SourceKind[Any]]:
    """Give the source.

    Its server replays what was missed; the history is for what the replay has lost.
    """
    recovery = Recovery(
        _open_history,
        lacks_for_history,
        meanwhile=lambda settings: (
            "its monitor records what happens and sends it first"
            if settings.replay
            else "nothing recorded it"
        ),
        parts="monitors and streams",
        automatic=False,
        after=HOUR,
        overlap=HOUR,
    )
    help_ = "Digi Remote Manager (iDigi, Device Cloud), TCP push monitors"
    return [SourceKind("idigi", Settings, _run, recovery=recovery, help=help_)]


@hookimpl
def bridge_commands() -> Sequence[Command]:
    """Give the command for the account's monitors."""
    help_ = "list, show and delete the monitors of the account"
    return [Command("idigi", "monitors", _run_monitors, help_, _add_monitor_arguments)]
