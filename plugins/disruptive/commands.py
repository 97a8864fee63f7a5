"""``bridged disruptive connectors``: the project's Data Connectors, looked at and
changed through DT's REST API.

    bridged disruptive connectors list             all of the project
    bridged disruptive connectors apply --dry-run  what would be changed
    bridged disruptive connectors disable ID --yes

Without an ID it is the connector of the settings: ``connector``, else the one that
pushes to ``public_url``. Nothing that is printed holds a secret.
"""

from __future__ import annotations

import random
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import orjson
from attrs import frozen

from bridge.api import JSON, CommandContext, CommandError, Reject, redacted
from bridge.api.rest import Network

from .connector.documents import (
    ACTIVE,
    USER_DISABLED,
    Connector,
    Wanted,
    pushing_to,
    shown,
    shown_url,
    wanted_connector,
)
from .connector.provisioning import (
    Plan,
    carry_out,
    delete_connector,
    get_connector,
    get_metrics,
    list_connectors,
    make_plan,
    patch_connector,
    sync_connector,
)
from .rest.client import Cloud, open_cloud
from .settings import Settings

LOSS = (
    "while a connector is disabled DT throws away its queue and everything that happens, and "
    "pushes none of it later; for maintenance leave it enabled: DT tries each event for 12 hours"
)
MAX_TEXT = 2000  # characters: a connector may name all event types, and many labels
READ_BACK = (
    "what happened while it was disabled is not pushed later; read it back: bridged "
    "disruptive backfill"
)


@frozen
class _Desk:
    """What one command works with."""

    cloud: Cloud
    settings: Settings
    name: str
    arguments: Namespace
    say: Callable[[str], None]


async def run_connectors(
    context: CommandContext,
    arguments: Namespace,
    *,
    network: Network | None = None,
) -> int:
    """Do what the arguments say, and print it.

    :param arguments: ``action``, ``id`` (or None), ``json``, ``dry_run``, ``enable``,
        ``yes``.
    :param network: makes what carries the requests, instead of the real one.
    :raises CommandError: if it cannot be done.
    """
    _check(arguments)
    settings: Settings = context.settings
    if settings.missing_for_rest:
        missing = ", ".join(settings.missing_for_rest)
        raise CommandError(f"[source:{context.name}] lacks {missing}; DT's REST API needs them")
    say = _silent if arguments.json else print
    try:
        async with open_cloud(
            settings, now=context.now, random=random.random, network=network
        ) as cloud:
            document = await _ACTIONS[arguments.action](
                _Desk(cloud, settings, context.name, arguments, say)
            )
    except Reject as refused:
        raise CommandError(str(refused)) from refused
    if arguments.json:
        print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    return 0


def _check(arguments: Namespace) -> None:
    """Check that the action heeds all options."""
    action = arguments.action
    if arguments.id is not None and action in ("list", "create"):
        raise CommandError(f"connectors {action} takes no ID")
    for option, given, actions in (
        ("--dry-run", arguments.dry_run, ("apply",)),
        ("--enable", arguments.enable, ("apply",)),
        ("--yes", arguments.yes, ("disable", "delete")),
    ):
        if given and action not in actions:
            raise CommandError(
                f"connectors {action} knows no {option}; it is for {' and '.join(actions)}"
            )


def _silent(_line: str) -> None:
    pass


async def _list(desk: _Desk) -> JSON:
    connectors = await desk.cloud.patiently(lambda: list_connectors(desk.cloud))
    if not connectors:
        desk.say(f"project {desk.settings.project} has no Data Connector")
    for connector in connectors:
        where = shown_url(connector.url) if connector.url else connector.type
        columns = connector.id, connector.status, where, connector.display_name
        desk.say("  ".join(_fit(column) for column in columns).rstrip())
    return [shown(connector) for connector in connectors]


async def _show(desk: _Desk) -> JSON:
    return _shown(desk, await _chosen(desk))


async def _create(desk: _Desk) -> JSON:
    wanted = _wanted(desk)
    plan = make_plan(await desk.cloud.patiently(lambda: list_connectors(desk.cloud)), wanted)
    if plan.found is not None:
        raise CommandError(
            f"connector {plan.found.id} pushes to {shown_url(wanted.url)} already; "
            "correct it: bridged disruptive connectors apply"
        )
    return await _made_so(desk, wanted, plan)


async def _update(desk: _Desk) -> JSON:
    wanted = _wanted(desk)
    chosen = await _chosen(desk)
    plan = make_plan([chosen], wanted, named=chosen.id)
    _say_plan(desk, plan)
    return await _made_so(desk, wanted, plan)


async def _apply(desk: _Desk) -> JSON:
    wanted = _wanted(desk)
    named = desk.arguments.id or desk.settings.connector
    plan = make_plan(
        await desk.cloud.patiently(lambda: list_connectors(desk.cloud)), wanted, named=named
    )
    _say_plan(desk, plan)
    disabled = plan.found is not None and plan.found.status != ACTIVE
    if disabled and not desk.arguments.enable:
        desk.say("it is left disabled; --enable enables it")
    if desk.arguments.dry_run:
        said = [difference.text for difference in plan.differences]
        return {
            "create": plan.found is None,
            "differences": said,
            "enable": bool(disabled and desk.arguments.enable),
        }
    document = await _made_so(desk, wanted, plan)
    if plan.found is not None and disabled and desk.arguments.enable:
        return await _set_status(desk, plan.found, ACTIVE)
    return document


