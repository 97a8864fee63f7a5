"""The paths of the emulator: who may ask, what is asked, what is answered.

    POST /v1/signals/push              Publish            array form and history form
    POST /v1/signals/push/UNIQUE       Publish + Create   template form
    GET  /v1/signals  /all  /ID        Read
    POST /v1/signals                   Create
    PUT  /v1/signals/ID                Update
    GET  /v1/devices/all  /ID          Read
    POST /v1/chart                     Read
    GET  /v1/auth/gmtclock/plain       any credential

With and without a slash at the end. A request with both a token and an API key is
refused (the vendor says: one of the two). ``/all`` answers a bare array.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote

import orjson

from bridge.api import JSON, Request

from .chart import GRANULARITIES, chart
from .cloud import Cloud
from .dates import parse_date
from .faults import Faults
from .model import RefusedError

SCOPES = ("Publish", "Create", "Read", "Update")
PUSH = "/v1/signals/push"


class Access:
    """Tokens with their scopes, and API keys, which may do everything."""

    def __init__(self, tokens: Mapping[str, Collection[str]], apikeys: Collection[str]) -> None:
        self._tokens = {token: frozenset(scopes) for token, scopes in tokens.items()}
        self._apikeys = frozenset(apikeys)
        self._revoked: set[str] = set()

    def revoke(self, credential: str) -> None:
        """Delete a token or key."""
        self._revoked.add(credential)

    def restore(self, credential: str) -> None:
        """Make a deleted one good again."""
        self._revoked.discard(credential)

    def authorise(self, request: Request, *scopes: str) -> None:
        """Let a request pass.

        :raises RefusedError: 401 for an unknown credential, 403 for a missing scope,
            400 for two.
        """
        authorization = request.headers.get("authorization", ())
        apikey = request.headers.get("apikey", ())
        if authorization and apikey:
            raise RefusedError(400, "token and apikey")
        if apikey:
            if apikey[0] not in self._apikeys or apikey[0] in self._revoked:
                raise RefusedError(401, "Unauthorized")
            return
        scheme, _, token = (authorization or ("",))[0].partition(" ")
        if scheme != "Bearer" or token not in self._tokens or token in self._revoked:
            raise RefusedError(401, "Unauthorized")
        if not self._tokens[token].issuperset(scopes):
            raise RefusedError(403, "Forbidden")


def is_push(request: Request) -> bool:
    """Return whether a request goes to the path of pushes."""
    return request.path.rstrip("/") == PUSH or request.path.startswith(f"{PUSH}/")


def route(request: Request, cloud: Cloud, access: Access, faults: Faults, now: datetime) -> JSON:
    """Return the answer to a request. :raises RefusedError: it is not granted."""
    match request.method, request.path.strip("/").split("/"):
        case "POST", ["v1", "signals", "push"]:
            access.authorise(request, "Publish")
            return _push(request, cloud, faults, now, unique=None)
        case "POST", ["v1", "signals", "push", unique]:
            access.authorise(request, "Publish", "Create")
            return _push(request, cloud, faults, now, unique=unquote(unique))
        case "GET", ["v1", "signals"]:
            access.authorise(request, "Read")
            return cloud.listed(_asked(request, "page", 1), _asked(request, "per_page", 50), now)
        case "GET", ["v1", "signals", "all"]:
            access.authorise(request, "Read")
            return cloud.every_signal(now)
        case "GET", ["v1", "signals", id_]:
            access.authorise(request, "Read")
            return cloud.described(cloud.signal_of(id_), now)
        case "POST", ["v1", "signals"]:
            access.authorise(request, "Create")
            return cloud.described(cloud.create_signal(_object(request)), now)
        case "PUT", ["v1", "signals", id_]:
            access.authorise(request, "Update")
            return cloud.described(cloud.update_signal(id_, _object(request)), now)
        case "GET", ["v1", "devices", "all"]:
            access.authorise(request, "Read")
            return cloud.every_device(now)
        case "GET", ["v1", "devices", id_]:
            access.authorise(request, "Read")
            return cloud.described_device(cloud.device_of(id_), now)
        case "POST", ["v1", "chart"]:
            access.authorise(request, "Read")
            return _chart(_object(request), cloud)
        case "GET", ["v1", "auth", "gmtclock", "plain"]:
            access.authorise(request)
            return now.astimezone(UTC).isoformat()
    raise RefusedError(404, "Not found")


def _push(
    request: Request, cloud: Cloud, faults: Faults, now: datetime, *, unique: str | None
) -> JSON:
    if len(request.body) > cloud.rules.most_bytes:
        raise RefusedError(413, "request entity too large")
    document = _parsed(request.body)
    pushes = (
        [cloud.push(document, now)]
        if unique is None
        else cloud.push_template(document, unique, now)
    )
    values = [one for push in pushes for one in push.sent]
    if any(one.value in faults.poison or one.signal in faults.poison for one in values):
        raise RefusedError(400, "this value is not liked")
    for push in pushes:
        cloud.store(push, now)
    return {"message": "ALL_INFO_PROCESSED"}


def _chart(asked: dict[str, JSON], cloud: Cloud) -> JSON:
    if asked.get("granularity") not in GRANULARITIES:
        raise RefusedError(400, "granularity is not known")
    start, end = (parse_date(asked.get(name), UTC) for name in ("startDate", "endDate"))
    if start is None or end is None or not isinstance(asked.get("signals"), list):
        raise RefusedError(400, "signals or dates are missing")
    return chart(
        [cloud.signal_of(id_) for id_ in asked["signals"]], start, end, asked["granularity"]
    )


def _asked(request: Request, name: str, default: int) -> int:
    text = parse_qs(request.query).get(name, [str(default)])[0]
    if not text.isdecimal() or int(text) < 1:
        raise RefusedError(400, f"{name} is not a number")
    return int(text)


def _object(request: Request) -> dict[str, JSON]:
    document = _parsed(request.body)
    if not isinstance(document, dict):
        raise RefusedError(400, "expected an object")
    return document


def _parsed(body: bytes) -> JSON:
    try:
        return orjson.loads(body)
    except ValueError:
        raise RefusedError(400, "Unexpected token in JSON") from None
