"""``bridged idigi monitors``: which monitors the account has, and deleting those that
nobody needs.

    list            all of transport TCP; ours has the description of the section
    show 178008     every element of one
    delete 178008   only if it is ours and nobody is attached to it, or with --force
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping

from bridge.api import CommandContext, CommandError, shortened

from .rest.monitor_api import MonitorApi, open_api
from .rest.wanted import is_live, tag

LIST_HEAD = ("ID", "OURS", "STATUS", "LAST CONNECT", "TOPICS", "DESCRIPTION")


async def run_monitors(context: CommandContext, arguments: Namespace) -> int:
    """Do what the arguments say, and print it: ``action``, ``id`` (None for ``list``)
    and ``force``.

    :raises CommandError: if it cannot be done.
    """
    if (arguments.id is None) != (arguments.action == "list"):
        needs = "takes no number" if arguments.action == "list" else "needs the number of a monitor"
        raise CommandError(f"monitors {arguments.action} {needs}; see: bridged idigi monitors list")
    ours = tag(context.settings, context.name)
    async with open_api(context.settings, context.now) as api:
        if arguments.action == "list":
            for line in table(await api.list_tcp(), ours):
                print(line)
        elif arguments.action == "show":
            for name, value in (await _existing(api, arguments.id)).items():
                print(f"{shortened(name)}: {shortened(value)}")
        else:
            await _delete(api, arguments.id, ours, force=arguments.force)
    return 0


def table(monitors: Iterable[Mapping[str, str]], ours: str) -> list[str]:
    """Write monitors in columns, one line each, below a head."""
    rows: list[tuple[str, ...]] = [LIST_HEAD]
    for monitor in monitors:
        mine = "yes" if monitor.get("monDescription") == ours else "no"
        names = ("monStatus", "monLastConnect", "monTopic", "monDescription")
        rows.append((_cell(monitor, "monId"), mine, *(_cell(monitor, name) for name in names)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _cell(monitor: Mapping[str, str], name: str) -> str:
    return shortened(monitor.get(name, "")) or "-"


async def _existing(api: MonitorApi, monitor_id: int) -> Mapping[str, str]:
    found = await api.read(monitor_id)
    if found is None:
        raise CommandError(
            f"the account has no monitor {monitor_id}; see: bridged idigi monitors list"
        )
    return found


async def _delete(api: MonitorApi, monitor_id: int, ours: str, *, force: bool) -> None:
    found = await _existing(api, monitor_id)
    objections = []
    if is_live(found):
        objections.append("somebody is attached to it")
    if found.get("monDescription") != ours:
        described = shortened(found.get("monDescription", ""))
        objections.append(f"its description is {described!r}, ours is {ours!r}")
    if objections and not force:
        raise CommandError(
            f"monitor {monitor_id} is not deleted: {' and '.join(objections)}; --force deletes it"
        )
    if not await api.delete(monitor_id):
        raise CommandError(f"monitor {monitor_id} was deleted by somebody else meanwhile")
    print(f"monitor {monitor_id} is deleted, and what it had recorded is gone")
