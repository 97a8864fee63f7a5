"""Source: sensors of Disruptive Technologies (DT), pushed to us by an HTTP Data
Connector.

    DT ── POST, one event each ──▶ webhook ─ verify ─ events ─▶ Event
    DT ◀── rest ──┬── history      reads back what was not pushed
                  ├── connector    kept as the settings ask
                  └── commands     bridged disruptive connectors

Every request is answered 200 once its event is durable, and otherwise sent again by DT
for 12 hours (vendor documentation). The bridge asks DT for nothing unless it has
credentials of a service account, or verifies with DT's public keys.

What needs cryptography is imported when it is called: most commands do not, and it is
slow to load.

``docs/facts/disruptive.rst`` lists what is known of the vendor, each fact with the test
that holds it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

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
DAY = 24 * HOUR


@hookimpl
def bridge_source_kinds() -> Sequence[SourceKind[Settings]]:
    """Return the source."""
    recovery = Recovery(
        open_history,
        lacks,
        after=11 * HOUR,  # DT sends each event again for 12 hours: a shorter gap it closes itself
        overlap=60.0,
        delay=10.0,
        reach=30 * DAY,  # 31 by newer pages of DT's, 30 by older ones
    )
    return [
        SourceKind(
            "disruptive",
            Settings,
            _run,
            paths=lambda settings: [settings.path],
            recovery=recovery,
            help="Disruptive Technologies sensors, by HTTP Data Connector",
            problems=PROBLEMS,
        )
    ]


async def _run(
    settings: Settings, context: SourceContext, *, task_status: trio.TaskStatus[None]
) -> None:
    from .webhook import run

    await run(settings, context, task_status=task_status)


def lacks(settings: Settings) -> str | None:
    """Return what the settings lack to read the history; None if nothing."""
    if not settings.missing_for_rest:
        return None
    return (
        f"{', '.join(settings.missing_for_rest)} are not set, so what DT has given up sending "
        "(events older than 12 hours, and all that happened while the connector was disabled) is "
        "missing and stays so; a service account with the role Project User would recover up to "
        "30 days of it"
    )


@asynccontextmanager
async def open_history(settings: Settings, context: SourceContext) -> AsyncIterator[History]:
    """Open the history."""
    from . import history

    async with history.open_history(settings, context) as opened:
        yield opened


@hookimpl
def bridge_commands() -> Sequence[Command]:
    """Return the command for the project's Data Connectors."""
    help_ = "show, create, correct, watch and delete the Data Connectors of the project"
    return [Command("disruptive", "connectors", _run_connectors, help_, _add_connector_arguments)]


async def _run_connectors(context: CommandContext, arguments: Namespace) -> int:
    from .commands import run_connectors

    return await run_connectors(context, arguments)


def _add_connector_arguments(parser: ArgumentParser) -> None:
    actions = (
        "list",
        "show",
        "create",
        "update",
        "apply",
        "enable",
        "disable",
        "sync",
        "metrics",
        "delete",
    )
    parser.add_argument(
        "action", choices=actions, help="apply creates or corrects, update only corrects"
    )
    parser.add_argument(
        "id", nargs="?", metavar="ID", help="default: the connector of the settings"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, without secrets")
    parser.add_argument(
        "--dry-run", action="store_true", help="apply: only show what differs from the settings"
    )
    parser.add_argument(
        "--enable", action="store_true", help="apply: also enable the connector if it is disabled"
    )
    parser.add_argument(
        "--yes", action="store_true", help="disable, delete: yes, lose what is not pushed meanwhile"
    )