async def _enable(desk: _Desk) -> JSON:
    return await _set_status(desk, await _chosen(desk), ACTIVE)


async def _disable(desk: _Desk) -> JSON:
    chosen = await _chosen(desk)
    if not desk.arguments.yes:
        raise CommandError(f"connector {chosen.id} is not disabled: {LOSS}; --yes disables it")
    desk.say(f"warning: {LOSS}")
    return await _set_status(desk, chosen, USER_DISABLED)


async def _sync(desk: _Desk) -> JSON:
    chosen = await _chosen(desk)
    await desk.cloud.patiently(lambda: sync_connector(desk.cloud, chosen.id))
    desk.say(f"connector {chosen.id} pushes the latest event of each type of each device once more")
    return {"id": chosen.id}


async def _metrics(desk: _Desk) -> JSON:
    chosen = await _chosen(desk)
    metrics = await desk.cloud.patiently(lambda: get_metrics(desk.cloud, chosen.id))
    desk.say(f"connector {chosen.id}, {chosen.status}, in the last 3 hours:")
    desk.say(f"  pushes that succeeded  {_number(metrics.successes)}")
    desk.say(f"  pushes that failed     {_number(metrics.errors)}")
    desk.say(f"  99 % answered within   {_fit(metrics.latency) or 'unknown'}")
    return {
        "id": chosen.id,
        "status": chosen.status,
        "successCount": metrics.successes,
        "errorCount": metrics.errors,
        "latency99p": metrics.latency,
    }


async def _delete(desk: _Desk) -> JSON:
    chosen = await _chosen(desk)
    if not desk.arguments.yes:
        raise CommandError(
            f"connector {chosen.id} is not deleted: DT would throw away its queue, and push "
            f"nothing more to {shown_url(chosen.url)}; --yes deletes it"
        )
    await desk.cloud.patiently(lambda: delete_connector(desk.cloud, chosen.id))
    desk.say(f"connector {chosen.id} is deleted")
    return {"id": chosen.id}


_ACTIONS: Mapping[str, Callable[[_Desk], Awaitable[JSON]]] = {
    "list": _list,
    "show": _show,
    "create": _create,
    "update": _update,
    "apply": _apply,
    "enable": _enable,
    "disable": _disable,
    "sync": _sync,
    "metrics": _metrics,
    "delete": _delete,
}


def _wanted(desk: _Desk) -> Wanted:
    if desk.settings.public_url is None:
        raise CommandError(
            f"[source:{desk.name}] lacks public_url, the https URL of its path as DT reaches it"
        )
    return wanted_connector(desk.settings, desk.name)


async def _chosen(desk: _Desk) -> Connector:
    """Return the connector that is meant."""
    cloud, url = desk.cloud, desk.settings.public_url
    named = desk.arguments.id or desk.settings.connector
    if named is not None:
        return await cloud.patiently(lambda: get_connector(cloud, named))
    if url is None:
        raise CommandError(
            "which connector? Give its ID, or set public_url; see: bridged disruptive "
            "connectors list"
        )
    found = pushing_to(await cloud.patiently(lambda: list_connectors(cloud)), url)
    if not found:
        raise CommandError(
            f"no connector pushes to {shown_url(url)}; see: bridged disruptive connectors list"
        )
    if len(found) > 1:
        ids = ", ".join(each.id for each in found)
        raise CommandError(f"connectors {ids} push to {shown_url(url)}; give the ID of one")
    return found[0]


def _say_plan(desk: _Desk, plan: Plan) -> None:
    if plan.found is None:
        desk.say("there is no connector for public_url: one is to be created")
    else:
        desk.say(
            f"connector {plan.found.id}, {plan.found.status}"
            + ("" if plan.differences else ", is as wanted")
        )
    for difference in plan.differences:
        desk.say(f"  {_fit(difference.text)}")
    for other in plan.others:
        desk.say(
            f"warning: connector {other} pushes to the same URL, so every event arrives more "
            "than once"
        )


async def _made_so(desk: _Desk, wanted: Wanted, plan: Plan) -> JSON:
    done = await carry_out(desk.cloud, wanted, plan)
    for difference in done.remaining:
        desk.say(f"warning: set, but DT still shows: {_fit(difference.text)}")
    if plan.found is None:
        desk.say(f"connector {done.connector.id} is created")
    elif plan.differences:
        desk.say(f"connector {done.connector.id} is corrected")
    return _shown(desk, done.connector)


async def _set_status(desk: _Desk, chosen: Connector, status: str) -> JSON:
    changed = await desk.cloud.patiently(
        lambda: patch_connector(desk.cloud, chosen.id, {"status": status})
    )
    desk.say(f"connector {changed.id} was {chosen.status} and is {changed.status}")
    if chosen.status != ACTIVE and status == ACTIVE:
        desk.say(READ_BACK)
    return shown(changed)


def _shown(desk: _Desk, connector: Connector) -> JSON:
    document = shown(connector)
    for line in _lines(document):
        desk.say(line)
    return document


def _lines(document: Mapping[str, Any], indent: str = "") -> Iterable[str]:
    """Yield one line for each member; what is empty is a dash."""
    for name, value in document.items():
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:
            text = ", ".join(value) if isinstance(value, list) else value
            yield f"{indent}{_fit(name)}: {_fit(text) or '-'}"


def _fit(text: str) -> str:
    """Return a text of DT's as it may be shown on a terminal."""
    return redacted(text, (), MAX_TEXT)


def _number(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"
