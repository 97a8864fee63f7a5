"""What nobody knows about the service, and what it may be configured to do.

Every field is a question that the vendor documentation leaves open, or a variant that
was seen; the defaults are what is assumed. Tests set them at any time: a session reads
them when it begins, everything else when it happens.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from attrs import define, field, frozen


@frozen
class Rate:
    """A limit of REST calls: in a moving window (vendor documentation: of 10 s), and at
    the same time.
    """

    calls: int
    seconds: float = 10.0
    at_once: int | None = None
    """Calls that may run at the same time; None for any number."""
    retry_after: str | None = None
    """Value of ``Retry-After`` in the 429; None leaves the header out."""


@define
class Options:
    """Choices. At their defaults the emulator does what is assumed of the service."""

    unacked: Literal["keep", "resend", "close"] = "keep"
    """What follows when an ack does not come within ``unacked_after``: nothing until
    the next session, the same frame again on this connection, or the end of the
    session.
    """
    unacked_after: float = 60.0
    window: int | None = None
    """Blocks without ack that may be under way with explicit acks; None for any number.
    """
    second_session: Literal["replace", "refuse", "both"] = "replace"
    """A login for a monitor with a session: ends the old one, is answered 400, or both
    get every event.
    """
    block_ids: Literal["restart", "go-on"] = "restart"
    """Whether each connection counts from ``first_block_id``."""
    first_block_id: int = 0
    skip_last_id: bool = True
    """Leave 0xFFFF out, on which an old client breaks."""
    idle_close: float | None = None
    """Seconds without a frame in either direction after which the session is closed."""
    keep_alive: float | None = None
    """Seconds between documents without events, with Count 0."""
    before_first_connect: Literal["lost", "recorded"] = "lost"
    """Events between the creation of a monitor that replays and its first session."""
    group: bool = True
    """Whether events have a ``group``."""
    single_root: bool = False
    """A block of one event has the root ``Msg`` instead of ``Document``."""
    escaped_slashes: bool = False
    r"""JSON writes ``\/`` for ``/``."""
    xml_encoding: str = ""
    """Declared in XML documents, and used; empty for UTF-8 without a declaration."""
    template: str = "list"
    """What a templated monitor prints: ``list`` (the entities and a closing dummy),
    ``broken`` (the same with a trailing comma and no dummy), or else this text itself.
    """
    push_key: str = ""
    """A login with this user name and an empty password is accepted too, as the newest
    vendor client tries it.
    """
    large_files: Literal["withheld", "without-content"] = "withheld"
    """Files above ``file_limit``: not published, or without ``fdData`` as by older
    servers.
    """
    file_limit: int = 120_000
    page_limit: int = 1000
    """Most items in one answer of REST."""
    rate: Rate | None = None
    history_items: Literal["event", "wrapped"] = "event"
    """Form of an item of a monitor's history: the event, or an object around it."""
    last_cursor: Literal["absent", "repeats", "empty-page"] = "absent"
    """How the last page of a history ends: without a cursor, with the one that was
    asked for, or with one more cursor that leads to an empty page.
    """


@define
class Throttle:
    """Counts REST calls against the :class:`Rate`."""

    running: int = 0
    _begun: deque[float] = field(factory=deque)

    def admits(self, rate: Rate, now: float) -> bool:
        """Count a call that begins now, unless it is one too many."""
        while self._begun and self._begun[0] <= now - rate.seconds:
            self._begun.popleft()
        if len(self._begun) >= rate.calls or (
            rate.at_once is not None and self.running > rate.at_once
        ):
            return False
        self._begun.append(now)
        return True
