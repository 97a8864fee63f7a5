"""The status of all instances, made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from attrs import frozen

from bridge.admin.sinks import account_as_json, parked_as_json
from bridge.api import JSON, SpoolUnavailable
from bridge.api.problems import TOLD_BY_PLUGIN
from bridge.api.spool import Account, ParkedDevice, Spool
from bridge.flow.ingest import Intake
from bridge.flow.instances.board import Board, State

MAX_PARKED = 10  # devices of a sink that are named; bridged parked names all


@frozen
class SourceStatus:
    """A source since the bridge was started."""

    name: str
    kind: str
    state: State | None
    intake: Intake
    remarks: tuple[State, ...] = ()
    """What the core says of it: its newest gap, its silent devices."""


@frozen
class SinkStatus:
    """A sink, with the balance that its spool keeps."""

    name: str
    kind: str
    state: State | None
    account: Account | None
    """None if the spool cannot tell now, or has not begun with this sink yet."""
    remarks: tuple[State, ...] = ()
    """What its plugin says of it by itself."""
    parked: tuple[ParkedDevice, ...] = ()
    """The first of its devices that wait apart."""


@frozen
class Status:
    """The whole bridge."""

    instance: str
    now: datetime
    started: datetime
    refusal: str | None
    """Why the spool takes nothing now, or None."""
    sources: tuple[SourceStatus, ...]
    sinks: tuple[SinkStatus, ...]
    problems: Mapping[str, State]

    @property
    def letters(self) -> int:
        """Dead letters that are kept."""
        return sum(sink.account.dead for sink in self.sinks if sink.account is not None)

    def as_json(self) -> JSON:
        """Times are ISO 8601, UTC."""
        return {
            "instance": self.instance,
            "time": self.now.isoformat(),
            "started": self.started.isoformat(),
            "spool": {"refusal": self.refusal},
            "letters": self.letters,
            "sources": [
                {
                    "name": source.name,
                    "plugin": source.kind,
                    "state": source.state.text if source.state else None,
                    "events": source.intake.events,
                    "refused": source.intake.refused,
                    "last": source.intake.last.isoformat() if source.intake.last else None,
                    "remarks": [remark.text for remark in source.remarks],
                }
                for source in self.sources
            ],
            "sinks": [
                {
                    "name": sink.name,
                    "plugin": sink.kind,
                    "state": sink.state.text if sink.state else None,
                    "remarks": [remark.text for remark in sink.remarks],
                    **_balance(sink.account),
                    "first_parked": [_parked(device) for device in sink.parked],
                }
                for sink in self.sinks
            ],
            "problems": {place: _problem(state) for place, state in self.problems.items()},
        }


def _problem(state: State) -> JSON:
    problem = state.problem or TOLD_BY_PLUGIN
    return {
        "problem": problem.name,
        "text": state.text,
        "remedy": problem.remedy,
        "since": state.since.isoformat(),
    }


def _balance(account: Account | None) -> dict[str, JSON]:
    """All numbers are None if nothing is known."""
    known = account or Account("", 0, 0, 0, 0, 0, 0, None, orphaned=False)
    balance = account_as_json(known)
    del balance["sink"], balance["balanced"]
    if account is None:
        balance = dict.fromkeys(balance) | {"orphaned": False}
    return balance


def _parked(device: ParkedDevice) -> JSON:
    parked = parked_as_json(device)
    del parked["sink"]
    return parked


@frozen
class Observer:
    """Looks at all instances."""

    instance: str
    started: datetime
    now: Callable[[], datetime]
    spool: Spool
    board: Board
    intakes: Mapping[str, Intake]
    sources: Mapping[str, str]
    """Name of each running source: name of its kind."""
    sinks: Mapping[str, str]
    configured: Collection[str]
    """Names of all sinks in the configuration, the disabled ones too."""

    async def look(self) -> Status:
        """Return the status as of now. A spool that cannot be read is part of it."""
        states = self.board.states
        refusal = self.spool.refusal
        accounts: dict[str, Account] = {}
        parked: dict[str, tuple[ParkedDevice, ...]] = {}
        try:
            for account in await self.spool.accounts(self.configured):
                accounts[account.sink] = account
                if account.parked_devices:
                    devices = await self.spool.parked(account.sink, limit=MAX_PARKED)
                    parked[account.sink] = tuple(devices)
        except SpoolUnavailable as refused:
            refusal = refusal or refused.reason
        return Status(
            instance=self.instance,
            now=self.now(),
            started=self.started,
            refusal=refusal,
            sources=tuple(
                SourceStatus(
                    name,
                    kind,
                    states.get(f"source:{name}"),
                    self.intakes.get(name) or Intake(),
                    tuple(self.board.topics(f"source:{name}").values()),
                )
                for name, kind in self.sources.items()
            ),
            sinks=tuple(
                SinkStatus(
                    name,
                    self.sinks.get(name, "-"),
                    states.get(f"sink:{name}"),
                    accounts.get(name),
                    tuple(self.board.topics(f"sink:{name}").values()),
                    parked.get(name, ()),
                )
                for name in sorted({*accounts, *self.sinks})
            ),
            problems=self.board.problems,
        )
