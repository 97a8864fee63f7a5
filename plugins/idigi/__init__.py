"""Digi Remote Manager, earlier called iDigi and Device Cloud: a source, its history,
and a command.

    push port ── push ── documents ──▶ events     source.py: one session in each run
    REST ─────── rest ── which monitor is ours    history.py, commands.py

``docs/facts/idigi.rst`` lists what is known of the vendor, each fact with the test that
holds it.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from bridge.api import Command, Recovery, SourceKind, hookimpl

from .commands import run_monitors
from .history import open_history
from .settings import Settings
from .source import run, stop

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
    return [SourceKind("idigi", Settings, run, recovery=recovery, on_stop=stop, help=help_)]


@hookimpl
def bridge_commands() -> Sequence[Command]:
    """The command for the account's monitors."""
    help_ = "list, show and delete the monitors of the account"
    return [Command("idigi", "monitors", run_monitors, help_, _add_monitor_arguments)]
