"""The REST calls on Data Connectors, and how a connector is made as it should be.

    list ─ ours? ─ no ──▶ create, and after any doubt list before trying again ─┐
             └─ yes ─ differences ─▶ PATCH only those ──────────────────────────┤
                                            read back: what still differs? ◀────┘

DT has no idempotency key: a second create would make a second connector, and every
event would arrive twice (vendor documentation). So nothing is created before a list was
seen in which ours is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from bridge.api import JSON, Pause, Reject, Retry

from ..rest.client import Cloud
from .documents import (
    HTTP_PUSH,
    Connector,
    Difference,
    Metrics,
    Wanted,
    create_body,
    differences,
    patch_body,
    pushing_to,
    read_connector,
    read_metrics,
    secrets_in,
)


@frozen
class Plan:
    """What stands between a project and the connector that is wanted."""

    found: Connector | None
    """The connector that is ours; None: it is to be created."""
    differences: tuple[Difference, ...] = ()
    others: tuple[str, ...] = ()
    """Ids of other active connectors that push to the same URL: every event arrives
    once more for each.
    """


@frozen
class Provisioned:
    """What became of a plan."""

    connector: Connector
    """As it was read back."""
    remaining: tuple[Difference, ...] = ()
    """What still differs, although it was set."""


async def list_connectors(cloud: Cloud) -> list[Connector]:
    """Return all connectors of the project. Raises what a call raises."""
    answers = await cloud.listing(_path(cloud), "dataConnectors")
    return [_connector(answer) for answer in answers]


async def get_connector(cloud: Cloud, connector_id: str) -> Connector:
    """Return a connector. :raises Reject: 404, there is none of this id."""
    return _connector(await cloud.call("GET", _path(cloud, connector_id)))


async def patch_connector(cloud: Cloud, connector_id: str, body: Mapping[str, JSON]) -> Connector:
    """Change members of a connector. May be done twice."""
    path = _path(cloud, connector_id)
    return _connector(await cloud.call("PATCH", path, body=body, secrets=secrets_in(body)))


async def delete_connector(cloud: Cloud, connector_id: str) -> None:
    """Delete a connector."""
    await cloud.call("DELETE", _path(cloud, connector_id), ignore_answer=True)


async def sync_connector(cloud: Cloud, connector_id: str) -> None:
    """Have the latest event of each type of each device pushed once more."""
    await cloud.call("POST", f"{_path(cloud, connector_id)}:sync", ignore_answer=True)


async def get_metrics(cloud: Cloud, connector_id: str) -> Metrics:
    """Return what DT counted over the last 3 hours."""
    return read_metrics(await cloud.call("GET", f"{_path(cloud, connector_id)}:metrics"))


async def create_connector(cloud: Cloud, wanted: Wanted) -> Connector:
    """Create a connector after a list has shown that there is none for this URL; never
    two.

    :raises Retry: it is not known whether it was created: begin again with a list.
    """
    body = create_body(wanted)
    in_doubt = False

    async def attempt() -> Connector:
        nonlocal in_doubt
        if in_doubt and (existing := await _existing(cloud, wanted)):
            return existing
        in_doubt = True  # from now on it may exist, although no answer came
        try:
            answer = await cloud.call("POST", _path(cloud), body=body, secrets=secrets_in(body))
        except Reject as refused:
            if refused.status == 409 and (existing := await _existing(cloud, wanted)):
                return existing
            raise
        return _connector(answer)

    return await cloud.patiently(attempt)


async def _existing(cloud: Cloud, wanted: Wanted) -> Connector | None:
    found = pushing_to(await list_connectors(cloud), wanted.url)
    return found[0] if found else None


def make_plan(
    connectors: Sequence[Connector],
    wanted: Wanted,
    *,
    named: str | None = None,
    remembered: str | None = None,
    same_secret: bool = False,
    same_headers: bool = False,
) -> Plan:
    """Return which connector is ours and how it differs.

    :param named: id that a person gave; nothing else will do.
    :param remembered: id of the one that was ours; used when none pushes to the URL,
        for the URL may have changed.
    :param same_secret: what is known of the remembered one if its secret is not shown;
        likewise ``same_headers``.
    :raises Pause: there is no connector of the named id.
    """
    ours = [each for each in connectors if each.type == HTTP_PUSH]
    known = {each.id: each for each in ours}
    candidates = pushing_to(ours, wanted.url)
    found: Connector | None
    if named is not None:
        found = known.get(named)
        if found is None:
            raise Pause(
                f"the project has no connector {named} of type {HTTP_PUSH}; correct or remove "
                "its id"
            )
    elif candidates:
        found = next((each for each in candidates if each.id == remembered), candidates[0])
    else:
        found = known.get(remembered) if remembered is not None else None
    others = tuple(each.id for each in candidates if each is not found and each.status == "ACTIVE")
    if found is None:
        return Plan(None, (), others)
    same = found.id == remembered
    said = differences(
        wanted, found, same_secret=same and same_secret, same_headers=same and same_headers
    )
    return Plan(found, said, others)


async def carry_out(cloud: Cloud, wanted: Wanted, plan: Plan) -> Provisioned:
    """Create or correct, then read back.

    Raises what a call raises; may be done again, from a new list.
    """
    found = plan.found
    if found is None:
        found = await create_connector(cloud, wanted)
    elif plan.differences:
        body = patch_body(wanted, found, plan.differences)
        connector_id = found.id
        await cloud.patiently(lambda: patch_connector(cloud, connector_id, body))
    else:
        return Provisioned(found)
    connector_id = found.id
    found = await cloud.patiently(lambda: get_connector(cloud, connector_id))
    return Provisioned(found, differences(wanted, found, same_secret=True, same_headers=True))


def _path(cloud: Cloud, connector_id: str | None = None) -> str:
    path = f"{cloud.project}/dataconnectors"
    return path if connector_id is None else f"{path}/{connector_id}"


def _connector(answer: Mapping[str, JSON]) -> Connector:
    try:
        return read_connector(answer)
    except ValueError as exc:
        raise Retry(f"DT's answer on a Data Connector cannot be read: {exc}") from exc
