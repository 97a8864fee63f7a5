"""What is remembered of our connector from one start to the next. No secret is: only
salted hashes of those that were set.

An answer may not show the signature secret (vendor documentation). Whether the one at
DT is still ours can then be told only by what was set last.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Self

from attrs import evolve, frozen

from bridge.api import JSON, KeyValue

from ..settings import Settings
from .documents import Wanted, fingerprint

STATE = "connector"
"""Key of the durable state."""

METRICS_SPAN = timedelta(hours=3)
"""DT's counts are of so long a time (vendor documentation): so much earlier may the
last success have been.
"""


@frozen
class ConnectorState:
    """What is remembered of one connector, in one project."""

    connector: str | None = None
    """Its id."""
    salt: str | None = None
    secret: str | None = None
    """Hash of the signature secret that was set."""
    headers: str | None = None
    """Hash of our custom header that was set."""
    worked: datetime | None = None
    """When it was last seen to be active and to have delivered within ``METRICS_SPAN``.
    """
    disabled: str | None = None
    """Status in which it was found, until it is active again."""

    def has_secret(self, wanted: Wanted) -> bool:
        """Return whether the wanted secret is the one that was set last."""
        return self.secret is not None and self.secret == _hash_of_secret(self.salt, wanted)

    def has_headers(self, wanted: Wanted) -> bool:
        """Return whether the wanted headers are those that were set last."""
        return self.headers is not None and self.headers == _hash_of_headers(self.salt, wanted)

    def of(self, connector: str, wanted: Wanted) -> Self:
        """Return the state after this was set, without what is of another connector."""
        salt = self.salt or secrets.token_hex(16)
        kept = self if self.connector == connector else type(self)()
        return evolve(
            kept,
            connector=connector,
            salt=salt,
            secret=_hash_of_secret(salt, wanted),
            headers=_hash_of_headers(salt, wanted),
        )

    @property
    def last_worked(self) -> datetime | None:
        """Its last delivery was at this time or later; None: unknown."""
        return None if self.worked is None else self.worked - METRICS_SPAN


def recall(state: KeyValue, settings: Settings) -> ConnectorState:
    """Return what is remembered; nothing if it is of another project or unreadable."""
    kept = state.get(STATE)
    if not isinstance(kept, dict) or kept.get("project") != settings.project:
        return ConnectorState()
    worked = _text(kept, "worked")
    try:
        return ConnectorState(
            connector=_text(kept, "connector"),
            salt=_text(kept, "salt"),
            secret=_text(kept, "secret"),
            headers=_text(kept, "headers"),
            worked=None if worked is None else datetime.fromisoformat(worked),
            disabled=_text(kept, "disabled"),
        )
    except ValueError:
        return ConnectorState()


async def remember(state: KeyValue, settings: Settings, known: ConnectorState) -> None:
    """Store it. :raises SpoolUnavailable: if it cannot be stored."""
    await state.put(
        STATE,
        {
            "project": settings.project,
            "connector": known.connector,
            "salt": known.salt,
            "secret": known.secret,
            "headers": known.headers,
            "worked": None if known.worked is None else known.worked.isoformat(),
            "disabled": known.disabled,
        },
    )


def _text(kept: Mapping[str, JSON], name: str) -> str | None:
    value = kept.get(name)
    return value if isinstance(value, str) else None


def _hash_of_secret(salt: str | None, wanted: Wanted) -> str | None:
    if salt is None or wanted.secret is None:
        return None
    return fingerprint(salt, wanted.secret.reveal())


def _hash_of_headers(salt: str | None, wanted: Wanted) -> str | None:
    if salt is None or not wanted.headers:
        return None
    return fingerprint(
        salt, *(text for name, value in wanted.headers.items() for text in (name, value.reveal()))
    )
