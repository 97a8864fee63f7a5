"""JSON paths: which places of a document are meant. A subset of RFC 9535, and one
liberty.

    $.status                a member; the $. may be left out, which the RFC forbids
    $.alert.states[0]       the first element of an array
    $.alerts[*].status      each element of an array, but not each member of an object
    $['alarm status']       a member whose name has blanks, dots or brackets

Not of it: ``..``, filters, slices, unions, elements counted from the end, ``["name"]``
in double quotes. A place that is not there is no match and no error. Each match says
which elements the ``[*]`` stood for, so that matches of two paths that belong together
can be told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from attrs import frozen

from bridge.api import JSON

Step: TypeAlias = str | int | None
"""A member, an element, or None for each element."""

_STEP = re.compile(r"\.?\['([^']+)'\]|\[(\d{1,9}|\*)\]|\.([^.\[\]'\s]+)", re.ASCII)

EXPECTED = "a JSON path such as $.status or $.alerts[*].status"


@frozen
class JsonPath:
    """A path, compiled."""

    text: str
    steps: tuple[Step, ...]

    @property
    def lists(self) -> tuple[tuple[Step, ...], ...]:
        """The steps up to each ``[*]``: which lists the path runs through."""
        return tuple(self.steps[:number] for number, step in enumerate(self.steps) if step is None)


Matches: TypeAlias = Mapping[tuple[int, ...], JSON]
"""What a path found, by the elements that its ``[*]`` stood for, in the order of the
document.
"""


def compile_path(text: str) -> JsonPath:
    """Return a path, compiled. :raises ValueError: completing "expected ..."."""
    rest = text.removeprefix("$")
    if rest == text:
        rest = rest if rest.startswith("[") else f".{rest}"
    steps: list[Step] = []
    position = 0
    while position < len(rest):
        match = _STEP.match(rest, position)
        if match is None:
            raise ValueError(EXPECTED)
        quoted, element, member = match.groups()
        if element is None:
            steps.append(quoted or member)
        else:
            steps.append(None if element == "*" else int(element))
        position = match.end()
    if not steps:
        raise ValueError(EXPECTED)
    return JsonPath(text, tuple(steps))


def find(path: JsonPath, document: JSON) -> Matches:
    """Return all that a path means in a document."""
    found: dict[tuple[int, ...], JSON] = {(): document}
    for step in path.steps:
        if isinstance(step, str):
            found = {
                at: value[step]
                for at, value in found.items()
                if isinstance(value, dict) and step in value
            }
        elif step is None:
            found = {
                (*at, number): element
                for at, value in found.items()
                if isinstance(value, list)
                for number, element in enumerate(value)
            }
        else:
            found = {
                at: value[step]
                for at, value in found.items()
                if isinstance(value, list) and step < len(value)
            }
    return found
