"""What an answer of the REST API means. Pure: status, headers and body in, a page or a
verdict out.

200 with an array          the items, and where the next page is
204, no body, []           nothing
401 403 3xx                pause: a person must act
404                        reject: there is no such device; the others go on
429                        retry after Retry-After, else after one window of the limits
408 5xx, not JSON          retry
any other                  reject

Statuses and bodies of errors are not published: these actions are our choice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

from attrs import frozen

from bridge.api import JSON, Pause, Reject, Retry, parse_json

from ..texts import shortened

WINDOW = 300.0  # seconds: the published limits count requests per 5 minutes
MAX_RETRY_AFTER = (
    3600.0  # a longer one is a mistake of the server; asking once an hour harms nobody
)
NOTABLE_DIFFERENCE = (
    30.0  # seconds between two clocks, above which a refused signature is worth a remark
)
MAX_LINK = 8192  # characters of a link; a longer one no server would take

_LINK = re.compile(r"""<([^<>]*)>((?:[^,"]|"[^"]*")*)""")
_REL = re.compile(r""";\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))""", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


@frozen
class RestPage:
    """A list, or the part of it that one answer holds."""

    items: tuple[JSON, ...] = ()
    next: str | None = None
    """Path and query of the next part; None: this was the last."""


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, url: str, now: datetime
) -> RestPage:
    """Read the answer to a request.

    :param headers: by lower-case name; those of one name joined by commas.
    :param url: what was asked for, absolute.
    :raises Retry, Pause, Reject: as the table of this module says.
    """
    if not 200 <= status < 300:
        raise verdict(status, headers, now)
    if status == 204 or not body.strip():
        return RestPage()
    try:
        document = parse_json(body)
    except ValueError as exc:
        raise Retry(
            f"an answer of the REST API ({status}) is not JSON: {shortened(str(exc))}"
        ) from exc
    if not isinstance(document, list):
        raise Reject(
            f"an answer of the REST API ({status}) is JSON, but not the array that was expected",
            status=status,
        )
    return RestPage(tuple(document), next_target(headers.get("link", ""), url))


def verdict(status: int, headers: Mapping[str, str], now: datetime) -> Retry | Pause | Reject:
    """Tell what a refusal means."""
    if status in (401, 403):
        return Pause(
            (
                f"the REST API refuses the credentials ({status}); check rest_key, rest_secret, "
                "rest_auth and the clock"
            )
            + _clocks(headers, now)
        )
    if 300 <= status < 400:
        place = shortened(headers.get("location", "another address").partition("?")[0])
        return Pause(
            f"the REST API redirects ({status}) to {place}, which is not followed; correct url"
        )
    if status == 404:
        return Reject("the REST API knows no such device or property (404)", status=status)
    wait = retry_after(headers.get("retry-after"), now)
    if status == 429:
        return Retry(
            "the REST API allows no more requests now (429)", after=WINDOW if wait is None else wait
        )
    if status >= 500 or status in (408, 425):
        return Retry(f"the REST API is not available ({status})", after=wait)
    return Reject(f"the REST API refuses the request ({status})", status=status)


def next_target(link: str, url: str) -> str | None:
    """Find the next page in a ``Link`` header; None if there is none.

    :param url: absolute, of the page that named it.
    :raises Pause: if it points to another scheme, host or port: credentials go nowhere
        else.
    """
    for match in _LINK.finditer(link):
        relation = _REL.search(match[2])
        if relation is not None and "next" in (relation[1] or relation[2] or "").lower().split():
            return _target(match[1].strip(), url)
    return None


def _target(link: str, url: str) -> str:
    try:
        absolute = urljoin(url, link)
        same = origin(absolute) == origin(url)
    except ValueError:
        absolute, same = "", False
    if not same:
        raise Pause(
            f"the REST API names a next page at {shortened(link.partition('?')[0])}, which is not the host of url; "
            "it is not followed: correct url"
        )
    parts = urlsplit(absolute)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if re.fullmatch(rf"/[!-~]{{0,{MAX_LINK}}}", target, re.ASCII) is None:
        raise Reject("the REST API names a next page that is too long, or not written in ASCII")
    return target


def origin(url: str) -> tuple[str, str, int]:
    """Give scheme, host and port.

    :raises ValueError: if it has none of these, or credentials.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError("not an absolute URL without credentials")
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def retry_after(value: str | None, now: datetime) -> float | None:
    """Read a ``Retry-After`` header as seconds; None if it is absent or makes no sense."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}", value.strip(), re.ASCII):
        return min(float(value), MAX_RETRY_AFTER)
    date = _date(value)
    return None if date is None else min(max((date - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _clocks(headers: Mapping[str, str], now: datetime) -> str:
    """Remark on clocks that differ: a signature holds the time."""
    date = _date(headers.get("date", ""))
    difference = 0.0 if date is None else (now - date).total_seconds()
    if abs(difference) < NOTABLE_DIFFERENCE:
        return ""
    return (
        f" (ours is {abs(difference):.0f} s {'ahead of' if difference > 0 else 'behind'} the "
        "server's)"
    )
