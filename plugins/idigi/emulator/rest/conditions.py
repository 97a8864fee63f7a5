"""Conditions on monitors, as REST calls carry them.

    monTopic='DeviceCore,DataPoint' and monDescription like 'our-%'

``and`` binds closer than ``or`` (assumed). There is no way to write a quote inside a
value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, str]
Condition: TypeAlias = Callable[[Row], bool]

_TERM = re.compile(r"\s*(\w+)\s*(=|<|>|\blike\b)\s*'([^']*)'")
_JOIN = re.compile(r"\s+(and|or)\s+")


def parse_condition(text: str) -> Condition:
    """Read a condition; an empty one holds always.

    :raises ValueError: where it cannot be read.
    """
    if not text.strip():
        return lambda _row: True
    choices: list[list[Condition]] = [[]]
    position = 0
    while True:
        term = _TERM.match(text, position)
        if term is None:
            raise ValueError(
                f"the condition cannot be read from {text[position : position + 40]!r} on"
            )
        choices[-1].append(_condition(term[1], term[2], term[3]))
        position = term.end()
        if not text[position:].strip():
            return lambda row: any(all(holds(row) for holds in choice) for choice in choices)
        join = _JOIN.match(text, position)
        if join is None:
            raise ValueError(
                f"the condition cannot be read from {text[position : position + 40]!r} on"
            )
        if join[1] == "or":
            choices.append([])
        position = join.end()


def _condition(name: str, operator: str, value: str) -> Condition:
    pattern = re.compile(re.escape(value).replace("%", ".*"), re.DOTALL)

    def holds(row: Row) -> bool:
        found = row.get(name)
        if found is None:
            return False
        if operator == "like":
            return pattern.fullmatch(found) is not None
        if operator == "=":
            return found == value
        left, right = _ordered(found, value)
        return bool(left < right if operator == "<" else left > right)

    return holds


def _ordered(left: str, right: str) -> tuple[Any, Any]:
    """Compare numbers as numbers, everything else as text."""
    try:
        return float(left), float(right)
    except ValueError:
        return left, right
