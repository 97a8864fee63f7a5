"""Emulator of DT: the way of a call into the REST API.

    fault ─▶ rate ─▶ path ─▶ who ─▶ may they ─▶ what it does
                     404     401      403         200, 400, 404, 409

Not here: the stream of events, which loses those of a reconnect and so is no way to
read anything back.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

import trio
from attrs import frozen

from bridge.api import Request, Response
from bridge.testing.http_server import HangUp

from ..cloud import Account, Cloud
from ..events import compact
from .connectors import (
    create_connector,
    delete_connector,
    list_connectors,
    patch_connector,
    read_connector,
    read_metrics,
    sync_connector,
)
from .devices import list_devices, list_events, list_projects, read_device
from .faults import JSON_TYPE, RestFault, error, too_many
from .pages import RestError

REST = "/v2"


@frozen
class _Route:
    method: str
    path: re.Pattern[str]
    writes: bool
    """Whether it takes a developer."""
    act: Callable[[Cloud, Mapping[str, str], str, Mapping[str, Any]], Any]
    """Of cloud, ids in the path, query and body: returns the document or its bytes."""


def _route(method: str, path: str, act: Callable[..., Any], *, writes: bool = False) -> _Route:
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", path)
    return _Route(method, re.compile(pattern), writes, act)


def _routes() -> list[_Route]:
    project = REST + "/projects/{project}"
    connector = project + "/dataconnectors/{connector}"
    return [
        _route("GET", REST + "/projects", list_projects),
        _route("GET", project + "/devices", list_devices),
        _route("GET", project + "/devices/{device}", read_device),
        _route("GET", project + "/devices/{device}/events", list_events),
        _route("GET", project + "/dataconnectors", list_connectors),
        _route("POST", project + "/dataconnectors", create_connector, writes=True),
        _route("GET", connector, read_connector),
        _route("PATCH", connector, patch_connector, writes=True),
        _route("DELETE", connector, delete_connector, writes=True),
        _route("POST", connector + ":sync", sync_connector, writes=True),
        _route("GET", connector + ":metrics", read_metrics),
    ]


def make_rest(cloud: Cloud) -> Callable[[Request], Response]:
    """Return the function that answers calls of the REST API."""
    routes = _routes()

    def answer(request: Request) -> Response:
        members = cloud.rules.error_members
        if cloud.rules.rate is not None and (wait := cloud.meter.wait(cloud.rules.rate)):
            return too_many(wait, date_from=cloud.now() if cloud.rules.rate.as_date else None)
        try:
            document = _act(cloud, routes, request)
        except RestError as refused:
            return error(refused.status, str(refused), members=members)
        return Response(
            200, document if isinstance(document, bytes) else compact(document), JSON_TYPE
        )

    return answer


def _act(cloud: Cloud, routes: list[_Route], request: Request) -> Any:
    found = [(route, match) for route in routes if (match := route.path.fullmatch(request.path))]
    if not found:
        raise RestError(404, "not found")
    account = _who(cloud, request.headers.get("authorization", ()))
    for route, match in found:
        if route.method == request.method:
            if account.role == "none" or (route.writes and account.role != "developer"):
                raise RestError(403, "your role does not allow this")
            return route.act(cloud, match.groupdict(), request.query, _body(request))
    raise RestError(405, "method not allowed")


def _who(cloud: Cloud, values: tuple[str, ...]) -> Account:
    scheme, _, credentials = (values[0] if len(values) == 1 else "").partition(" ")
    if scheme.lower() == "bearer":
        token = cloud.tokens.get(credentials)
        if token is not None and cloud.now() < token.until:
            return token.account
    if scheme.lower() == "basic":
        try:
            key, _, secret = b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            key = secret = ""
        for account in cloud.accounts:
            if account.basic and (account.key, account.secret) == (key, secret):
                return account
    raise RestError(401, "not authenticated")


def _body(request: Request) -> Mapping[str, Any]:
    if not request.body:
        return {}
    try:
        document = json.loads(request.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RestError(400, "the body must be a JSON object")
    return document


async def serve(cloud: Cloud, answer: Callable[[Request], Response], request: Request) -> Response:
    """Note a call, and answer it unless a fault has something against that."""
    cloud.calls.append(
        f"{request.method} {request.path}" + (f"?{request.query}" if request.query else "")
    )
    fault = _fault_of(cloud, f"{request.method} {request.path}")
    if fault is None:
        return answer(request)
    given = fault.answer
    if fault.takes_effect or (given is None and not fault.cut):
        done = answer(request)
        given = given or done
    await trio.sleep(fault.delay)
    if fault.cut or given is None:
        raise HangUp
    return given


def _fault_of(cloud: Cloud, call: str) -> RestFault | None:
    for fault in cloud.rest_faults:
        if fault.call in call:
            fault.times -= 1
            if fault.times <= 0:
                cloud.rest_faults.remove(fault)
            return fault
    return None
