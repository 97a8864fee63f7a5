"""What an answer of DT's REST API means: a verdict for each status, in words that hold
no secret.

=================================== ======= ==================================================
status                              verdict what follows
=================================== ======= ==================================================
400, 404, 409, other 4xx            Reject  the caller decides; never tried again as it is
401 (renewed once already), 403     Pause   a person corrects credentials or role
3xx                                 Pause   never followed; a person corrects the URL
408, 429, 5xx, a success but 200    Retry   after ``Retry-After`` if DT names it
=================================== ======= ==================================================

The meaning of the statuses is known from vendor documentation, that of 408 and of other
4xx is assumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from attrs import field, frozen

from bridge.api import Pause, Reject, Retry, parse_json

MAX_RETRY_AFTER = (
    3600.0  # a longer one is a mistake of the server; asking once an hour harms nobody
)

HIDDEN = "********"

_TOKEN = re.compile(
    r"eyJ[\w-]+\.[\w-]+(\.[\w-]*)?"
)  # a JWT: three parts of base64, the first begins with {"
MAX_TEXT = 200  # characters; more of DT's text helps nobody in a log line


@frozen
class Reply:
    """An answer, complete."""

    status: int
    headers: Mapping[str, str]
    """Names are found in any case."""
    body: bytes = field(repr=False)
    """May hold secrets: tokens and connectors come in it."""


def refusal(
    request: str, reply: Reply, *, wait: float | None, secrets: Iterable[str]
) -> Retry | Pause | Reject:
    """Tell what an answer that is not 200 means.

    :param request: method and path, for the text.
    :param wait: seconds that DT asked for, or None.
    :param secrets: texts to take out of what DT says.
    """
    status = reply.status
    said = error_text(reply.body)
    what = f"{request} was answered {status}" + (f": {redact(said, secrets)}" if said else "")
    if status == 401:
        return Pause(
            f"{what}; check service_account_key and service_account_secret; basic works only for a service account "
            "that has it enabled"
        )
    if status == 403:
        return Pause(
            f"{what}; the role of the service account is too low: reading takes Project User, "
            "changing a connector Project Developer"
        )
    if 300 <= status < 400:
        return Pause(f"{what}: a redirect, which is not followed; check url")
    if status in (408, 429) or status >= 500:
        return Retry(what, after=wait)
    if status < 300:
        return Retry(f"{what}, expected 200")
    return Reject(what, status=status)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Read a ``Retry-After`` header, seconds or an HTTP date, as seconds; None if it is
    absent or makes no sense.
    """
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}", value.strip(), re.ASCII):
        return min(float(value), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
        wait = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait, 0.0), MAX_RETRY_AFTER)


def error_text(body: bytes) -> str | None:
    """Find DT's own words in an answer: ``error``, and RFC 6749's
    ``error_description``; members may be missing.
    """
    try:
        answer = parse_json(body)
    except ValueError:
        return None
    if not isinstance(answer, dict):
        return None
    words = [answer.get(name) for name in ("error", "error_description")]
    return "; ".join(word for word in words if isinstance(word, str) and word) or None


def redact(text: str, secrets: Iterable[str], longest: int = MAX_TEXT) -> str:
    """Make foreign text fit for a log: no secret, no token, one line, no control
    characters, not long.
    """
    for secret in sorted(secrets, key=len, reverse=True):  # one secret may hold another
        if secret:
            text = text.replace(secret, HIDDEN)
    text = _TOKEN.sub(HIDDEN, text)
    line = "".join(char if char.isprintable() else " " for char in text).strip()
    return line if len(line) <= longest else line[: longest - 1] + "…"
