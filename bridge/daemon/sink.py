"""One sink of an instance: opened, its batches delivered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import trio

from bridge.api import AddCommandHandler, Problem, Report, SinkContext
from bridge.api.former import problem_of
from bridge.api.spool import Spool
from bridge.daemon.config import SinkConfig
from bridge.flow.delivery.feeder import Delivery
from bridge.flow.delivery.pacing import Policy
from bridge.flow.instances.grace_period import GracePeriod
from bridge.flow.instances.hold import Hold
from bridge.flow.instances.insist import Persistence, insisting

PLUGIN = "plugin"
"""Topic of what a sink's plugin says of the sink as a whole: a delivery that succeeds
must not hide it.
"""


async def run_sink(
    sink: SinkConfig,
    spool: Spool,
    *,
    report: Report,
    answer: AddCommandHandler,
    grace_period: GracePeriod,
    redact: Callable[[str], str],
    now: Callable[[], datetime],
    random: Callable[[], float],
    hold: Hold,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Open one sink and deliver to it until cancelled. Started when it is subscribed.

    :param report: what the core says of its deliveries; the plugin's own words stand
        below it.
    """
    core = sink.core

    def remark(text: str, *, problem: Problem | None = None, topic: str = "") -> None:
        report(text, problem=problem_of(problem), topic=topic or PLUGIN)

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
        sink.name,
        batch=sink.batch,
        sources=core.sources or None,
        start=core.from_,
        max_backlog=core.max_backlog,
        when_full=core.when_full,
    ) as subscription:
        task_status.started()
        context = SinkContext(
            name=sink.name,
            state=spool.state(f"sink:{sink.name}"),
            report=remark,
            now=now,
            answer=answer,
            insist=insisting(
                remark, random, Persistence(core.retry_base, core.retry_cap, core.pause_probe)
            ),
        )
        async with sink.kind.open(sink.settings, context) as opened:
            await Delivery(
                opened,
                subscription,
                policy,
                name=sink.name,
                spool=spool,
                grace_period=grace_period,
                report=report,
                now=now,
                random=random,
                redact=redact,
                hold=hold,
            ).run()
