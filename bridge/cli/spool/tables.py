"""How facts are printed: as rows for people, as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import orjson

from bridge.api import JSON, printable, shortened
from bridge.flow.recovery.gaps import span

MAX_CELL = 100  # characters of a foreign text in a row


def print_json(value: JSON) -> None:
    """Print one JSON text, indented."""
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows below their heads; the last column may be as long as it likes."""
    cells = [[*head], *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head) - 1)]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*padded, row[-1]]).rstrip())


def _cell(value: object) -> str:
    return "-" if value is None else shortened(printable(str(value)), MAX_CELL)


def clock(moment: str | None) -> str:
    """Write a time of an answer for people; UTC."""
    return "-" if moment is None else f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S}"


def due(seconds: float) -> str:
    """Write when something is tried again."""
    return "now" if seconds < 1 else f"in {span(seconds)}"


def counted(number: int, thing: str) -> str:
    """Write ``1 event``, ``1,234 events``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
