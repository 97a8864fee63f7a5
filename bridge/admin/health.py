"""The answers to monitors, and which path answers what.

``/livez`` says that the loop turns. ``/readyz`` says that events can be stored: a dead
sink does not fail it, because a load balancer would then throw away what could be kept.
"""

from __future__ import annotations

import orjson

from bridge.admin.page import HEADERS, render
from bridge.admin.status import Observer
from bridge.api import JSON, Request, Response

PAGES = ("/", "/status.json", "/livez", "/readyz")


async def answer(request: Request, observer: Observer) -> Response:
    """Answer a request to the admin address."""
    if request.path not in PAGES:
        return Response(404)
    if request.method not in ("GET", "HEAD"):
        return Response(405, headers=(("allow", "GET, HEAD"),))
    match request.path:
        case "/livez":
            return _json({"alive": True})
        case "/readyz":
            refusal = observer.spool.refusal
            ready = refusal is None
            return _json(
                {"ready": ready, "reasons": [] if ready else [f"spool: {refusal}"]},
                200 if ready else 503,
            )
        case "/status.json":
            return _json((await observer.look()).as_json())
    return Response(body=render(await observer.look()), headers=HEADERS)


def _json(value: JSON, status: int = 200) -> Response:
    headers = (("content-type", "application/json"), ("cache-control", "no-store"))
    return Response(status, orjson.dumps(value), headers)
