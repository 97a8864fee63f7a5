"""The client of DT's REST API: log in, make one call, say what its failure means; read
lists page by page.

    call ─ authorization ─ transport.py ─▶ 200 ─▶ JSON object
                ▲                      ├─ 401 ─▶ renewed once, tried once more
                └──────────────────────┘
                                       └─ others ─▶ answers.py: Retry, Pause or Reject

A call is one attempt; only :meth:`Cloud.patiently` waits and tries again. Redirects are
never followed: they would carry the credentials elsewhere. What DT says is passed on
without our secrets. Statuses, page tokens and names are known from vendor
documentation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar
from urllib.parse import urlencode

import httpx
import orjson
import trio
from attrs import frozen

from bridge.api import JSON, Pause, Retry, parse_json
from bridge.api.rest import client_tls

from ..settings import Settings
from .answers import Reply, refusal
from .login import Login, make_login
from .transport import MAX_WAIT, Transport, pause

T = TypeVar("T")

MAX_ATTEMPTS = 5  # of a patient call: some 10 seconds of trouble, besides the calls themselves


@frozen
class Listed:
    """One page of a list."""

    items: tuple[JSON, ...]
    """Objects, as far as DT keeps to its documentation."""
    token: str | None
    """Page token of the page that follows; None: this was the last."""


@frozen
class Cloud:
    """DT's REST API, open. Any number of tasks may call."""

    project: str
    """Path of our project, ``/projects/ID``."""
    _url: str
    _transport: Transport
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
        """Make one attempt and give the JSON object that DT answers.

        :param path: below ``url``, such as ``/projects``.
        :param ignore_answer: nothing is known of the body of this answer; an empty
            object is given.
        :param secrets: texts of the body that no error may repeat.
        :raises Retry: no answer, overload, trouble at DT.
        :raises Pause: login, role, certificate or URL are refused.
        :raises Reject: this request is refused, with the status (400, 404, 409 ...).
        """
        url = f"{self._url}{path}" + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else orjson.dumps(body)
        authorization = await self._login.authorization()
        reply = await self._transport.send(method, url, _headers(authorization, content), content)
        if reply.status == 401:
            authorization = await self._login.authorization(refused=authorization)
            reply = await self._transport.send(
                method, url, _headers(authorization, content), content
            )
        if reply.status != 200:
            wait = self._transport.shut_for() or self._transport.asked_wait(reply)
            hidden = [*secrets, *self._transport.secrets, authorization.partition(" ")[2]]
            raise refusal(f"{method} {path}", reply, wait=wait, secrets=hidden)
        return {} if ignore_answer else _read(reply, f"{method} {path}")

    async def page(
        self, path: str, member: str, query: Sequence[tuple[str, str]], token: str | None
    ) -> Listed:
        """Get one page of a list; raises what :meth:`call` raises.

        :param member: name of the list in the answer.
        :param token: what the page before gave; None for the first.
        """
        answer = await self.call(
            "GET", path, query=[*query, *([] if token is None else [("pageToken", token)])]
        )
        items, following = answer.get(member), answer.get("nextPageToken")
        if items is None:  # an empty list may be left out
            items = []
        if not isinstance(items, list) or not isinstance(following, str | None):
            raise Retry(f"GET {path} was answered without a list of {member}")
        return Listed(tuple(items), following or None)

    async def listing(
        self, path: str, member: str, query: Sequence[tuple[str, str]] = ()
    ) -> list[Mapping[str, JSON]]:
        """Get all objects of all pages of a list, from its beginning; raises what
        :meth:`call` raises.

        :raises Pause: also if DT gives a page token twice: the list would have no end.
        """
        items: list[Mapping[str, JSON]] = []
        seen: set[str] = set()
        token: str | None = None
        while True:
            page = await self.page(path, member, query, token)
            items += (item for item in page.items if isinstance(item, dict))
            token = page.token
            if token is None:
                return items
            if token in seen:
                raise Pause(
                    f"GET {path} gives a page token a second time: its list has no end; ask "
                    "DT's support"
                )
            seen.add(token)

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Make up to ``MAX_ATTEMPTS`` attempts, with pauses that grow or that DT asks
        for.

        Only for what may be done twice. :raises Retry: the last attempt failed too, or
        DT asks for too long a pause.
        """
        for number in range(1, MAX_ATTEMPTS):
            try:
                return await attempt()
            except Retry as failed:
                if failed.after is not None and failed.after > MAX_WAIT:
                    raise
                wait = self.pause(number) if failed.after is None else failed.after
            await trio.sleep(wait)
        return await attempt()

    def pause(self, number: int) -> float:
        """Give the seconds to wait after failure number 1, 2, 3 ... ."""
        return pause(number, self._transport.random())


@asynccontextmanager
async def open_cloud(
    settings: Settings,
    *,
    now: Callable[[], datetime],
    random: Callable[[], float],
    network: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Cloud]:
    """Open the API for settings that have all it takes (``missing_for_rest`` is empty).

    :param network: what carries the requests, instead of the real one.
    :raises Pause: ``ca_file`` cannot be used.
    """
    known = (
        settings.service_account_secret,
        settings.secret,
        settings.previous_secret,
        settings.header_value,
    )
    async with httpx.AsyncClient(
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        },  # the largest size is what arrives
        timeout=None,  # noqa: S113  # the transport has one deadline for everything
        follow_redirects=False,
        trust_env=False,
        transport=network
        or httpx.AsyncHTTPTransport(verify=client_tls(settings.ca_file), trust_env=False),
    ) as client:
        secrets = [secret.reveal() for secret in known if secret is not None]
        transport = Transport(client, settings.timeout, now, random, secrets)
        login = make_login(settings, transport.send, now)
        yield Cloud(f"/projects/{settings.project}", settings.url.rstrip("/"), transport, login)


def _headers(authorization: str, content: bytes | None) -> dict[str, str]:
    return {"Authorization": authorization} | (
        {} if content is None else {"Content-Type": "application/json"}
    )


def _read(reply: Reply, request: str) -> Mapping[str, JSON]:
    try:
        answer = parse_json(reply.body)
    except ValueError as exc:
        raise Retry(f"{request} was answered with something that is not JSON") from exc
    if not isinstance(answer, dict):
        raise Retry(f"{request} was answered without a JSON object")
    return answer
