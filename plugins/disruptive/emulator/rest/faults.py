"""Emulator of DT: what can be wrong with an answer of its REST API or its identity
service.

A fault is put into :attr:`Cloud.rest_faults`; the first one there that matches a call
hits it, so many times. Whether the call took effect is part of the fault: a client that
heard nothing does not know either.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import trio
from attrs import define, frozen

from bridge.api import Response

from ..events import compact

JSON_TYPE = (("Content-Type", "application/json"),)


@define
class RestFault:
    """One thing that goes wrong."""

    answer: Response | None = None
    """None: as ever, but after ``delay``."""
    cut: bool = False
    """The connection is closed without an answer."""
    delay: float = 0.0
    """Seconds before the answer."""
    takes_effect: bool = False
    """Whether the call is carried out first."""
    call: str = ""
    """Part of ``METHOD /path``, such as ``POST /v2/projects``, ``/events`` or
    ``/oauth2/token``; empty: any call.
    """
    times: int = 1
    """How many calls it still hits."""


@frozen
class Rate:
    """How many calls are answered; the others hear 429 with ``Retry-After``."""

    calls: int
    """In any span of ``seconds``."""
    seconds: float
    as_date: bool = False
    """Whether ``Retry-After`` is an HTTP date instead of seconds."""


@define(eq=False)
class Meter:
    """Counts calls against a rate."""

    _times: list[float]

    def wait(self, rate: Rate) -> float:
        """Count a call; return the seconds until one is answered, 0 if this one is."""
        now = trio.current_time()
        self._times = [time for time in self._times if now - time < rate.seconds]
        if len(self._times) >= rate.calls:
            return self._times[0] + rate.seconds - now
        self._times.append(now)
        return 0.0


def error(
    status: int, text: str, *, members: tuple[str, ...] = ("error", "code", "help")
) -> Response:
    """Make an error answer of the REST API.

    :param members: those that the body has: some may be missing (vendor documentation).
    """
    document: dict[str, Any] = {
        "error": text,
        "code": status,
        "help": f"https://docs.d21s.com/error/#{status}",
    }
    return Response(status, compact({name: document[name] for name in members}), JSON_TYPE)


def too_many(retry_after: float, *, date_from: datetime | None = None) -> Response:
    """Make a 429.

    :param date_from: the time now, to tell when as an HTTP date; None: in how many
        seconds, rounded up.
    """
    seconds = int(-(-retry_after // 1))
    text = str(seconds)
    if date_from is not None:
        text = format_datetime(date_from + timedelta(seconds=seconds), usegmt=True)
    answer = error(429, "too many requests")
    return Response(429, answer.body, (*answer.headers, ("Retry-After", text)))


def html(status: int = 200) -> Response:
    """Make a page as a proxy in between would show it."""
    return Response(
        status,
        b"<html><body><h1>Service unavailable</h1></body></html>",
        (("Content-Type", "text/html"),),
    )


def redirect(url: str) -> Response:
    """Make a 302."""
    return Response(302, b"", (("Location", url),))
