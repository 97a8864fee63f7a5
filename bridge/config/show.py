"""What is in effect: every setting with its value and where that came from, for
``bridged show-config``.

    [sink:databoom]  # office.ini:9
    timeout = 10s  # office.d/20-local.ini:3, instead of office.ini:11
    batch = 100  # default
    token = ********  # office.ini:13, from credential databoom.token

Values are written as they would stand in the file; the remarks beside them are for
people, the INI file has none there.
"""

from __future__ import annotations

from typing import Any

from bridge.api import printable
from bridge.config.diagnostics import listed
from bridge.config.load import Loaded
from bridge.config.structure import Entry


def show_config(loaded: Loaded[Any]) -> str:
    """Describe what is in effect, as far as it could be read."""
    sections: dict[str, list[Entry]] = {}
    for entry in loaded.entries:
        sections.setdefault(entry.section, []).append(entry)
    blocks = []
    for section, entries in sections.items():
        header = f"[{section}]  # {loaded.headers.get(section, 'default')}"
        blocks.append("\n".join([header, *map(_line, entries)]))
    return "\n\n".join(blocks) + "\n"


def _line(entry: Entry) -> str:
    value = f"{entry.key} = {printable(entry.text)}".rstrip()
    origin = "default" if entry.location is None else str(entry.location)
    if entry.shadowed:
        origin += f", instead of {listed(map(str, reversed(entry.shadowed)))}"
    if entry.references:
        origin += f", from {listed(dict.fromkeys(map(str, entry.references)))}"
    return f"{value}  # {origin}"
