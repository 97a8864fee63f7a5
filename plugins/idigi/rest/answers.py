"""What an answer of the REST API says: verdicts, errors, lists of monitors.

Created and refused are answered as XML that declares ISO-8859-1; lists as JSON if asked
for, else as XML; errors as ``<result><error>`` or as ``{"error": [...]}``, even with
status 200; gateways in front of the service answer with HTML (vendor documentation,
recorded traffic).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

from bridge.api import JSON, Pause, Retry, parse_json
from bridge.api.rest import RestResponse, verdict_of

from ..documents.safe_xml import parse_xml

_NO_SUCH_MONITOR = "Error reading Monitor entity"


class CallRefused(Pause):
    """The server refuses this call, and login, topics and limits are not the reason."""

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.status = status


class MonitorLimit(Pause):
    """The account has no room for another monitor."""


@frozen
class Listing:
    """One page of a list of monitors."""

    monitors: tuple[dict[str, str], ...] = ()
    """Each a mapping of element names, such as ``monTopic``, to texts."""
    rows: int = 0
    """Items of the page, readable or not: the next page begins so much later."""
    remaining: int = 0
    """Items after this page."""


def refusal(
    call: str,
    answer: RestResponse,
    *,
    wait: float | None,
    credentials: str,
    quoted: Callable[[str], str],
) -> Retry | Pause:
    """Return what an answer that is not accepted means: the service's own refusals,
    then the usual table. The texts that are looked for are from recorded traffic.

    :param call: what was refused, such as ``POST /ws/Monitor``.
    :param wait: seconds that the server asks for, or None.
    :param credentials: names of the settings that the login comes from.
    :param quoted: makes the server's words fit for our log.
    """
    status = answer.status
    if status in (401, 403):
        rights = ", or give the user the right to use monitors" if status == 403 else ""
        return Pause(f"the server refuses the login ({status}); correct {credentials}{rights}")
    if status == 429:
        return Retry("the account makes too many REST calls (429)", after=wait)
    if verdict_of(status) is Retry:
        # Often a gateway's HTML: nothing in it is for the reader of our log.
        return Retry(f"the REST API is not available ({status})", after=wait)
    text = error_text(answer.body)
    said = f": {quoted(text)}" if text else ""
    if text and "Invalid monTopic" in text:
        return Pause(f"the server refuses the topics ({status}{said}); correct topics")
    if text and "monitors" in text.lower() and "limit" in text.lower():
        todo = "delete one that is unused, see: bridged idigi monitors list"
        return MonitorLimit(f"the account has no room for another monitor ({status}{said}); {todo}")
    return CallRefused(
        f"the server refuses {call} ({status}{said}); check url and the rights of the user", status
    )


def names_no_monitor(body: bytes) -> bool:
    """Whether an answer says that there is no monitor of the id that was asked for.

    The text is from recorded traffic; the status that comes with it is not known.
    """
    return _NO_SUCH_MONITOR in (error_text(body) or "")


def error_text(body: bytes) -> str | None:
    """Return the error in an answer, ``<result><error>`` or ``{"error": [...]}``; None
    if it holds none.
    """
    if body.lstrip()[:1] != b"{":
        return xml_text(body, "error")
    try:
        answer = parse_json(body)
    except ValueError:
        return None
    error = answer.get("error")
    if isinstance(error, list):
        return "; ".join(str(part) for part in error)
    return None if error is None else str(error)


def xml_text(body: bytes, name: str) -> str | None:
    """Return the text of an element below the root; None if there is none, or the body
    is not XML.
    """
    try:
        return parse_xml(body).findtext(name)
    except ValueError:
        return None


def read_listing(body: bytes) -> Listing:
    """Read a list of monitors, as JSON or as XML (the form of the latter is assumed).

    :raises Retry: if it is neither. It is never taken for an empty list: a second
        monitor would be created.
    """
    if body.lstrip()[:1] == b"<":
        return _xml_listing(body)
    try:
        page = parse_json(body)
    except ValueError as exc:
        raise Retry(f"the server's list of monitors is not JSON: {exc}") from exc
    if not isinstance(page, dict) or not ("items" in page or "resultSize" in page):
        raise Retry("the server's list of monitors has no items")
    items = page.get("items")
    rows = items if isinstance(items, list) else []
    monitors = [
        {name: _plain(value) for name, value in row.items()}
        for row in rows
        if isinstance(row, dict)
    ]
    return Listing(tuple(monitors), len(rows), _count(page.get("remainingSize")))


def _xml_listing(body: bytes) -> Listing:
    try:
        root = parse_xml(body)
    except ValueError as exc:
        raise Retry(f"the server's list of monitors is not JSON, and {exc}") from exc
    rows = root.findall("Monitor")
    if root.tag != "result" or not (rows or root.findtext("resultSize")):
        raise Retry("the server's list of monitors is not JSON, and not the XML of the service")
    monitors = [{element.tag: element.text or "" for element in row} for row in rows]
    return Listing(tuple(monitors), len(rows), _count(root.findtext("remainingSize")))


def _count(value: JSON) -> int:
    text = _plain(value).strip()
    return int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else 0


def _plain(value: JSON) -> str:
    """Return a value as the old API writes it: every one is a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
