"""What is wrong with a configuration, in one line for each mistake.

    office.ini:31: [sink:databoom] tokn: unknown setting, did you mean 'token'? warning:
    office.ini:14: [sink:databoom] token: a secret in a file that others may read; ...

A problem is a value, not an exception: all of them are found before any is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal

from attrs import frozen

from bridge.api import printable

MAX_EXCERPT = 80  # of a foreign text; a name or a value is recognised by less


@frozen
class Place:
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
class Problem:
    """One mistake, or one warning."""

    file: str
    line: int | None
    section: str | None
    """Name without brackets; None where the problem is not in a section."""
    key: str | None
    """As written in the file; None where it concerns the section."""
    text: str
    severity: Literal["error", "warning"] = "error"

    @classmethod
    def at(cls, place: Place, section: str | None, key: str | None, text: str) -> Problem:
        """Describe a mistake."""
        return cls(place.file, place.line, section, key, text)

    @classmethod
    def warning(cls, place: Place, section: str | None, key: str | None, text: str) -> Problem:
        """Describe what works, but is probably not meant."""
        return cls(place.file, place.line, section, key, text, "warning")

    def __str__(self) -> str:
        within = "" if self.section is None else f"[{excerpt(self.section)}] "
        within += "" if self.key is None else f"{excerpt(self.key)}: "
        line = f"{Place(self.file, self.line)}: {within}{printable(self.text)}"
        return line if self.severity == "error" else f"warning: {line}"


def excerpt(text: str) -> str:
    """Give the beginning of a foreign text, printable."""
    text = printable(text)
    return text if len(text) <= MAX_EXCERPT else f"{text[:MAX_EXCERPT]}..."


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Give the known name that was probably meant, or None."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(name.lower(), by_lower, 1, 0.6)
    return by_lower[matches[0]] if matches else None


def listed(names: Iterable[str], last: str = "and") -> str:
    """Write names as a person does: ``a, b and c``."""
    *first, final = list(names) or ["nothing"]
    return f"{', '.join(first)} {last} {final}" if first else final
