"""The check that signals are validated: of what was pushed, what does Databoom not
record?

first push of a signal ──▶ watched ──▶ list of signals, read in the background ──▶ ACTIVE | told as a problem

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

from collections.abc import Callable, Collection, Mapping

import orjson
import trio
from attrs import frozen

from bridge.api import JSON, Pause, Retry

from .answers import excerpt
from .client import Client

SETTLES = 10.0  # seconds from a push until the list is read; several new signals share one reading
AGAIN = 300.0  # seconds between two readings while a signal is not validated, or the list cannot be read
RARELY = 3600.0  # seconds between two readings while all is well
PER_PAGE = 100
MAX_PAGES = 1000  # of a list that never ends
MAX_WATCHED = 100_000  # signals
MAX_NAMED = 3  # signals in the report

Key = tuple[str, str]
"""Device token and signal token."""


class Unreadable(Exception):
    """The list of signals cannot be read; the text says why and what to do."""


@frozen
class Judgement:
    """What the list says of the signals that were pushed."""

    inactive: tuple[Key, ...]
    """Listed, but not validated."""
    absent: tuple[Key, ...]
    """Not listed."""

    def text(self) -> str:
        """Say it to a person; empty if all is well."""
        lost = (*self.inactive, *self.absent)
        if not lost:
            return ""
        named = ", ".join("/".join(key) for key in lost[:MAX_NAMED])
        rest = f" and {len(lost) - MAX_NAMED} others" if len(lost) > MAX_NAMED else ""
        return (
            f"not validated: values are being lost: {named}{rest}; open Databoom and validate "
            "these signals"
        )


def judge(watched: Collection[Key], listed: Mapping[Key, str]) -> Judgement:
    """Compare what was pushed with the list."""
    absent = tuple(key for key in watched if key not in listed)
    inactive = tuple(key for key in watched if listed.get(key, "ACTIVE") != "ACTIVE")
    return Judgement(inactive, absent)


class Validation:
    """Watches signals in a task of its own."""

    def __init__(
        self, client: Client, tell: Callable[[str], None], forget: Callable[[Key], None]
    ) -> None:
        self._client = client
        self._tell = tell
        self._forget = forget
        self._watched: dict[Key, None] = {}
        self._forgotten: set[Key] = set()
        self._news = trio.Event()

    def watch(self, key: Key) -> None:
        """Databoom has taken a value of this signal."""
        if key not in self._watched and len(self._watched) < MAX_WATCHED:
            self._watched[key] = None
            self._news.set()

    async def run(self) -> None:
        """Check until cancelled. Never fails: what is wrong is told."""
        await self._news.wait()
        while True:
            await trio.sleep(SETTLES)
            self._news = trio.Event()
            well = await self._check()
            with trio.move_on_after(RARELY if well else AGAIN):
                await self._news.wait()

    async def _check(self) -> bool:
        try:
            listed = await read_list(self._client)
        except Unreadable as exc:
            self._tell(f"whether signals are validated cannot be checked: {exc}")
            return False
        found = judge(self._watched, listed)
        for key in found.absent:
            if key not in self._forgotten:
                self._forgotten.add(key)
                self._forget(key)
        self._tell(found.text())
        return not found.text()


async def read_list(client: Client) -> dict[Key, str]:
    """Read every page of the list: signal to status. :raises Unreadable: if one cannot
    be read.
    """
    listed: dict[Key, str] = {}
    page = 1  # assumed: the first page
    while page <= MAX_PAGES:
        try:
            answer = await client.signals(page, PER_PAGE)
        except (Retry, Pause) as exc:
            raise Unreadable(str(exc)) from None
        if answer.status in (401, 403):
            raise Unreadable(
                f"Databoom refuses the read_token ({answer.status}: {excerpt(answer.body)}); "
                "it must exist and have the scope Read"
            )
        if answer.status != 200:
            raise Unreadable(
                f"the list of signals is answered {answer.status}: {excerpt(answer.body)}; "
                "see signals_url"
            )
        entries, pages = parse_page(answer.body)
        listed.update(entries)
        if page >= pages or not entries:
            break
        page += 1
    return listed


def parse_page(body: bytes) -> tuple[dict[Key, str], int]:
    """Read a page of the list: signal to status, and the number of pages. :raises
    Unreadable: if it is none.

    An entry that lacks a token or the status is left out, which counts as not listed.
    """
    try:
        page = orjson.loads(body)
    except ValueError:
        raise Unreadable("the list of signals is no JSON; see signals_url") from None
    data = page.get("data") if isinstance(page, dict) else None
    if not isinstance(data, list):
        raise Unreadable("the list of signals holds no data; see signals_url")
    entries = {}
    for item in data:
        if isinstance(item, dict) and isinstance(status := item.get("status"), str):
            device, signal = _device(item), item.get("signal_token")
            if isinstance(device, str) and isinstance(signal, str):
                entries[device, signal] = status
    pages = page.get("pages")
    return entries, pages if isinstance(pages, int) else 1


def _device(item: dict[str, JSON]) -> JSON:
    device = item.get("device")
    return item.get("device_token") or (
        device.get("device_token") if isinstance(device, dict) else None
    )
