"""The command ``bridged``: which commands there are, and what they understand.

Exit codes: 0 good, 1 failed, 2 usage, 78 configuration.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from bridge import __version__
from bridge.api import Duration
from bridge.cli import config_commands
from bridge.cli.arguments import CommandLine, add_command, add_config
from bridge.cli.loading import CONFIGURATION, load, plugins_of
from bridge.cli.plugin_commands import add_commands, all_commands, run_command
from bridge.cli.run import run_daemon
from bridge.cli.spool import audit, dead, holds, parked, sinks, status, store
from bridge.config import read
from bridge.daemon.config import Config
from bridge.plugins.discovery import Registry, load_emulators, load_plugins


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    parser, commands = _parser()
    registry = None
    if not arguments or arguments[0] not in commands.choices:
        # Perhaps a plugin has it. The file is looked for before the rest is understood:
        # it names folders of plugins.
        finding = argparse.ArgumentParser(add_help=False)
        add_config(finding)
        registry = _plugins(finding.parse_known_args(arguments)[0].config)
        add_commands(commands, all_commands(registry), add_config)
    options = parser.parse_args(arguments)
    if registry is not None:
        return _run_plugin_command(options, registry)
    command: CommandLine = options.command
    return command(options)


def _plugins(path: Path) -> Registry:
    return plugins_of(read(path)) if os.path.exists(path) else load_plugins(())


def _run_plugin_command(options: argparse.Namespace, registry: Registry) -> int:
    files = read(options.config)
    if not files.complete:
        for diagnostic in files.diagnostics:
            print(diagnostic, file=sys.stderr)
        return CONFIGURATION

    def load_config() -> Config | None:
        # Not as for a check, in which a credential that is not there is replaced by a
        # word.
        return load(files, checking=False, registry=registry).config

    return run_command(options, files, registry, load_config, os.environ)


def _parser() -> tuple[
    argparse.ArgumentParser, argparse._SubParsersAction[argparse.ArgumentParser]
]:
    parser = argparse.ArgumentParser(
        prog="bridged", description="Moves sensor readings between clouds and loses none."
    )
    parser.add_argument("--version", action="version", version=f"bridged {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for name, command, text in (
        ("run", run_daemon, "run the bridge until SIGTERM or Ctrl-C"),
        ("check", config_commands.check, "check a configuration; every mistake at once"),
        (
            "show-config",
            config_commands.show,
            "show what is in effect, and where each value comes from",
        ),
        (
            "plugins",
            config_commands.list_plugins,
            "list the plugins, and why one is not loaded",
        ),
    ):
        add_command(commands, name, command, text)
    for each in (status, audit, dead, parked, sinks, holds, store):
        each.add(commands)

    def add(name: str, command: CommandLine, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    sample = add(
        "sample-config",
        config_commands.sample,
        "print a commented configuration to begin with",
    )
    sample.add_argument("plugin", nargs="*", help="only the sections of these plugins")
    demo = add("demo", _demo, "run the bridge between emulated clouds on this machine, live")
    demo.add_argument(
        "--for",
        dest="seconds",
        type=_duration,
        default=float("inf"),
        metavar="TIME",
        help="such as 20s",
    )
    demo.add_argument(
        "--rate",
        type=float,
        default=2.0,
        help="events a second of each cloud (default: %(default)s)",
    )
    return parser, commands


def _duration(text: str) -> float:
    try:
        return Duration.parse(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"expected {exc}, got {text!r}") from exc


def _demo(options: argparse.Namespace) -> int:
    # Imported here: certificates and emulators, which the daemon never needs.
    from bridge.cli.demo import run_demo

    return trio.run(lambda: run_demo(load_emulators(), seconds=options.seconds, rate=options.rate))
