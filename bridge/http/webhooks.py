"""Webhooks: from a request to an answer that may be believed.

    request ─▶ route ─▶ receive ─▶ outlet.emit ─▶ durable ─▶ the answer of the source
                 │         │            │
                404, 405  4xx, 500     503 with Retry-After

2xx is only said when the events are on disk. A wait for the disk that takes too long
ends with 503; the events may have been stored all the same, the sender repeats them,
and the spool knows them once. Why a request was refused goes to the log, never to the
caller.
"""

from __future__ import annotations

import logging
import math

import trio

from bridge.api import Accepted, HttpRejection, Request, Response, SpoolUnavailable
from bridge.http.connection import Handle
from bridge.http.limits import RETRY_AFTER
from bridge.http.response import plain_response
from bridge.http.routes import Mounted, Route, Routes
from bridge.http.throttled_log import ThrottledLog

log = logging.getLogger(__name__)


def webhooks(routes: Routes, *, commit_timeout: float, name: str = "listener") -> Handle:
    """Make the handle of a listener on which sources mount their webhooks.

    :param commit_timeout: seconds for which a request waits until its events are
        durable.
    :param name: the listener, for the log.
    """
    return _Webhooks(routes, commit_timeout, name).handle


class _Webhooks:
    __slots__ = ("_commit_timeout", "_log", "_name", "_routes")

    def __init__(self, routes: Routes, commit_timeout: float, name: str) -> None:
        self._routes = routes
        self._commit_timeout = commit_timeout
        self._name = name
        self._log = ThrottledLog(log)

    async def handle(self, request: Request) -> Response:
        """Answer a request. Raises nothing but ``Cancelled``."""
        route = self._routes.lookup(request.path)
        if route is None:
            paths = ", ".join(self._routes.paths) or "none"
            text = (
                f"{self._name}: {request.peer} asked for {request.path!r}, "
                f"which no source has; there are: {paths}"
            )
            self._log.log("no path", logging.INFO, text)
            return plain_response(404)
        mounted = route.mounted
        if mounted is None:
            return _try_later(RETRY_AFTER)
        if request.method not in mounted.methods:
            return plain_response(405, ("Allow", mounted.allow))
        try:
            accepted = mounted.receive(request)
            if accepted.events:
                await self._store(mounted, accepted)
        except HttpRejection as rejection:
            self._refused(route, request, rejection.status, rejection.reason)
            return _response_to(rejection)
        except SpoolUnavailable as unavailable:
            self._refused(route, request, 503, unavailable.reason)
            return _try_later(unavailable.retry_after)
        except trio.TooSlowError:
            reason = f"the events were not durable within {self._commit_timeout:g} s"
            self._refused(route, request, 503, reason)
            return _try_later(RETRY_AFTER)
        except Exception as error:
            text = (
                f"{route.owner}: a request from {request.peer} was answered 500, "
                f"because receiving it failed: {error!r}"
            )
            self._log.log((route.owner, 500), logging.ERROR, text, error=error)
            return plain_response(500)
        self._log.catch_up()
        return accepted.answer

    async def _store(self, mounted: Mounted, accepted: Accepted) -> None:
        with trio.fail_after(self._commit_timeout):
            await mounted.outlet.emit(*accepted.events)

    def _refused(self, route: Route, request: Request, status: int, reason: str) -> None:
        text = f"{route.owner}: refused a request from {request.peer} ({status}): {reason}"
        self._log.log((route.owner, status), logging.WARNING, text)


def _response_to(rejection: HttpRejection) -> Response:
    headers = rejection.headers
    if rejection.retry_after is not None:
        headers = (*headers, _retry_after(rejection.retry_after))
    return plain_response(rejection.status, *headers)


def _try_later(seconds: float) -> Response:
    return plain_response(503, _retry_after(seconds))


def _retry_after(seconds: float) -> tuple[str, str]:
    return ("Retry-After", str(max(1, math.ceil(seconds))))
