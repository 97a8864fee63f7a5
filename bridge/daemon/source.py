"""One source or one sink of an instance, with what the core runs beside it.

source   supervised; gaps and silent devices watched; what was missed read back
sink     opened, its batches delivered
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import partial

import trio

from bridge.api import Answering, Mount, Outlet, Refused, Report, SinkContext, SourceContext, Spool
from bridge.config import SinkConfig, SourceConfig
from bridge.flow.recovery.backfill import responders
from bridge.flow.delivery.feeder import Delivery, Policy, Shelter
from bridge.flow.recovery.gaps import Found, last_receipt, tell_of_gap, watch_gaps
from bridge.flow.ingest import Ingest
from bridge.flow.recovery.recoverer import Recoverer
from bridge.flow.instances.silence import watch_devices
from bridge.flow.instances.supervision import supervise
from bridge.http.routes import Routes
from bridge.daemon.instance import Bridge


async def run_sink(
    sink: SinkConfig,
    spool: Spool,
    *,
    report: Report,
    remark: Report,
    answer: Answering,
    shelter: Shelter,
    redact: Callable[[str], str],
    now: Callable[[], datetime],
    random: Callable[[], float],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Open one sink and deliver to it until cancelled. Started when it is subscribed.

    :param report: what the core says of its deliveries.
    :param remark: what the plugin says by itself: a concern of its own must not be hidden by a delivery that succeeds.
    """
    core = sink.core
    policy = Policy(
        batch=sink.batch,
        in_flight=sink.in_flight,
        timeout=core.timeout,
        linger=core.linger,
        retry_base=core.retry_base,
        retry_cap=core.retry_cap,
        pause_probe=core.pause_probe,
        reject_limit=core.reject_limit,
        one_device=sink.kind.one_device,
    )
    async with spool.subscribe(
        sink.name, batch=sink.batch, sources=core.sources or None, start=core.from_
    ) as subscription:
        task_status.started()
        context = SinkContext(
            name=sink.name, state=spool.state(f"sink:{sink.name}"), report=remark, now=now, answer=answer
        )
        async with sink.kind.open(sink.settings, context) as opened:
            await Delivery(
                opened, subscription, policy, shelter=shelter, report=report, now=now, random=random, redact=redact
            ).run()


async def run_source(
    bridge: Bridge,
    source: SourceConfig,
    spool: Spool,
    ingest: Ingest,
    routes: Mapping[str, Routes],
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Run a source, and beside it what watches for gaps and silent devices and reads back what was missed."""
    instance = f"source:{source.name}"
    outlet = ingest.outlet(source.name)
    intake = ingest.intakes[source.name]
    watched = spool.state(f"intake:{source.name}")
    recoverer: Recoverer | None = None

    def recover(why: str, *, since: datetime | None = None) -> None:
        start = since or intake.last or last_receipt(watched)
        if recoverer is not None and start is not None:
            recoverer.ask_for(why, start)

    context = SourceContext(
        name=source.name,
        outlet=outlet,
        mount=_mount(source, outlet, routes),
        state=spool.state(instance),
        report=bridge.board.report(instance),
        now=bridge.now,
        random=bridge.random,
        answer=bridge.responders.answering(instance),
        recover=recover,
    )
    told_of_gaps = bridge.board.report(f"gap:{source.name}")
    found: Found = partial(tell_of_gap, told_of_gaps, bridge.now)
    async with trio.open_nursery() as tasks:
        with ExitStack() as answered:
            if source.kind.recovery is not None and source.recovery is not None:
                recoverer = Recoverer(
                    source=source.name,
                    recovery=source.kind.recovery,
                    settings=source.settings,
                    context=context,
                    policy=source.recovery,
                    ingest=ingest,
                    state=watched,
                    report=told_of_gaps,
                    pressure=partial(pressure, bridge, spool),
                )
                for request, respond in responders(recoverer).items():
                    answered.enter_context(context.answer(request, respond))
                found = recoverer.found
                tasks.start_soon(recoverer.run)
            tasks.start_soon(watch_gaps, intake, watched, found, bridge.now)
            if source.core.watch_devices:
                report = bridge.board.report(f"devices:{source.name}")
                tasks.start_soon(watch_devices, intake, watched, report, bridge.now)
            task_status.started()
            await supervise(instance, partial(source.kind.run, source.settings, context), context.report, bridge.random)


async def pressure(bridge: Bridge, spool: Spool) -> int:
    """Give how many events wait for the sink that is furthest behind, of those that take any."""
    problems = bridge.board.problems
    try:
        accounts = await spool.accounts(bridge.config.sink_names)
    except Refused:
        return 0
    return max(
        (each.pending for each in accounts if not each.orphaned and f"sink:{each.sink}" not in problems), default=0
    )


def _mount(source: SourceConfig, outlet: Outlet, routes: Mapping[str, Routes]) -> Mount:
    """Give a source its way to mount webhooks; one that is not called by its vendor has no path to mount."""
    own = routes[source.listener] if source.listener is not None else Routes()
    for path in source.kind.paths(source.settings) if source.kind.paths is not None else ():
        own.declare(path, source.name)
    return own.mounting(source.name, outlet)
