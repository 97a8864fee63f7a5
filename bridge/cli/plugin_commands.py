"""Commands of plugins: ``bridged KIND NAME ...``, and the one that every kind with a
history has, ``backfill``.

arguments ─▶ the section they are for ─┬─▶ its settings ─────────▶ the command
                                       └─▶ the control socket ──▶ the running bridge
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import trio

from bridge.admin.control import ask
from bridge.api import (
    JSON,
    Command,
    CommandContext,
    CommandError,
    Pause,
    Reject,
    Retry,
    SettingError,
    SinkKind,
    SourceKind,
)
from bridge.config import Config, Document, admin_settings, bridge_settings, section_names
from bridge.daemon.instance import control_socket, utc_now
from bridge.flow.recovery.backfill import BACKFILL, PROGRESS
from bridge.plugins.discovery import Registry

FAILED = 1
USAGE = 2
CONFIGURATION = 78
INTERRUPTED = 130
POLL = 1.0  # seconds between two looks at the progress of a backfill

Load: TypeAlias = Callable[[Path], Config | None]
"""Read a whole configuration; None if it cannot be used, which has been said."""


def all_commands(registry: Registry) -> list[Command]:
    """Give the commands of the plugins, and ``backfill`` for each kind of source with a
    history.
    """
    backfills = [
        _backfill_command(kind) for kind in registry.sources.values() if kind.recovery is not None
    ]
    return sorted(
        [*registry.commands.values(), *backfills], key=lambda command: (command.kind, command.name)
    )


def add_commands(
    parsers: Any, commands: Sequence[Command], configured: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Add a parser for each kind with commands, and below it one for each command.

    :param parsers: the sub-parsers of ``bridged``.
    :param configured: adds the arguments that say which configuration is meant.
    """
    for kind in dict.fromkeys(command.kind for command in commands):
        text = f"commands of the plugin {kind}"
        names = parsers.add_parser(kind, help=text, description=text).add_subparsers(
            required=True, metavar="COMMAND"
        )
        for command in (each for each in commands if each.kind == kind):
            parser = names.add_parser(command.name, help=command.help, description=command.help)
            configured(parser)
            parser.add_argument(
                "--name", help="NAME of the section; needed if the plugin has several"
            )
            command.arguments(parser)
            parser.set_defaults(plugin_command=command)


def run_command(
    options: argparse.Namespace,
    document: Document,
    registry: Registry,
    load: Load,
    environ: Mapping[str, str],
) -> int:
    """Run the command of a plugin and give its exit code."""
    command: Command = options.plugin_command
    name = _section(command, document, registry, options.name)
    if name is None:
        return USAGE
    role = "source" if command.kind in registry.sources else "sink"
    settings: Any = None
    redact: Callable[[str], str] = str  # the bridge does it itself in what it answers
    if not command.asks:
        config = load(options.config)
        if config is None:
            return CONFIGURATION
        sections = {
            section.name: section
            for section in (config.sources if role == "source" else config.sinks)
        }
        if name not in sections:
            print(f"[{role}:{name}] is not enabled", file=sys.stderr)
            return CONFIGURATION
        settings = sections[name].settings
        redact = config.redact
    core = bridge_settings(document, environ=environ), admin_settings(document, environ=environ)
    asking = partial(ask, control_socket(*core, environ), f"{role}:{name}")
    context = CommandContext(name=name, settings=settings, ask=asking, now=utc_now)
    status = FAILED
    try:
        status = trio.run(command.run, context, options)
    except* KeyboardInterrupt:
        status = INTERRUPTED
    except* (CommandError, SettingError, Retry, Pause, Reject) as group:
        print(redact(str(_first(group))), file=sys.stderr)
    return status


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc


def _section(
    command: Command, document: Document, registry: Registry, wanted: str | None
) -> str | None:
    """Find the section that a command is for; None if that is not clear, which is said."""
    kinds: list[SourceKind[Any] | SinkKind[Any]] = [
        family[command.kind]
        for family in (registry.sources, registry.sinks)
        if command.kind in family
    ]
    names = [name for kind in kinds for name in section_names(document, kind)]
    if wanted is not None and wanted in names:
        return wanted
    if wanted is None and len(names) == 1:
        return names[0]
    there = f"there are: {', '.join(names)}" if names else "there is none"
    if wanted is not None:
        print(
            f"no section with plugin = {command.kind} is called {wanted!r}; {there}",
            file=sys.stderr,
        )
    elif names:
        print(
            f"several sections have plugin = {command.kind}; say which one with --name; {there}",
            file=sys.stderr,
        )
    else:
        print(
            f"{document.files[0]}: expected a section with plugin = {command.kind}; {there}",
            file=sys.stderr,
        )
    return None


def _backfill_command(kind: SourceKind[Any]) -> Command:
    return Command(
        kind=kind.name,
        name=BACKFILL,
        run=_backfill,
        help="have the running bridge read back what happened in a span of time; what is "
        "known already is known once",
        arguments=_backfill_arguments,
        asks=True,
    )


def _backfill_arguments(parser: argparse.ArgumentParser) -> None:
    when = "such as 2026-05-04T10:00 (UTC) or 2026-05-04T10:00+02:00"
    parser.add_argument(
        "--from", dest="start", type=_time, required=True, metavar="TIME", help=when
    )
    parser.add_argument(
        "--to", dest="end", type=_time, default=None, metavar="TIME", help="default: now"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be read")


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a time such as 2026-05-04T10:00, got {text!r}"
        ) from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


async def _backfill(context: CommandContext, options: argparse.Namespace) -> int:
    end = options.end or context.now()
    span = {"from": options.start.isoformat(), "to": end.isoformat(), "dry_run": options.dry_run}
    answer = await context.ask(BACKFILL, span)
    if options.dry_run:
        for part in answer["parts"]:
            print(part)
        called = answer["called"]
        print(
            f"would read {len(answer['parts'])} {called} from {_short(options.start)} to "
            f"{_short(end)}"
        )
        return 0
    print(
        f"{context.name}: job {answer['job']}; it goes on in the bridge, whatever becomes of "
        "this command"
    )
    return await _follow(context, answer["job"])


async def _follow(context: CommandContext, job: int) -> int:
    told = ""
    while True:
        progress: JSON = await context.ask(PROGRESS, {"job": job})
        if progress["text"] != told:
            told = progress["text"]
            print(told, flush=True)
        if progress["finished"]:
            return 0
        await trio.sleep(POLL)


def _short(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
