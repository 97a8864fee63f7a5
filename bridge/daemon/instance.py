"""One instance of the bridge: its configuration, and what all its parts share."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from attrs import field, frozen

from bridge.admin.control import CommandHandlers
from bridge.admin.settings import AdminSettings
from bridge.api import RepeatedEvent
from bridge.daemon.config import Config
from bridge.daemon.settings import BridgeSettings
from bridge.flow.instances.board import Board
from bridge.flow.instances.grace_period import GracePeriod


def utc_now() -> datetime:
    return datetime.now(UTC)


@frozen
class Bridge:
    """What all parts share."""

    instance: str
    config: Config
    environ: Mapping[str, str]
    now: Callable[[], datetime] = utc_now
    random: Callable[[], float] = field(factory=lambda: random.Random().random)  # noqa: S311  # jitter
    board: Board = field(init=False)
    grace_period: GracePeriod = field(factory=GracePeriod)
    hangup: RepeatedEvent = field(factory=RepeatedEvent)
    """SIGHUP: files are looked at again."""
    command_handlers: CommandHandlers = field(init=False)

    @board.default
    def _empty_board(self) -> Board:
        return Board(self.now, self.config.redact)

    @command_handlers.default
    def _no_handlers(self) -> CommandHandlers:
        return CommandHandlers(self.config.redact)

    @property
    def state(self) -> Path:
        """The state folder: as configured, else systemd's, else ./state."""
        return state_folder(self.config.bridge, self.environ)


def state_folder(settings: BridgeSettings, environ: Mapping[str, str]) -> Path:
    return settings.state or Path(environ.get("STATE_DIRECTORY", "state"))


def control_socket(
    bridge: BridgeSettings, admin: AdminSettings, environ: Mapping[str, str]
) -> Path:
    """Return the socket on which commands ask the running bridge."""
    return admin.socket or state_folder(bridge, environ) / "control.sock"
