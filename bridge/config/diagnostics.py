"""What is wrong with a configuration, in one line for each mistake.

    office.ini:31: [sink:databoom] tokn: unknown setting, did you mean 'token'?
    warning: office.ini:14: [sink:databoom] token: a secret in a file that others may
    read; ...

A diagnostic is a value, not an exception: all of them are found before any is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal

from attrs import frozen

from bridge.api import printable

MAX_EXCERPT = 80  # of a foreign text; a name or a value is recognised by less


@frozen
class Location:
    """Where something stands."""

    file: str
    """Relative to the folder of the main file: ``office.ini``,
    ``office.d/20-local.ini``.
    """
    line: int | None = None
    """Counted from 1; None means the file as a whole."""

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@frozen
class Diagnostic:
    """One mistake, or one warning."""

    location: Location
    section: str | None
    """Name without brackets; None where it does not concern a section."""
    key: str | None
    """As written in the file; None where it concerns the section."""
    text: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        within = "" if self.section is None else f"[{excerpt(self.section)}] "
        within += "" if self.key is None else f"{excerpt(self.key)}: "
        line = f"{self.location}: {within}{printable(self.text)}"
        return line if self.severity == "error" else f"warning: {line}"


def excerpt(text: str) -> str:
    """Return the beginning of a foreign text, printable."""
    text = printable(text)
    return text if len(text) <= MAX_EXCERPT else f"{text[:MAX_EXCERPT]}..."


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(name.lower(), by_lower, 1, 0.6)
    return by_lower[matches[0]] if matches else None


def listed(names: Iterable[str], last: str = "and") -> str:
    """Join names as a person does: ``a, b and c``."""
    *first, final = list(names) or ["nothing"]
    return f"{', '.join(first)} {last} {final}" if first else final
