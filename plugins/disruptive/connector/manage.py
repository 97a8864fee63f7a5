"""Keeping the Data Connector: made as the settings ask at start, then looked at, for as
long as the source runs.

    start ─▶ list, create or correct, read back ─▶ look ─ watch_interval ─▶ look ...
                       ┌──────────────────────────────┘
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
from typing import NoReturn

import trio
from attrs import define, evolve, frozen

from bridge.api import Pause, Problem, Reject, Retry, SourceContext, SpoolUnavailable
from bridge.api.rest import Network

from ..problems import (
    CONNECTOR_DIFFERS,
    CONNECTOR_DISABLED,
    CONNECTOR_DOUBLED,
    CONNECTOR_GONE,
    CONNECTOR_UNSEEN,
    PUSHES_FAIL,
)
from ..rest.client import Cloud, open_cloud
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
from .state import ConnectorState, recall, remember

log = logging.getLogger(__name__)

TOPIC = "connector"
"""Of the reports on what the connector is like.

That it cannot be looked at is said beside them, under ``manage``: what was seen last
may still be so.
"""


@frozen
class _Seen:
    """What a look at the connector has shown, for a report."""

    text: str
    problem: Problem | None = None


@define(eq=False)
class _Keeper:
    """What is known of our connector from one look to the next."""

    settings: Settings
    context: SourceContext
    state: ConnectorState
    connector: str | None = None
    """Id of ours, once it is as wanted; None: it was not looked for yet."""
    lasting_problems: Sequence[_Seen] = ()
    """Those that were found at start, and stay until the next."""
    counted: Metrics = Metrics()
    """At the last look."""

    def seen(self, now: _Seen) -> _Seen:
        """Return what is seen now, with the lasting problems if there are any.

        They take the place of what is no problem; the first names the whole.
        """
        if not self.lasting_problems:
            return now
        said = [now, *self.lasting_problems] if now.problem else self.lasting_problems
        return _Seen("; ".join(each.text for each in said), said[0].problem)

    async def remember(self, state: ConnectorState) -> None:
        self.state = state
        await remember(self.context.state, self.settings, state)


async def keep_connector(
    settings: Settings, context: SourceContext, *, network: Network | None = None
) -> NoReturn:
    """Keep the connector until cancelled. What goes wrong is reported and tried again,
    never raised.

    :param network: makes what carries the requests, instead of the real one.
    """
    keeper = _Keeper(settings, context, recall(context.state, settings))

    async def attempt() -> _Seen:
        return await _attempt(keeper, network)

    while True:
        seen = await context.insist(
            attempt, topic="manage", doing="looking at the connector", problem=CONNECTOR_UNSEEN
        )
        context.report(seen.text, problem=seen.problem, topic=TOPIC)
        await trio.sleep(settings.watch_interval)


async def _attempt(keeper: _Keeper, network: Network | None) -> _Seen:
    """Look at the connector once; what goes wrong is a Retry, a Pause or a
    SpoolUnavailable.
    """
    context = keeper.context
    try:
        # Opened for each look: a ca_file that was put right is read by the next.
        async with open_cloud(
            keeper.settings, now=context.now, random=context.random, network=network
        ) as cloud:
            if keeper.connector is None:
                await _settle(keeper, cloud)
            return await _look(keeper, cloud)
    except Reject as refused:
        if refused.status != 404:
            raise Pause(str(refused)) from refused
        if keeper.connector is None:
            raise Pause(f"{refused}; check project ({keeper.settings.project})") from refused
        return _Seen(
            f"connector {keeper.connector} is gone, so nothing is pushed; if nobody meant that, "
            f"create it again: bridged disruptive connectors apply --name {context.name}, and "
            "restart the bridge",
            CONNECTOR_GONE,
        )
    except (Retry, Pause, SpoolUnavailable):
        raise
    except Exception as exc:  # a mistake of ours must not stop what is received
        log.exception("%s: the connector could not be looked at", context.name)
        raise Pause(f"{type(exc).__name__}, a mistake in the plugin; see the log") from exc


async def _settle(keeper: _Keeper, cloud: Cloud) -> None:
    """Make the connector as the settings ask; report and remember what was changed."""
    settings, state = keeper.settings, keeper.state
    wanted = wanted_connector(settings, keeper.context.name)
    connectors = await cloud.patiently(lambda: list_connectors(cloud))
    plan = make_plan(
        connectors,
        wanted,
        named=settings.connector,
        remembered=state.connector,
        same_secret=state.has_secret(wanted),
        same_headers=state.has_headers(wanted),
    )
    done = await carry_out(cloud, wanted, plan)
    if plan.found is None and state.connector is not None:
        keeper.context.recover("the connector was gone", since=state.last_worked)
    await keeper.remember(state.of(done.connector.id, wanted))
    keeper.connector = done.connector.id
    keeper.lasting_problems = _lasting_problems(plan, done)
    if text := _changed(plan, done):
        keeper.context.report(text, topic=TOPIC)


def _changed(plan: Plan, done: Provisioned) -> str:
    """Return what was created or corrected; empty if nothing."""
    if plan.found is None:
        return f"connector {done.connector.id} was created"
    if plan.differences:
        return (
            f"connector {done.connector.id} was corrected: "
            f"{'; '.join(said.text for said in plan.differences)}"
        )
    return ""


def _lasting_problems(plan: Plan, done: Provisioned) -> list[_Seen]:
    said = []
    if done.remaining:
        texts = "; ".join(difference.text for difference in done.remaining)
        text = f"connector {done.connector.id} still differs after it was set: {texts}"
        said.append(_Seen(f"{text}; correct it at DT", CONNECTOR_DIFFERS))
    if plan.others:
        text = (
            f"connectors {', '.join(plan.others)} push to the same URL too, so every event "
            "arrives more than once; delete them: bridged disruptive connectors delete ID"
        )
        said.append(_Seen(text, CONNECTOR_DOUBLED))
    return said


async def _look(keeper: _Keeper, cloud: Cloud) -> _Seen:
    """Look at status and metrics once, and do what follows."""
    connector_id = keeper.connector
    assert connector_id is not None
    connector = await cloud.patiently(lambda: get_connector(cloud, connector_id))
    if connector.status != ACTIVE:
        return await _disabled(keeper, cloud, connector_id, connector.status)
    if keeper.state.disabled is not None:
        return await _enabled_again(keeper, connector_id, keeper.state.disabled)
    metrics = await cloud.patiently(lambda: get_metrics(cloud, connector_id))
    failing = complaint(connector_id, metrics, keeper.counted, keeper.settings)
    keeper.counted = metrics
    if metrics.successes:
        await keeper.remember(evolve(keeper.state, worked=keeper.context.now()))
    if failing:
        return keeper.seen(_Seen(failing, PUSHES_FAIL))
    return keeper.seen(_Seen(f"connector {connector_id} is {ACTIVE}"))


async def _disabled(keeper: _Keeper, cloud: Cloud, connector_id: str, status: str) -> _Seen:
    # Remembered before anything else: whoever enables it, and whenever, what was missed
    # is read back then.
    if keeper.state.disabled != status:
        await keeper.remember(evolve(keeper.state, disabled=status))
    if status == SYSTEM_DISABLED and keeper.settings.reenable:
        await cloud.patiently(lambda: patch_connector(cloud, connector_id, {"status": ACTIVE}))
        return await _enabled_again(keeper, connector_id, status)
    text = advice(connector_id, status, keeper.context.name)
    return keeper.seen(_Seen(text, CONNECTOR_DISABLED))


async def _enabled_again(keeper: _Keeper, connector_id: str, status: str) -> _Seen:
    """The connector is active: now, and not before, ask for what it missed."""
    keeper.context.recover(f"the connector was {status}", since=keeper.state.last_worked)
    await keeper.remember(evolve(keeper.state, disabled=None))
    text = (
        f"connector {connector_id} was {status} and is {ACTIVE} again; what it missed is read back"
    )
    return keeper.seen(_Seen(text))


def complaint(connector_id: str, metrics: Metrics, before: Metrics, settings: Settings) -> str:
    """Return what is wrong with these metrics, and what to do; empty if nothing is.

    DT counts over the last 3 hours, so that only a growing number tells of new
    failures.
    """
    if metrics.errors is None or before.errors is None or metrics.errors <= before.errors:
        return ""
    return (
        f"DT counts {metrics.errors} failed pushes of connector {connector_id} in 3 hours, "
        f"{before.errors} at the look before; it tries each for 12 hours: see what this source "
        f"refuses, and whether {settings.public_url} is reached from outside with a valid "
        "certificate"
    )


def advice(connector_id: str, status: str, name: str) -> str:
    """Return that a connector is disabled, and what to do."""
    enable = f"bridged disruptive connectors enable {connector_id} --name {name}"
    if status == SYSTEM_DISABLED:
        return (
            f"connector {connector_id} is {status}: DT gave up after 5 days of failed pushes, "
            "and what happens now is not pushed later; correct the cause, then: "
            f"{enable} (or set reenable = yes)"
        )
    if status == USER_DISABLED:
        return (
            f"connector {connector_id} is {status}: somebody disabled it, and what happens now is "
            f"not pushed later; it is left so; to receive again: {enable}"
        )
    return (
        f"connector {connector_id} has the status {status!r}, expected {ACTIVE}; look at it "
        "in DT Studio"
    )
