"""What an answer to a push means. Pure: an answer in, a verdict out.

    2xx                  accepted
    401 403 407 3xx      pause: a person must act
    404 405              no such address, or no such device: the sink knows which
    413                  too large: smaller pushes may go
    408 425 429 5xx      retry, not before Retry-After
    any other            reject

The vendor documents one success body and no status; error bodies like ``{"message":
"..."}`` are known from other calls of its API.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from attrs import frozen

from bridge.api import JSON, Pause, Reject, Retry
from bridge.api.rest import RestResponse, read_retry_after, verdict_of

SUCCESS = "ALL_INFO_PROCESSED"

Quoted: TypeAlias = Callable[[str], str]
"""Makes what may be repeated of a vendor's text."""


@frozen
class PushAccepted:
    """The push was taken."""

    remark: str | None = None
    """What was unusual about the answer, or None."""


@frozen
class PushTooLarge:
    """The push was too large."""

    why: str
    status: int = 413


@frozen
class DeviceNotFound:
    """There is no such address, or no such device."""

    why: str
    status: int


PushVerdict: TypeAlias = PushAccepted | PushTooLarge | DeviceNotFound | Retry | Reject | Pause


def classify(
    response: RestResponse,
    quoted: Quoted,
    *,
    now: datetime,
    strict_body: bool = False,
    credential: str = "token",
    scopes: str = "the scope Publish",
) -> PushVerdict:
    """Return what an answer means.

    :param now: counts the seconds of a ``Retry-After`` that is a date, where the answer
        has no ``Date``.
    :param credential: the setting that holds what was sent: ``token`` or ``apikey``.
    :param scopes: what it must have.
    """
    status = response.status
    said = f"{status}: {message_of(response, quoted)}"
    if status in (404, 405):
        return DeviceNotFound(said, status)
    if status == 413:
        return PushTooLarge(said)
    verdict = verdict_of(status)
    if verdict is None:
        remark = _remark(response, quoted)
        if remark and strict_body:
            return Retry(f"the answer {status}: {remark} is not the documented one")
        return PushAccepted(remark)
    if verdict is Retry:
        after = read_retry_after(response.headers, now)
        return Retry(f"Databoom cannot take it now ({said})", after=after)
    if verdict is Reject:
        return Reject(f"Databoom refuses it ({said})", status=status)
    if status < 400:
        place = quoted(response.headers.get("location", "")) or "no text"
        return Pause(
            f"the url redirects ({status}) to {place}, which is not followed; set url to the "
            "final address"
        )
    if status == 407:
        return Pause(f"the proxy refuses to pass it on ({said}); see proxy")
    return Pause(f"Databoom refuses the {credential} ({said}); it must exist and have {scopes}")


def message_of(response: RestResponse, quoted: Quoted) -> str:
    """Return the message of an answer, or the beginning of its text, fit for a log."""
    document = _document(response)
    message = document.get("message") if isinstance(document, dict) else None
    text = message if isinstance(message, str) else response.body.decode("utf-8", "replace")
    return quoted(text) or "no text"


def _remark(response: RestResponse, quoted: Quoted) -> str | None:
    if not response.body.strip():
        return None
    document = _document(response)
    if isinstance(document, dict) and document.get("message") == SUCCESS:
        return None
    return message_of(response, quoted)


def _document(response: RestResponse) -> JSON:
    try:
        return response.json()
    except ValueError:
        return None
