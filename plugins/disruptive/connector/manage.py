"""Keeping the Data Connector: made as the settings ask at start, then looked at, for as
long as the source runs.

    start ─▶ list, create or correct, read back ─▶ look ─ watch_interval ─▶ look ...
                                                    ├─ SYSTEM_DISABLED ─ reenable? ─▶ ACTIVE, then recover
                                                    ├─ ACTIVE again ─▶ recover
                                                    └─ more failed pushes than before ─▶ a problem

What an operator disabled or deleted is reported and left so. A disabled connector has
lost its queue and all that happened meanwhile (vendor documentation): it is enabled
first and the history read afterwards, so that no hole opens between the two. Nothing
that happens here ends the source: pushes are received all the while.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import httpx
import trio
from attrs import define, evolve

from bridge.api import Pause, Reject, Report, Retry, SourceContext, SpoolUnavailable

from ..rest.client import Cloud, open_cloud
from ..rest.transport import MAX_WAIT
from ..settings import Settings
from .documents import ACTIVE, SYSTEM_DISABLED, USER_DISABLED, Metrics, wanted_connector
from .provisioning import (
    Plan,
    Provisioned,
    carry_out,
    get_connector,
    get_metrics,
    list_connectors,
    make_plan,
    patch_connector,
)
from .state import Memory, recall, remember

log = logging.getLogger(__name__)


@define(eq=False)
class _Keeper:
    """What is known of our connector from one look to the next."""

    cloud: Cloud
    settings: Settings
    context: SourceContext
    report: Report
    memory: Memory
    connector: str | None = None
    """Id of ours, once it is as wanted; None: it was not looked for yet."""
    standing: Sequence[str] = ()
    """Problems that were found at start, and stay until the next."""
    counted: Metrics = Metrics()
    """At the last look."""


async def keep_connector(
    settings: Settings,
    context: SourceContext,
    report: Report,
    *,
    network: httpx.AsyncBaseTransport | None = None,
) -> None:
    """Keep the connector until cancelled. What goes wrong is reported and tried again,
    never raised.

    :param network: what carries the requests, instead of the real one.
    """
    while True:
        try:
            async with open_cloud(
                settings, now=context.now, random=context.random, network=network
            ) as cloud:
                await _keep(
                    _Keeper(cloud, settings, context, report, recall(context.state, settings))
                )
        except* Pause as group:
            report(f"the connector is not managed: {group.exceptions[0]}", problem=True)
        except* Exception as group:
            log.exception(
                "%s: the connector is not managed, because of a mistake in the plugin", context.name
            )
            report(
                f"the connector is not managed: {type(group.exceptions[0]).__name__}; see the log",
                problem=True,
            )
        await trio.sleep(settings.watch_interval)


async def _keep(keeper: _Keeper) -> None:
    while True:
        wait: float = keeper.settings.watch_interval
        try:
            if keeper.connector is None:
                await _settle(keeper)
            await _look(keeper)
        except (Retry, SpoolUnavailable) as failed:
            asked = (failed.after if isinstance(failed, Retry) else failed.retry_after) or 0.0
            wait = max(asked, min(wait, MAX_WAIT))
            keeper.report(
                f"the connector could not be looked at: {failed}; it is tried again", problem=True
            )
        except (Pause, Reject) as refused:
            keeper.report(_refused(keeper, refused), problem=True)
        await trio.sleep(wait)


def _refused(keeper: _Keeper, refused: Pause | Reject) -> str:
    if not isinstance(refused, Reject) or refused.status != 404:
        return f"the connector cannot be managed: {refused}"
    if keeper.connector is None:
        return (
            f"the connector cannot be managed: {refused}; check project ({keeper.settings.project})"
        )
    return (
        f"connector {keeper.connector} is gone, so nothing is pushed; if nobody meant that, create it again: "
        f"bridged disruptive connectors apply --name {keeper.context.name}, and restart the bridge"
    )


async def _settle(keeper: _Keeper) -> None:
    """Make the connector as the settings ask, tell what was changed, and remember it."""
    cloud, settings, memory = keeper.cloud, keeper.settings, keeper.memory
    wanted = wanted_connector(settings, keeper.context.name)
    connectors = await cloud.patiently(lambda: list_connectors(cloud))
    plan = make_plan(
        connectors,
        wanted,
        named=settings.connector,
        remembered=memory.connector,
        same_secret=memory.has_secret(wanted),
        same_headers=memory.has_headers(wanted),
    )
    done = await carry_out(cloud, wanted, plan)
    if plan.found is None and memory.connector is not None:
        keeper.context.recover("the connector was gone", since=memory.last_worked)
    keeper.memory = memory.of(done.connector.id, wanted)
    await remember(keeper.context.state, settings, keeper.memory)
    keeper.connector = done.connector.id
    keeper.standing = _standing(plan, done)
    if text := _changed(plan, done):
        keeper.report(text)


def _changed(plan: Plan, done: Provisioned) -> str:
    """Tell what was created or corrected; empty if nothing."""
    if plan.found is None:
        return f"connector {done.connector.id} was created"
    if plan.differences:
        return (
            f"connector {done.connector.id} was corrected: "
            f"{'; '.join(said.text for said in plan.differences)}"
        )
    return ""


def _standing(plan: Plan, done: Provisioned) -> list[str]:
    """Tell what a person must see to."""
    said = []
    if done.remaining:
        texts = "; ".join(difference.text for difference in done.remaining)
        said.append(
            f"connector {done.connector.id} still differs after it was set: {texts}; correct "
            "it at DT"
        )
    if plan.others:
        said.append(
            f"connectors {', '.join(plan.others)} push to the same URL too, so every event arrives more than once; "
            "delete them: bridged disruptive connectors delete ID"
        )
    return said


async def _look(keeper: _Keeper) -> None:
    """Look at status and metrics once, do what follows, and report."""
    cloud, connector_id = keeper.cloud, keeper.connector
    assert connector_id is not None
    connector = await cloud.patiently(lambda: get_connector(cloud, connector_id))
    if connector.status != ACTIVE:
        await _disabled(keeper, connector_id, connector.status)
    elif keeper.memory.disabled is not None:
        await _enabled_again(keeper, connector_id, keeper.memory.disabled)
    else:
        metrics = await cloud.patiently(lambda: get_metrics(cloud, connector_id))
        problem = complaint(connector_id, metrics, keeper.counted, keeper.settings)
        keeper.counted = metrics
        if metrics.successes:
            await _remember(keeper, evolve(keeper.memory, worked=keeper.context.now()))
        _tell(keeper, f"connector {connector_id} is {ACTIVE}", problem)


async def _disabled(keeper: _Keeper, connector_id: str, status: str) -> None:
    # Remembered before anything else: whoever enables it, and whenever, what was missed
    # is read back then.
    if keeper.memory.disabled != status:
        await _remember(keeper, evolve(keeper.memory, disabled=status))
    if status == SYSTEM_DISABLED and keeper.settings.reenable:
        cloud = keeper.cloud
        await cloud.patiently(lambda: patch_connector(cloud, connector_id, {"status": ACTIVE}))
        await _enabled_again(keeper, connector_id, status)
        return
    _tell(keeper, "", advice(connector_id, status, keeper.context.name))


async def _enabled_again(keeper: _Keeper, connector_id: str, status: str) -> None:
    """The connector is active: now, and not before, ask for what it missed."""
    keeper.context.recover(f"the connector was {status}", since=keeper.memory.last_worked)
    await _remember(keeper, evolve(keeper.memory, disabled=None))
    _tell(
        keeper,
        f"connector {connector_id} was {status} and is {ACTIVE} again; what it missed is read back",
        "",
    )


def complaint(connector_id: str, metrics: Metrics, before: Metrics, settings: Settings) -> str:
    """Say what is wrong with these metrics, and what to do; empty if nothing is.

    DT counts over the last 3 hours, so that only a growing number tells of new
    failures.
    """
    if metrics.errors is None or before.errors is None or metrics.errors <= before.errors:
        return ""
    return (
        f"DT counts {metrics.errors} failed pushes of connector {connector_id} in 3 hours, {before.errors} at the look "
        f"before; it tries each for 12 hours: see what this source refuses, and whether {settings.public_url} is "
        "reached from outside with a valid certificate"
    )


def advice(connector_id: str, status: str, name: str) -> str:
    """Say that a connector is disabled, and what to do."""
    enable = f"bridged disruptive connectors enable {connector_id} --name {name}"
    if status == SYSTEM_DISABLED:
        return (
            f"connector {connector_id} is {status}: DT gave up after 5 days of failed pushes, and what happens now is "
            f"not pushed later; correct the cause, then: {enable} (or set reenable = yes)"
        )
    if status == USER_DISABLED:
        return (
            f"connector {connector_id} is {status}: somebody disabled it, and what happens now is not pushed later; "
            f"it is left so; to receive again: {enable}"
        )
    return (
        f"connector {connector_id} has the status {status!r}, expected {ACTIVE}; look at it "
        "in DT Studio"
    )


def _tell(keeper: _Keeper, state: str, problem: str) -> None:
    problems = [text for text in (problem, *keeper.standing) if text]
    keeper.report("; ".join(problems) or state, problem=bool(problems))


async def _remember(keeper: _Keeper, memory: Memory) -> None:
    keeper.memory = memory
    await remember(keeper.context.state, keeper.settings, memory)
