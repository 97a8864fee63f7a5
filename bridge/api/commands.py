"""Commands that a plugin adds: ``bridged KIND NAME ...``, such as ``bridged acme
devices``.

A command runs in a process of its own, beside the bridge. It knows the settings of one
section of its kind, and may ask the running bridge: an instance answers by
``context.answer(request, function)`` while it runs.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from attrs import frozen

from bridge.api.events import JSON

CommandHandler: TypeAlias = Callable[[JSON], Awaitable[JSON]]
"""Answer a request: its arguments in, its answer out. :raises CommandError: what to
tell the person who asked.
"""


class AddCommandHandler(Protocol):
    """Answer requests of commands for as long as the block is entered."""

    def __call__(self, request: str, respond: CommandHandler) -> AbstractContextManager[None]:
        """Answer the requests of this name.

        :raises ValueError: if this instance answers it already.
        """
        ...


class CommandError(Exception):
    """A command cannot do what was asked.

    The message says why and what to do; the command ends with exit code 1.
    """


class Ask(Protocol):
    """Ask the running instance of this section, in the bridge."""

    async def __call__(self, request: str, arguments: JSON = None) -> JSON:
        """Ask and give the answer.

        :raises CommandError: no bridge runs, or it cannot answer.
        """
        ...


@frozen
class CommandContext:
    """What a command is given."""

    name: str
    """NAME of the section, such as ``sensors`` of ``[source:sensors]``."""
    settings: Any
    """Its settings, of the class of the kind.

    None for a command that only asks the running bridge.
    """
    ask: Ask
    now: Callable[[], datetime]
    """The wall clock, UTC."""


def _no_arguments(_parser: ArgumentParser) -> None:
    pass


@frozen
class Command:
    """A command of a plugin. Prints to standard output and gives the exit code."""

    kind: str
    """Name of the kind of source or sink whose sections it is for; the first word of
    the command.
    """
    name: str
    """The second word."""
    run: Callable[[CommandContext, Namespace], Awaitable[int]]
    """:raises CommandError: printed to standard error; Retry, Pause and SettingError
    likewise.
    """
    help: str
    arguments: Callable[[ArgumentParser], None] = _no_arguments
    """Adds the command's own arguments. ``--config`` and ``--name`` are there already.
    """
    asks: bool = False
    """True: it only asks the running bridge. Its settings, and so its secrets, are not
    read.
    """
