"""Commands of plugins: ``bridged KIND NAME ...``, and the one that every kind with a
history has, ``backfill``.

arguments ─▶ the section they are for ─┬─▶ its settings ─────────▶ the command
                                       └─▶ the control socket ──▶ the running bridge
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import trio

from bridge.admin.control import ask
from bridge.admin.settings import AdminSettings
from bridge.api import (
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
from bridge.cli.backfill import backfill_command
from bridge.cli.loading import (
    CONFIGURATION,
    FAILED,
    INTERRUPTED,
    USAGE,
    core_redaction,
    first_of,
)
from bridge.cli.redacted_output import redacted_output
from bridge.config import SourceFiles, section_alone, section_names
from bridge.daemon.config import Config
from bridge.daemon.instance import control_socket, utc_now
from bridge.daemon.settings import BridgeSettings
from bridge.plugins.discovery import Registry


def all_commands(registry: Registry) -> list[Command]:
    """The commands of the plugins, and ``backfill`` for each kind of source with a
    history.
    """
    backfills = [
        backfill_command(kind) for kind in registry.sources.values() if kind.recovery is not None
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
    files: SourceFiles,
    registry: Registry,
    load_config: Callable[[], Config | None],
    environ: Mapping[str, str],
) -> int:
    """Run the command of a plugin and return its exit code.

    :param load_config: reads the whole configuration; None if it cannot be used, which
        has been printed.
    """
    command: Command = options.plugin_command
    name = _section(command, files, registry, options.name)
    if name is None:
        return USAGE
    role = "source" if command.kind in registry.sources else "sink"
    settings: Any = None
    # Of the core's sections, for a command that only asks: the bridge does it itself in
    # what it answers.
    redact = core_redaction(files, environ)
    if not command.asks:
        config = load_config()
        if config is None:
            return CONFIGURATION
        enabled = config.sources if role == "source" else config.sinks
        sections = {section.name: section for section in enabled}
        if name not in sections:
            print(f"[{role}:{name}] is not enabled", file=sys.stderr)
            return CONFIGURATION
        settings = sections[name].settings
        redact = config.redact
    bridge = section_alone(files, "bridge", BridgeSettings, environ=environ)
    admin = section_alone(files, "admin", AdminSettings, environ=environ)
    asking = partial(ask, control_socket(bridge, admin, environ), f"{role}:{name}")
    context = CommandContext(name=name, settings=settings, ask=asking, now=utc_now)
    status = FAILED
    with redacted_output(redact):
        try:
            status = trio.run(command.run, context, options)
        except* KeyboardInterrupt:
            status = INTERRUPTED
        except* (CommandError, SettingError, Retry, Pause, Reject) as group:
            print(first_of(group), file=sys.stderr)
        except* Exception as group:
            traceback.print_exception(group)  # here, where it shows no secret
    return status


def _section(
    command: Command, files: SourceFiles, registry: Registry, wanted: str | None
) -> str | None:
    """Return NAME of the section that a command is for; None if that is not clear."""
    kinds: list[SourceKind[Any] | SinkKind[Any]] = [
        family[command.kind]
        for family in (registry.sources, registry.sinks)
        if command.kind in family
    ]
    names = [name for kind in kinds for name in section_names(files, kind)]
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
            f"{files.files[0]}: expected a section with plugin = {command.kind}; {there}",
            file=sys.stderr,
        )
    return None
