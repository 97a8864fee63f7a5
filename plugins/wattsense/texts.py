"""Small things about texts that several modules of this plugin need."""

from __future__ import annotations

import orjson

from bridge.api import JSON

UNKNOWN_DEVICE = "unknown"
"""Stands for the device where a body names none."""

MAX_SHOWN = 120  # characters of foreign text in one sentence


def canonical(document: JSON) -> bytes:
    """Write a document so that the same contents are the same bytes, whatever the order
    of its members.
    """
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def shortened(text: str) -> str:
    """Make foreign text fit for a log: one line, no control characters, not long."""
    line = "".join(char if char.isprintable() else " " for char in text).strip()
    return line if len(line) <= MAX_SHOWN else line[: MAX_SHOWN - 1] + "…"
