"""What the arguments of several commands have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from bridge.api import Duration
from bridge.cli.loading import DEFAULT_CONFIG

CommandLine = Callable[[argparse.Namespace], int]
"""Does what was asked and returns the exit code."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

WHEN = "such as 2026-05-04T10:00 (UTC), 2026-05-04T10:00+02:00, or 2h: so long ago"


def add_command(
    commands: Commands, name: str, command: CommandLine, text: str
) -> argparse.ArgumentParser:
    """Add a command that reads a configuration."""
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    add_config(parser)
    return parser


def add_group(commands: Commands, name: str, text: str) -> Any:
    """Add a word with commands below it; returns what they are added to."""
    parser = commands.add_parser(name, help=text, description=text)
    return parser.add_subparsers(required=True, metavar="COMMAND")


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="the INI file (default: %(default)s)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def add_apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--apply", action="store_true", help="do it; without it, only what would be done is said"
    )


def add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit",
        type=positive,
        default=100,
        metavar="N",
        help="most that are shown (default: %(default)s)",
    )


def positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return int(text)


def time(text: str) -> datetime:
    """Read a moment, UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a time such as 2026-05-04T10:00, got {text!r}"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def past_time(text: str) -> datetime:
    """Read a moment, or how long ago it was."""
    try:
        return datetime.now(UTC) - timedelta(seconds=Duration.parse(text))
    except (ValueError, OverflowError):
        pass
    try:
        return time(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected a time such as 2026-05-04T10:00, or 2h for two hours ago, got {text!r}"
        ) from None
