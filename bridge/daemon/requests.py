"""What the core answers to commands: in the running bridge, or to a command that opened
the spool itself because no bridge runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from functools import partial

import trio

from bridge.admin.answers import telling_refusals
from bridge.admin.backups import BackupRequests, Copy
from bridge.admin.holds import HoldRequests
from bridge.admin.letters import LetterRequests, Preview
from bridge.admin.sinks import SinkRequests
from bridge.admin.status import Observer
from bridge.api import JSON, CommandHandler, Report
from bridge.api.spool import Spool
from bridge.daemon.config import Config
from bridge.daemon.instance import Bridge
from bridge.flow.instances.hold import Hold

SPOOL = "spool"
"""The instance that answers about what is stored."""
CORE = "bridge"
"""The instance that answers about all others."""


def make_holds(bridge: Bridge, spool: Spool, report: Report | None = None) -> dict[str, Hold]:
    """Return what a person may have stopped, by instance, as it was kept.

    :param report: hears of all; None: each instance's own.
    """
    instances = [
        *(f"source:{source.name}" for source in bridge.config.sources),
        *(f"sink:{sink.name}" for sink in bridge.config.sinks),
    ]
    return {
        instance: Hold(
            instance,
            spool.state(instance),
            report or bridge.board.report(instance),
            bridge.now,
        )
        for instance in instances
    }


def spool_handlers(
    config: Config, spool: Spool, holds: Mapping[str, Hold]
) -> dict[tuple[str, str], CommandHandler]:
    """Return what can be answered with a spool alone, by instance and request."""
    letters = LetterRequests(spool, _previews(config))
    sinks = SinkRequests(spool, config.sink_names)
    return {
        **_of(SPOOL, {**letters.handlers, **sinks.handlers}),
        **_of(CORE, HoldRequests(spool, holds).handlers),
    }


@asynccontextmanager
async def answered(
    bridge: Bridge, spool: Spool, holds: Mapping[str, Hold], observer: Observer
) -> AsyncIterator[None]:
    """Answer the requests of commands while the block is entered."""

    async def status(_arguments: JSON) -> JSON:
        return (await observer.look()).as_json()

    async with trio.open_nursery() as nursery:
        backups = BackupRequests(_copy(bridge, spool), nursery)
        handlers = (
            spool_handlers(bridge.config, spool, holds)
            | _of(CORE, {"status": status})
            | _of(SPOOL, backups.handlers)
        )
        with ExitStack() as stack:
            for (instance, request), respond in handlers.items():
                answering = bridge.command_handlers.answering(instance)
                stack.enter_context(answering(request, respond))
            yield
        nursery.cancel_scope.cancel()


def _copy(bridge: Bridge, spool: Spool) -> Copy | None:
    tools = bridge.config.spool.kind.store
    return None if tools is None else partial(tools.backup_open, spool, now=bridge.now)


def _of(
    instance: str, handlers: Mapping[str, CommandHandler]
) -> dict[tuple[str, str], CommandHandler]:
    return {(instance, request): respond for request, respond in telling_refusals(handlers).items()}


def _previews(config: Config) -> dict[str, Preview]:
    previews: dict[str, Preview] = {}
    for sink in config.sinks:
        say: Callable[..., str] | None = sink.kind.preview
        if say is not None:
            previews[sink.name] = partial(say, sink.settings)
    return previews
