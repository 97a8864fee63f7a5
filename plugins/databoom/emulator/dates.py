"""Dates as the emulator reads and writes them: whatever JavaScript's ``Date`` parses
(vendor documentation).

That the server runs V8 is assumed. A date without a zone is read in the server's zone,
which is how a client that sends local times gives itself away; a number of seconds
lands in January 1970, one that counts milliseconds is right.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from bridge.api import JSON

_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d)(:(?P<second>\d\d)(\.(?P<fraction>\d{1,9}))?)?"
_ZONE = r"(?P<zone>Z|GMT|UTC|[+-]\d\d:?\d\d)"
_CLOCK = rf"({_TIME} ?{_ZONE}?)"
_ISO = re.compile(rf"(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)([T ]{_CLOCK})?", re.ASCII)
_OTHERS = tuple(
    re.compile(rf"{date}( {_CLOCK})?", re.ASCII)
    for date in (
        r"(?P<month>\d\d?)/(?P<day>\d\d?)/(?P<year>\d{4})",
        r"([A-Z][a-z]{2}, )?(?P<day>\d\d?) (?P<name>[A-Z][a-z]{2})[a-z]* (?P<year>\d{4})",
        r"(?P<name>[A-Z][a-z]{2})[a-z]* (?P<day>\d\d?),? (?P<year>\d{4})",
    )
)
_RECOMMENDED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(\+0000|Z)", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_date(value: JSON, server_zone: tzinfo) -> datetime | None:
    """Read a date, UTC, cut to milliseconds; None if it is none."""
    try:
        if value is None:
            return _EPOCH
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _EPOCH + timedelta(milliseconds=int(value))
        if isinstance(value, str):
            return _parse_text(value, server_zone)
    except (ValueError, OverflowError):
        pass  # a thirteenth month, or a year that datetime cannot hold
    return None


def _parse_text(text: str, server_zone: tzinfo) -> datetime | None:
    if _RECOMMENDED.fullmatch(text):  # nearly every date there is, ten times faster
        return datetime.fromisoformat(text)
    for pattern in (_ISO, *_OTHERS):
        if match := pattern.fullmatch(text):
            break
    else:
        return None
    part = match.groupdict()
    month = _MONTHS.index(part["name"]) + 1 if part.get("name") else int(part["month"])
    milliseconds = int((part["fraction"] or "").ljust(3, "0")[:3])
    hour, minute, second = (int(part[name] or 0) for name in ("hour", "minute", "second"))
    date_only = pattern is _ISO and part["hour"] is None
    zone = UTC if date_only else _zone(part["zone"], server_zone)
    day = datetime(int(part["year"]), month, int(part["day"]), tzinfo=zone)
    local = day.replace(hour=hour, minute=minute, second=second, microsecond=milliseconds * 1000)
    return local.astimezone(UTC)


def _zone(text: str | None, server_zone: tzinfo) -> tzinfo:
    if text is None:
        return server_zone
    if text in ("Z", "GMT", "UTC"):
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-offset if text[0] == "-" else offset)


def javascript(time: datetime) -> str:
    """Write a time as JavaScript does."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
