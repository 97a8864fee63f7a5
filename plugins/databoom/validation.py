"""The check that signals are validated: of what was pushed, what does Databoom not
record?

    first push of a signal ─▶ watched ─▶ list of signals, read in the background
                                            └─▶ ACTIVE | told as a problem

A push is answered with success although the values of a signal that is not validated
are thrown away (vendor documentation). Only the list of signals tells, and it needs a
token with the scope Read. It is read some seconds after a signal was first pushed,
again while one is not validated, and once an hour: a signal that is renamed or deleted
in Databoom is made anew by the next push. A signal that is not in the list is
introduced again, once.

Not to be seen from here: whether *Enable log* of a signal is off, or a filter of
Databoom leaves values out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import TypeAlias

import trio
from attrs import frozen

from bridge.api import JSON, Insist, Pause, RepeatedEvent, Report, Retry
from bridge.api.rest import RestClient, RestResponse, read_pages, read_retry_after, verdict_of

from .answers import Quoted, message_of
from .problems import LIST_UNREAD, NOT_VALIDATED

SETTLES = 10.0  # seconds from a push until the list is read; new signals share one reading
AGAIN = 300.0  # seconds between two readings while a signal is not validated
RARELY = 3600.0  # seconds between two readings while all is well
PER_PAGE = 100
MAX_WATCHED = 100_000  # signals
MAX_NAMED = 3  # signals in the report

SignalKey: TypeAlias = tuple[str, str]
"""Device token and signal token."""


@frozen
class Findings:
    """What the list says of the signals that were pushed."""

    inactive: tuple[SignalKey, ...]
    """Listed, but not validated."""
    absent: tuple[SignalKey, ...]
    """Not listed."""

    def text(self) -> str:
        """Return the sentence for a person; empty if all is well."""
        lost = (*self.inactive, *self.absent)
        if not lost:
            return ""
        named = ", ".join("/".join(key) for key in lost[:MAX_NAMED])
        rest = f" and {len(lost) - MAX_NAMED} others" if len(lost) > MAX_NAMED else ""
        return (
            f"not validated: values are being lost: {named}{rest}; open Databoom and validate "
            "these signals"
        )


def compare(pushed: Collection[SignalKey], listed: Mapping[SignalKey, str]) -> Findings:
    """Compare what was pushed with the list, signal to status."""
    absent = tuple(key for key in pushed if key not in listed)
    inactive = tuple(key for key in pushed if listed.get(key, "ACTIVE") != "ACTIVE")
    return Findings(inactive, absent)


class Validation:
    """Watches signals in a task of its own.

    :param read: reads the list, signal to status.
    :param forget: called once for a signal that is not listed.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Mapping[SignalKey, str]]],
        *,
        insist: Insist,
        report: Report,
        forget: Callable[[SignalKey], None],
    ) -> None:
        self._read = read
        self._insist = insist
        self._report = report
        self._forget = forget
        self._watched: dict[SignalKey, None] = {}
        self._forgotten: set[SignalKey] = set()
        self._added = RepeatedEvent()

    def watch(self, key: SignalKey) -> None:
        """Databoom has taken a value of this signal."""
        if key not in self._watched and len(self._watched) < MAX_WATCHED:
            self._watched[key] = None
            self._added.set()

    async def run(self) -> None:
        """Check until cancelled."""
        while not self._watched:
            await self._added.wait()
        while True:
            await trio.sleep(SETTLES)
            checked = len(self._watched)
            # A topic of its own, so that a list that can be read again takes back only
            # that it could not be read.
            found = await self._insist(
                self._check,
                topic="list",
                doing="the check whether signals are validated",
                problem=LIST_UNREAD,
            )
            for key in set(found.absent) - self._forgotten:
                self._forgotten.add(key)
                self._forget(key)
            lost = found.text()
            self._report(lost, problem=NOT_VALIDATED if lost else None, topic="validation")
            with trio.move_on_after(AGAIN if lost else RARELY):
                while len(self._watched) == checked:
                    await self._added.wait()

    async def _check(self) -> Findings:
        # Taken before the list is read: what is pushed meanwhile may be missing.
        watched = tuple(self._watched)
        return compare(watched, await self._read())


async def read_list(
    client: RestClient, url: str, now: Callable[[], datetime]
) -> dict[SignalKey, str]:
    """Read every page of the list: signal to status.

    :param url: of the list.
    :raises Retry: it cannot be read now.
    :raises Pause: a person must act.
    """
    previous: list[JSON] = []

    async def read_page(cursor: str | None) -> tuple[list[tuple[SignalKey, str]], str | None]:
        nonlocal previous
        page = int(cursor or "1")  # assumed: the first page
        response = await client.request(
            "GET",
            f"{url.rstrip('/')}/",
            query={"page": str(page), "per_page": str(PER_PAGE), "showHiddenElements": "true"},
        )
        _check_status(response, client.quoted, now())
        document = _document_of(response)
        # Page numbers never come twice, so what ends a list that has no end is that two
        # pages are the same.
        follows = has_next(document, page) and document["data"] != previous
        previous = document["data"]
        return entries_of(document), str(page + 1) if follows else None

    return dict(await read_pages(read_page, "the list of signals"))


def _check_status(response: RestResponse, quoted: Quoted, now: datetime) -> None:
    verdict = verdict_of(response.status)
    if verdict is None:
        return
    said = f"{response.status}: {message_of(response, quoted)}"
    if response.status in (401, 403):
        raise Pause(
            f"Databoom refuses the read_token ({said}); it must exist and have the scope Read"
        )
    if verdict is Retry:
        raise Retry(
            f"the list of signals is answered {said}",
            after=read_retry_after(response.headers, now),
        )
    raise Pause(f"the list of signals is answered {said}; see signals_url")


def _document_of(response: RestResponse) -> JSON:
    try:
        document = response.json()
    except ValueError:
        raise Pause("the list of signals is no JSON; see signals_url") from None
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        raise Pause("the list of signals holds no data; see signals_url")
    return document


def entries_of(document: JSON) -> list[tuple[SignalKey, str]]:
    """Return the signals of a page with their status.

    An entry that lacks a token or the status is left out, which counts as not listed.
    """
    entries = []
    for item in document["data"]:
        if isinstance(item, dict) and isinstance(status := item.get("status"), str):
            device, signal = _device_of(item), item.get("signal_token")
            if isinstance(device, str) and isinstance(signal, str):
                entries.append(((device, signal), status))
    return entries


def _device_of(item: Mapping[str, JSON]) -> JSON:
    device = item.get("device")
    return item.get("device_token") or (
        device.get("device_token") if isinstance(device, dict) else None
    )


def has_next(document: JSON, page: int) -> bool:
    """Return whether another page follows this one.

    ``pages`` is their number (vendor documentation), or an object with the number of
    the last one (seen by public clients). Without either, a full page may have another
    behind it.
    """
    pages = document.get("pages")
    last = pages.get("last") if isinstance(pages, dict) else pages
    if isinstance(last, int):
        return page < last and bool(document["data"])
    return len(document["data"]) >= PER_PAGE
