"""What an answer of the REST API means: an answer in, a page or a verdict out. Pure.

    200 with an array          the items, and where the next page is
    204, no body, []           nothing
    401 403 3xx                pause: a person must act
    404                        reject: there is no such device; the others go on
    429                        retry after Retry-After, else after one window
    not JSON                   retry
    any other                  as of every vendor, see bridge.api.rest.verdict_of

Statuses and bodies of errors are not published: these actions are our choice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urljoin, urlsplit

from attrs import frozen

from bridge.api import JSON, Pause, Reject, Retry, shortened
from bridge.api.rest import RestResponse, clock_difference, read_retry_after, verdict_of

WINDOW = 300.0  # seconds: the published limits count requests per 5 minutes
NOTABLE_DIFFERENCE = 30.0  # seconds between two clocks that are worth a remark on a refusal
MAX_LINK = 8192  # characters of a link; a longer one no server would take

_PORTS = {"http": 80, "https": 443}


@frozen
class ListPage:
    """A list, or the part of it that one answer holds."""

    items: tuple[JSON, ...] = ()
    next: str | None = None
    """Path and query of the next part; None: this was the last."""


def read_answer(answer: RestResponse, now: datetime) -> ListPage:
    """Return the page that an answer holds.

    :raises Retry, Pause, Reject: as the table of this module says.
    """
    if (refusal := verdict(answer, now)) is not None:
        raise refusal
    if answer.status == 204 or not answer.body.strip():
        return ListPage()
    try:
        document = answer.json()
    except ValueError as exc:
        raise Retry(
            f"an answer of the REST API ({answer.status}) is not JSON: {shortened(str(exc))}"
        ) from exc
    if not isinstance(document, list):
        raise Reject(
            f"an answer of the REST API ({answer.status}) is JSON, but not the array that was "
            "expected",
            status=answer.status,
        )
    link = answer.links.get("next")
    return ListPage(tuple(document), None if link is None else next_target(link, answer.url))


def verdict(answer: RestResponse, now: datetime) -> Retry | Pause | Reject | None:
    """Return what a refusal means; None for a success."""
    status, headers = answer.status, answer.headers
    if status in (401, 403):
        return Pause(
            f"the REST API refuses the credentials ({status}); check rest_key, rest_secret, "
            f"rest_auth and the clock{_clocks(headers, now)}"
        )
    if 300 <= status < 400:
        place = shortened(headers.get("location", "another address").partition("?")[0])
        return Pause(
            f"the REST API redirects ({status}) to {place}, which is not followed; correct url"
        )
    if status == 404:
        return Reject("the REST API knows no such device or property (404)", status=status)
    after = read_retry_after(headers, now)
    if status == 429:
        return Retry(
            "the REST API allows no more requests now (429)",
            after=WINDOW if after is None else after,
        )
    usual = verdict_of(status)
    if usual is Retry:
        return Retry(f"the REST API is not available ({status})", after=after)
    if usual is Pause:
        return Pause(f"the REST API refuses the request ({status}); check url and proxy")
    if usual is Reject:
        return Reject(f"the REST API refuses the request ({status})", status=status)
    return None


def next_target(link: str, url: str) -> str:
    """Return path and query of the next page.

    :param link: as the page names it, perhaps relative.
    :param url: absolute, of the page that names it.
    :raises Pause: if it has another scheme, host or port: credentials stay here.
    :raises Reject: if no request could ask for it.
    """
    try:
        absolute = urljoin(url, link)
        same = _origin(absolute) == _origin(url)
    except ValueError:
        absolute, same = "", False
    if not same:
        raise Pause(
            f"the REST API names a next page at {shortened(link.partition('?')[0])}, which is "
            "not the host of url; it is not followed: correct url"
        )
    parts = urlsplit(absolute)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if re.fullmatch(rf"/[!-~]{{0,{MAX_LINK}}}", target, re.ASCII) is None:
        raise Reject("the REST API names a next page that is too long, or not written in ASCII")
    return target


def _origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port.

    :raises ValueError: if it has none of these, or credentials.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError("not an absolute URL without credentials")
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def _clocks(headers: Mapping[str, str], now: datetime) -> str:
    """Return a remark on clocks that differ, if they do: a signature holds the time."""
    difference = clock_difference(headers, now) or 0.0
    if abs(difference) < NOTABLE_DIFFERENCE:
        return ""
    return (
        f" (ours is {abs(difference):.0f} s {'ahead of' if difference > 0 else 'behind'} the "
        "server's)"
    )
