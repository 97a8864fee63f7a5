"""What the emulator is made of: its rules, signals and pushed values."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from typing import Literal

from attrs import define, field, frozen

from bridge.api import JSON, Value


class RefusedError(Exception):
    """A request is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@define
class Rules:
    """How this Databoom behaves where the real one is not documented, or where a test
    wants it otherwise.
    """

    unknown_device: Literal["create", 404, 400] = "create"
    """What a push for a device that does not exist brings about; the real one does not
    create it.
    """
    validation_trap: bool = True
    """Whether values of a signal that is not validated are acknowledged and thrown
    away.
    """
    server_zone: tzinfo = timezone(timedelta(hours=1))
    """Zone in which dates without one are read."""
    duplicates: Literal["overwrite", "second row"] = "overwrite"
    """What a second value of a signal at one time does."""
    texts: bool = False
    """Whether values that are texts, not digits, are taken."""
    most_bytes: int = 100 << 10
    """Largest body; a larger one is answered 413."""
    most_signals: int | None = None
    """Most signals in a push in array form or template form."""
    too_many: Literal[400, 413] = 400
    """What more of them are answered."""
    unknown_template: Literal[404, 400] = 404
    """What a push for a template that does not exist is answered."""
    pages: Literal["number", "object", "missing"] = "number"
    """What a page of the list says of the others: how many there are, as the vendor
    documents, or an object with the numbers of the first, last and neighbouring ones,
    which public clients read.
    """
    keep_points: bool = True
    """Whether values are kept for reading back; off for long runs."""


@define
class Signal:
    """A time series of a device."""

    id: str
    """24 hexadecimal digits."""
    device: str
    """Device token."""
    token: str
    status: Literal["INIT", "ACTIVE"]
    meta: dict[str, JSON]
    """As given when it was created."""
    log_on: bool = True
    """*Enable log*: whether values are recorded at all."""
    points: list[tuple[datetime, Value]] = field(factory=list)
    """In the order of arrival."""
    places: dict[datetime, int] = field(factory=dict)
    """Where in ``points`` a time first occurs."""
    last_value: Value | None = None
    last_time: datetime | None = None


@frozen
class Sent:
    """One value of a push."""

    signal: str
    value: Value
    time: datetime
    meta: JSON = None


@frozen
class Pushed:
    """What a push has for one device."""

    device: str
    """Device token."""
    sent: tuple[Sent, ...]
    template: tuple[str, ...] = ()
    """Signals that its template creates validated."""
