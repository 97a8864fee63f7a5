"""The command ``bridged``: which commands there are, and what they understand.

Exit codes: 0 good, 1 failed, 2 usage, 78 configuration.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from bridge import __version__
from bridge.api import Duration
from bridge.cli import config_commands, spool_commands
from bridge.cli.loading import CONFIGURATION, DEFAULT_CONFIG, load, plugins_of
from bridge.cli.plugin_commands import add_commands, all_commands, run_command
from bridge.cli.run import run_daemon
from bridge.config import read
from bridge.daemon.config import Config
from bridge.plugins.discovery import Registry, load_emulators, load_plugins

CommandLine = Callable[[argparse.Namespace], int]


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    parser, commands = _parser()
    registry = None
    if not arguments or arguments[0] not in commands.choices:
        # Perhaps a plugin has it. The file is looked for before the rest is understood:
        # it names folders of plugins.
        finding = argparse.ArgumentParser(add_help=False)
        _configured(finding)
        registry = _plugins(finding.parse_known_args(arguments)[0].config)
        add_commands(commands, all_commands(registry), _configured)
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


def _configured(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="the INI file (default: %(default)s)",
    )


def _parser() -> tuple[
    argparse.ArgumentParser, argparse._SubParsersAction[argparse.ArgumentParser]
]:
    parser = argparse.ArgumentParser(
        prog="bridged", description="Moves sensor readings between clouds and loses none."
    )
    parser.add_argument("--version", action="version", version=f"bridged {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: CommandLine, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    configured = [
        add("run", run_daemon, "run the bridge until SIGTERM or Ctrl-C"),
        add("check", config_commands.check, "check a configuration; every mistake at once"),
        add(
            "show-config",
            config_commands.show,
            "show what is in effect, and where each value comes from",
        ),
        add(
            "audit",
            spool_commands.audit,
            "prove from the spool that for each sink every event is in exactly one state",
        ),
        add(
            "plugins",
            config_commands.list_plugins,
            "list the plugins, and why one is not loaded",
        ),
    ]
    purge = add(
        "purge-sink",
        spool_commands.purge_sink,
        "forget a sink that no section names, and the events it still owes",
    )
    purge.add_argument("sink", help="NAME of the sink")
    for each in (*configured, purge):
        _configured(each)
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
