"""One source of an instance, and what the core runs beside it.

It is supervised, its gaps and silent devices are watched, and what was missed is read
back.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import partial

import trio

from bridge.api import Mount, Outlet, SourceContext, SpoolUnavailable
from bridge.api.spool import Spool
from bridge.daemon.config import SourceConfig
from bridge.daemon.instance import Bridge
from bridge.daemon.settings import RecoverySettings
from bridge.flow.ingest import Ingest
from bridge.flow.instances.hold import PAUSE, Hold
from bridge.flow.instances.insist import Persistence, insisting
from bridge.flow.instances.silence import watch_devices
from bridge.flow.instances.supervision import supervise
from bridge.flow.recovery.backfill import command_handlers
from bridge.flow.recovery.gaps import Found, last_receipt, tell_of_gap, watch_gaps
from bridge.flow.recovery.recoverer import Recoverer, RecoveryPolicy
from bridge.http.routes import Routes

log = logging.getLogger(__name__)


async def run_source(
    bridge: Bridge,
    source: SourceConfig,
    spool: Spool,
    ingest: Ingest,
    routes: Mapping[str, Routes],
    hold: Hold,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Run a source, and beside it what watches for gaps and silent devices and reads
    back what was missed; nothing of it while a person has paused the source.
    """
    instance = f"source:{source.name}"
    outlet = ingest.outlet(source.name)
    intake = ingest.intakes[source.name]
    watched = spool.state(f"intake:{source.name}")
    recoverer: Recoverer | None = None

    def recover(why: str, *, since: datetime | None = None) -> None:
        start = since or intake.last or last_receipt(watched)
        if recoverer is not None and start is not None:
            recoverer.ask_for(why, start)

    report = bridge.board.report(instance)
    persistence = Persistence(
        source.core.retry_base, source.core.retry_cap, source.core.pause_probe
    )
    context = SourceContext(
        name=source.name,
        outlet=outlet,
        mount=_mount(source, outlet, routes),
        state=spool.state(instance),
        report=report,
        now=bridge.now,
        random=bridge.random,
        answer=bridge.command_handlers.answering(instance),
        insist=insisting(report, bridge.random, persistence),
        recover=recover,
    )
    told_of_gaps = partial(report, topic="gap")

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal recoverer
        found: Found = partial(tell_of_gap, told_of_gaps, bridge.now)
        async with trio.open_nursery() as tasks:
            with ExitStack() as answered:
                policy = recovery_policy(source)
                if source.kind.recovery is not None and policy is not None:
                    recoverer = Recoverer(
                        source=source.name,
                        recovery=source.kind.recovery,
                        settings=source.settings,
                        context=context,
                        policy=policy,
                        ingest=ingest,
                        state=watched,
                        report=told_of_gaps,
                        pressure=partial(pressure, bridge, spool),
                    )
                    for request, respond in command_handlers(recoverer).items():
                        answered.enter_context(context.answer(request, respond))
                    found = recoverer.found
                    tasks.start_soon(recoverer.run)
                tasks.start_soon(watch_gaps, intake, watched, found, bridge.now)
                if source.core.watch_devices:
                    told_of_devices = partial(report, topic="devices")
                    tasks.start_soon(watch_devices, intake, watched, told_of_devices, bridge.now)
                task_status.started()
                await supervise(
                    instance,
                    partial(source.kind.run, source.settings, context),
                    report,
                    bridge.random,
                    persistence=persistence,
                )

    try:
        # A pause is the end of all this: its vendor hears 503, or no acknowledgement.
        # What is missing afterwards is a gap as after a start.
        await hold.run_unless_paused(run, task_status=task_status)
    finally:
        await _stop(source, context)


async def _stop(source: SourceConfig, context: SourceContext) -> None:
    """What a source has to do at its vendor in the end; its failure is only logged."""
    if source.kind.on_stop is None:
        return
    try:
        await source.kind.on_stop(source.settings, context)
    except Exception:
        log.exception("source:%s: failed while it was stopped", source.name)


def recovery_policy(source: SourceConfig) -> RecoveryPolicy | None:
    """Return when a source reads back what it missed; None for a kind that cannot."""
    kind, core = source.kind.recovery, source.core
    if kind is None or not isinstance(core, RecoverySettings):
        return None
    return RecoveryPolicy(
        automatic=kind.automatic if core.backfill is None else core.backfill,
        after=kind.after if core.backfill_after is None else core.backfill_after,
        overlap=kind.overlap if core.backfill_overlap is None else core.backfill_overlap,
    )


async def pressure(bridge: Bridge, spool: Spool) -> int:
    """Return how many events wait for the sink that is furthest behind, of those that
    take any.
    """
    problems = bridge.board.problems
    try:
        accounts = await spool.accounts(bridge.config.sink_names)
    except SpoolUnavailable:
        return 0
    return max(
        (
            each.pending
            for each in accounts
            if not each.orphaned
            and not {f"sink:{each.sink}", f"sink:{each.sink}/{PAUSE}"} & problems.keys()
        ),
        default=0,
    )


def _mount(source: SourceConfig, outlet: Outlet, routes: Mapping[str, Routes]) -> Mount:
    """A source that is not called by its vendor has no path to mount."""
    own = routes[source.listener] if source.listener is not None else Routes()
    for path in source.kind.paths(source.settings) if source.kind.paths is not None else ():
        own.declare(path, source.name)
    return own.mounting(source.name, outlet)
