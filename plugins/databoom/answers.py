"""What an answer of Databoom means. Pure: status, headers and body in, a verdict out.

    2xx                  accepted
    401 403 3xx          pause: a person must act
    404 405              no such address, or no such device: the sink knows which
    413                  too large: smaller pushes may go
    408 425 429 5xx      retry, not before Retry-After
    any other            reject

The vendor documents one success body and no status; error bodies like ``{"message":
"..."}`` are known from other calls of its API. Whatever an answer says is shortened and
freed of control characters before it is repeated.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import orjson
from attrs import frozen

from bridge.api import Pause, Reject, Retry

SUCCESS = "ALL_INFO_PROCESSED"
MAX_EXCERPT = 200
MAX_RETRY_AFTER = 3600.0  # seconds; a mistake in a header must not stop deliveries for a day


@frozen
class Accepted:
    """The push was taken."""

    remark: str | None = None
    """What was unusual about the answer, or None."""


@frozen
class TooLarge:
    """The push was too large."""

    why: str
    status: int = 413


@frozen
class NotFound:
    """There is no such address, or no such device."""

    why: str
    status: int


Verdict = Accepted | TooLarge | NotFound | Retry | Reject | Pause


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    strict_body: bool = False,
    credential: str = "token",
    scopes: str = "the scope Publish",
) -> Verdict:
    """Say what an answer means.

    :param headers: by lower-case name.
    :param now: to make seconds of a ``Retry-After`` that is a date, where the answer
        has no ``Date``.
    :param credential: the setting that holds what was sent: ``token`` or ``apikey``.
    :param scopes: what it must have.
    """
    if 200 <= status < 300:
        remark = _remark(body)
        if remark and strict_body:
            return Retry(f"the answer {status}: {remark} is not the documented one")
        return Accepted(remark)
    said = f"{status}: {excerpt(body)}"
    if status in (401, 403):
        return Pause(f"Databoom refuses the {credential} ({said}); it must exist and have {scopes}")
    if 300 <= status < 400:
        place = excerpt(headers.get("location", "").encode())
        return Pause(
            f"the url redirects ({status}) to {place}, which is not followed; set url to the "
            "final address"
        )
    if status in (404, 405):
        return NotFound(said, status)
    if status == 413:
        return TooLarge(said)
    if status in (408, 425, 429) or status >= 500:
        return Retry(f"Databoom cannot take it now ({said})", after=retry_after(headers, now))
    return Reject(f"Databoom refuses it ({said})", status=status)


def _remark(body: bytes) -> str | None:
    if not body.strip():
        return None
    try:
        answer = orjson.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("message") == SUCCESS:
        return None
    return excerpt(body)


def excerpt(body: bytes) -> str:
    """Give the message of an answer, or the beginning of its text, in one line fit for
    a log.
    """
    try:
        answer = orjson.loads(body)
    except ValueError:
        answer = None
    message = answer.get("message") if isinstance(answer, dict) else None
    text = (
        message if isinstance(message, str) else body[: 8 * MAX_EXCERPT].decode("utf-8", "replace")
    )
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if len(line) > MAX_EXCERPT:
        return f"{line[:MAX_EXCERPT]}..."
    return line or "no text"


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Give the seconds of ``Retry-After``, whether it is a number or a date; None
    without a usable one.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER)
    until = _http_date(text)
    if until is None:
        return None
    seconds = (until - (_http_date(headers.get("date", "")) or now)).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def clock_skew(headers: Mapping[str, str], now: datetime) -> float | None:
    """Give the seconds by which our clock is ahead of the answer's ``Date``; None
    without one.
    """
    date = _http_date(headers.get("date", ""))
    return None if date is None else (now - date).total_seconds()


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def explain(error: httpx.TransportError) -> Retry | Pause:
    """Say what it means that there was no answer: the push may have been stored or not."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Pause(
                f"the certificate of the server cannot be trusted ({cause.verify_message}); "
                "check url, ca_file and the clock of this machine"
            )
        cause = cause.__cause__ or cause.__context__
    reason = excerpt(str(error).encode()) if str(error) else "no answer in time"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Retry(f"no connection to Databoom ({reason})")
    return Retry(f"the connection to Databoom broke before its answer ({reason})")
