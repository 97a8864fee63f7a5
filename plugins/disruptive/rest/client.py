"""The client of DT's REST API: log in, make one call, say what its failure means; read
lists page by page.

    call ─ authorization ─ gate ─▶ 200 ─▶ JSON object
                ▲             ├─ 401 ─▶ renewed once, tried once more
                └─────────────┘
                              └─ others ─▶ Retry, Pause or Reject

A call is one attempt; only :meth:`Cloud.patiently` waits and tries again. Statuses,
page tokens and names are known from vendor documentation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar
from urllib.parse import urlencode

import orjson
import trio
from attrs import frozen

from bridge.api import JSON, Retry, backoff, parse_json
from bridge.api.rest import Network, open_rest, read_pages

from ..settings import Settings
from .answers import verdict_on
from .gate import FIRST_WAIT, MAX_WAIT, Gate
from .login import Login, make_login

T = TypeVar("T")

MAX_ATTEMPTS = 5  # of a patient call: some 10 seconds of trouble, besides the calls themselves
MAX_BODY = 32 << 20  # bytes; 1,000 events of the largest known size, 3 kB, take a tenth of it


@frozen
class Cloud:
    """DT's REST API, open. Any number of tasks may call."""

    project: str
    """Path of our project, ``/projects/ID``."""
    _url: str
    _gate: Gate
    _login: Login

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: JSON = None,
        ignore_answer: bool = False,
        secrets: Sequence[str] = (),
    ) -> Mapping[str, JSON]:
        """Make one attempt and return the JSON object that DT answers.

        :param path: below ``url``, such as ``/projects``.
        :param ignore_answer: nothing is known of the body of this answer; an empty
            object is returned.
        :param secrets: texts of the body that no error may repeat.
        :raises Retry: no answer, overload, trouble at DT.
        :raises Pause: login, role, certificate or URL are refused.
        :raises Reject: this request is refused, with the status (400, 404, 409 ...).
        """
        url = f"{self._url}{path}" + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else orjson.dumps(body)
        headers = {} if content is None else {"Content-Type": "application/json"}
        authorization = await self._login.authorization()
        response = await self._gate.send(
            method, url, {"Authorization": authorization, **headers}, content
        )
        if response.status == 401:  # the token may have been revoked before its time
            authorization = await self._login.authorization(refused=authorization)
            response = await self._gate.send(
                method, url, {"Authorization": authorization, **headers}, content
            )
        if response.status != 200:
            said = self._gate.said(response, *secrets, authorization.partition(" ")[2])
            wait = self._gate.asked_wait(response)
            raise verdict_on(f"{method} {path}", response.status, said, wait)
        return {} if ignore_answer else _read(response.body, f"{method} {path}")

    async def page(
        self, path: str, member: str, query: Sequence[tuple[str, str]], token: str | None
    ) -> tuple[Sequence[JSON], str | None]:
        """Return the items of one page of a list, and the token of the next page or
        None; raises what :meth:`call` raises.

        :param member: name of the list in the answer.
        :param token: what the page before gave; None for the first.
        """
        asked = [*query, *([] if token is None else [("pageToken", token)])]
        answer = await self.call("GET", path, query=asked)
        items, following = answer.get(member), answer.get("nextPageToken")
        if items is None:  # an empty list may be left out
            items = []
        if not isinstance(items, list) or not isinstance(following, str | None):
            raise Retry(f"GET {path} was answered without a list of {member}")
        return items, following or None

    async def listing(
        self, path: str, member: str, query: Sequence[tuple[str, str]] = ()
    ) -> list[Mapping[str, JSON]]:
        """Return all objects of all pages of a list; raises what :meth:`call` raises.

        :raises Pause: also if DT gives a page token twice.
        """

        async def read_page(token: str | None) -> tuple[Sequence[JSON], str | None]:
            return await self.page(path, member, query, token)

        items = await read_pages(read_page, f"GET {path}")
        return [item for item in items if isinstance(item, dict)]

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Make up to ``MAX_ATTEMPTS`` attempts, with pauses that grow or that DT asks
        for.

        Only for what may be done twice. :raises Retry: the last attempt failed too, or
        DT asks for too long a pause.
        """
        for failures in range(1, MAX_ATTEMPTS):
            try:
                return await attempt()
            except Retry as failed:
                wait = failed.after
                if wait is None:
                    wait = backoff(failures, FIRST_WAIT, MAX_WAIT, self._gate.random)
                elif wait > MAX_WAIT:
                    raise
            await trio.sleep(wait)
        return await attempt()


@asynccontextmanager
async def open_cloud(
    settings: Settings,
    *,
    now: Callable[[], datetime],
    random: Callable[[], float],
    network: Network | None = None,
) -> AsyncIterator[Cloud]:
    """Open the API for settings that have all it takes (``missing_for_rest`` is empty).

    :param network: makes what carries the requests, instead of the real one.
    :raises Pause: ``ca_file`` cannot be used.
    """
    known = (
        settings.service_account_secret,
        settings.secret,
        settings.previous_secret,
        settings.header_value,
    )
    async with open_rest(
        "DT's REST API",
        timeout=settings.timeout,
        max_body=MAX_BODY,
        ca_file=settings.ca_file,
        proxy=settings.proxy,
        secrets=[secret.reveal() for secret in known if secret is not None],
        certificate_hint="check url and token_url, or name the CA in ca_file",
        network=network,
    ) as rest:
        gate = Gate(rest, now, random)
        login = make_login(settings, gate, now)
        yield Cloud(f"/projects/{settings.project}", settings.url.rstrip("/"), gate, login)


def _read(body: bytes, request: str) -> Mapping[str, JSON]:
    try:
        answer = parse_json(body)
    except ValueError as exc:
        raise Retry(f"{request} was answered with something that is not JSON") from exc
    if not isinstance(answer, dict):
        raise Retry(f"{request} was answered without a JSON object")
    return answer
