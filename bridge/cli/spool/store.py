"""``bridged store``: the files of the spool are checked, copied and mended.

Only the sections [bridge] and [spool] are looked at: a mistake elsewhere must not keep
anybody from saving what is there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from pathlib import Path

import trio
from attrs import frozen

from bridge.admin import control
from bridge.admin.settings import AdminSettings
from bridge.api import JSON, CommandError
from bridge.api.spool import SpoolError
from bridge.api.store import ChangeStore, StoreReport, StoreTools
from bridge.cli.arguments import Commands, add_apply, add_command, add_group, add_json
from bridge.cli.loading import CONFIGURATION, FAILED, INTERRUPTED, core_redaction, plugins_of
from bridge.cli.redacted_output import redacted_output
from bridge.cli.spool.tables import print_json
from bridge.config import read, section_alone
from bridge.daemon.instance import control_socket, state_folder, utc_now
from bridge.daemon.requests import SPOOL
from bridge.daemon.settings import BridgeSettings, SpoolSettings

POLL = 0.2  # seconds between two looks at a backup of a running bridge


@frozen
class Store:
    """What a command works on."""

    tools: StoreTools
    directory: Path
    socket: Path
    """Where a running bridge answers."""


Work = Callable[[Store, argparse.Namespace], int]


def add(commands: Commands) -> None:
    """Add the commands."""
    store = add_group(commands, "store", "the files of the spool: check, copy and mend them")
    check = _add(store, "check", _check, "look for damage, while a bridge runs or not")
    repair = _add(
        store,
        "repair",
        partial(_change, attrgetter("repair")),
        "make a sound file of a damaged one, which is kept; no bridge runs",
    )
    compact = _add(
        store,
        "compact",
        partial(_change, attrgetter("compact")),
        "give room inside the file back to the disk; no bridge runs",
    )
    accept = _add(
        store,
        "accept",
        partial(_change, attrgetter("accept")),
        "go on with the file that is there, although another was there before",
    )
    backup = _add(store, "backup", _backup, "copy the spool, while a bridge runs or not")
    backup.add_argument("target", type=Path, metavar="FOLDER", help="is made; holds the copy")
    export = _add(store, "export", _export, "print all events that can be read, as JSON lines")
    for each in (repair, compact, accept):
        add_apply(each)
    for each in (check, repair, compact, accept, backup):
        add_json(each)
    export.set_defaults(json=False)


def _add(commands: Commands, name: str, work: Work, text: str) -> argparse.ArgumentParser:
    return add_command(commands, name, partial(_run, work), text)


def _run(work: Work, options: argparse.Namespace) -> int:
    files = read(options.config)
    if not files.complete:
        for diagnostic in files.diagnostics:
            print(diagnostic, file=sys.stderr)
        return CONFIGURATION
    bridge = section_alone(files, "bridge", BridgeSettings, environ=os.environ)
    admin = section_alone(files, "admin", AdminSettings, environ=os.environ)
    plugin = section_alone(files, "spool", SpoolSettings, environ=os.environ).plugin
    kind = plugins_of(files).spools.get(plugin)
    if kind is None or kind.store is None:
        why = "is not known" if kind is None else "has no files to look after"
        print(f"[spool] plugin: a spool of the kind {plugin!r} {why}", file=sys.stderr)
        return CONFIGURATION if kind is None else FAILED
    store = Store(
        kind.store, state_folder(bridge, os.environ), control_socket(bridge, admin, os.environ)
    )
    with redacted_output(core_redaction(files, os.environ)):
        try:
            return work(store, options)
        except (SpoolError, CommandError) as exc:
            print(exc, file=sys.stderr)
            return FAILED
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:
            # Who reads the output has seen enough; nothing may be flushed once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED


def _check(store: Store, options: argparse.Namespace) -> int:
    report = store.tools.check(store.directory, beat=_no_beat)
    _tell(report, options, {})
    return FAILED if report.problems else 0


def _change(
    tool: Callable[[StoreTools], ChangeStore], store: Store, options: argparse.Namespace
) -> int:
    change = tool(store.tools)
    report = change(store.directory, apply=options.apply, now=utc_now, beat=_no_beat)
    _tell(report, options, {"applied": options.apply})
    if report.to_do and not options.json:
        print("--apply does it")
    return 0


def _backup(store: Store, options: argparse.Namespace) -> int:
    target: Path = options.target.absolute()  # the bridge has a working directory of its own
    if trio.run(control.answers, store.socket):
        answer = trio.run(_backup_of_running, store.socket, target)
        report = StoreReport(tuple(answer["lines"]), answer["facts"])
    else:
        report = store.tools.backup(store.directory, target, now=utc_now, beat=_no_beat)
    _tell(report, options, {})
    return 0


async def _backup_of_running(socket: Path, target: Path) -> JSON:
    await control.ask(socket, SPOOL, "backup", {"target": str(target)})
    while True:
        answer = await control.ask(socket, SPOOL, "backup-progress")
        if answer is not None:
            return answer
        await trio.sleep(POLL)


def _export(store: Store, options: argparse.Namespace) -> int:
    for line in store.tools.export(store.directory, beat=_no_beat):
        print(line.decode(), end="")
    return 0


def _tell(report: StoreReport, options: argparse.Namespace, more: dict[str, JSON]) -> None:
    if options.json:
        print_json({**report.facts, **more, "problems": list(report.problems)})
        return
    for line in report.lines:
        print(line)
    for problem in report.problems:
        print(f"store: {problem}", file=sys.stderr)


def _no_beat() -> None:
    pass
