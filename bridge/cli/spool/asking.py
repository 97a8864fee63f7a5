"""Who answers a command: the running bridge, or the spool that no bridge has open.

    command ─▶ control socket ─▶ running bridge
       └─ nobody there ─▶ lock of the spool ─▶ the same answers, in this process

The running bridge is asked with the sections [bridge] and [admin] alone: a mistake
elsewhere, or a credential that only the service may read, is no hindrance.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

import trio

from bridge.admin import control
from bridge.admin.settings import AdminSettings
from bridge.api import JSON, CommandError, CommandHandler, Problem
from bridge.api.spool import SpoolError
from bridge.cli.loading import (
    CONFIGURATION,
    FAILED,
    INTERRUPTED,
    core_redaction,
    first_of,
    load_config,
)
from bridge.cli.redacted_output import redacted_output
from bridge.config import read, section_alone
from bridge.daemon.config import Config
from bridge.daemon.instance import Bridge, control_socket
from bridge.daemon.requests import make_holds, spool_handlers
from bridge.daemon.run_bridge import open_spool
from bridge.daemon.settings import BridgeSettings


class Ask(Protocol):
    """Ask for something that the core answers."""

    async def __call__(self, instance: str, request: str, arguments: JSON = None) -> JSON:
        """Ask and return the answer.

        :raises CommandError: what to tell the person.
        """
        ...


Work = Callable[[Ask, argparse.Namespace], Awaitable[int]]
"""What a command does with the answers; returns the exit code."""

Doing = Callable[[Ask], Awaitable[int]]


def run_with(work: Work, options: argparse.Namespace) -> int:
    """Do the work of a command and return its exit code."""
    path: Path = options.config

    async def doing(ask: Ask) -> int:
        return await work(ask, options)

    files = read(path)
    if not files.complete:
        for diagnostic in files.diagnostics:
            print(diagnostic, file=sys.stderr)
        return CONFIGURATION
    bridge = section_alone(files, "bridge", BridgeSettings, environ=os.environ)
    admin = section_alone(files, "admin", AdminSettings, environ=os.environ)
    socket = control_socket(bridge, admin, os.environ)
    with redacted_output(core_redaction(files, os.environ)):
        try:
            running = trio.run(control.answers, socket)
        except CommandError as exc:
            print(exc, file=sys.stderr)
            return FAILED
        if running:
            return _run(lambda: _online(socket, doing))
    config = load_config(path)
    if config is None:
        return CONFIGURATION
    nobody = f"no bridge answers at {socket}"
    opened = Bridge(path.stem, config, os.environ)
    with redacted_output(config.redact):
        if not os.path.isdir(opened.state) or not os.listdir(opened.state):
            print(
                f"{nobody}, and {opened.state} holds no spool; expected the state folder of a "
                "bridge that ran before",
                file=sys.stderr,
            )
            return FAILED
        return _run(lambda: _offline(opened, config, nobody, doing))


async def _online(socket: Path, work: Doing) -> int:
    async def ask(instance: str, request: str, arguments: JSON = None) -> JSON:
        return await control.ask(socket, instance, request, arguments)

    return await work(ask)


async def _offline(bridge: Bridge, config: Config, nobody: str, work: Doing) -> int:
    try:
        async with open_spool(bridge) as spool:
            holds = make_holds(bridge, spool, report=_unheard)
            return await work(_Local(spool_handlers(config, spool, holds), nobody))
    except SpoolError as exc:
        raise CommandError(f"{nobody}, and the spool cannot be opened: {exc}") from exc


class _Local:
    """The answers of this process."""

    def __init__(self, handlers: Mapping[tuple[str, str], CommandHandler], nobody: str) -> None:
        self._handlers = handlers
        self._nobody = nobody

    async def __call__(self, instance: str, request: str, arguments: JSON = None) -> JSON:
        respond = self._handlers.get((instance, request))
        if respond is None:
            raise CommandError(f"{self._nobody}; start it, or see [admin] socket")
        return await respond(arguments)


def _unheard(text: str, *, problem: Problem | None = None, topic: str = "") -> None:
    """What a hold says is for the status of a running bridge."""


def _run(main: Callable[[], Awaitable[int]]) -> int:
    status = FAILED
    try:
        status = trio.run(main)
    except* KeyboardInterrupt:
        status = INTERRUPTED
    except* CommandError as group:
        print(first_of(group), file=sys.stderr)
    except* BrokenPipeError:
        # Who reads the output has seen enough; nothing may be flushed once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status
