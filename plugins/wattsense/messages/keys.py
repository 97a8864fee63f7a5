"""Keys: what two deliveries of one message have in common, whoever wrote their JSON.

A key is the hash of the contents, spelled here in a way that no writer of JSON can
change: two connectors, or webhook and history, may order members and write numbers
differently. Same contents, same key, for ever: what is spelled here is kept in spools.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import orjson

from bridge.api import JSON

EXACT = 1 << 53  # above it a float does not say which integer was meant


def digest(*fields: JSON) -> str:
    """Return the hash of some fields; the order of members does not matter in them."""
    return hashlib.sha256("".join(_spelled(list(fields))).encode()).hexdigest()


def former_digest(document: JSON) -> str:
    """Return the hash of which version 1.0 made keys: of JSON, as orjson writes it.

    It goes once those keys are forgotten everywhere, a ``dedup_window`` after 1.0.
    """
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _spelled(value: JSON) -> Iterator[str]:
    """Yield the pieces of a spelling in which no two values look the same: lengths go
    before texts, lists and objects.
    """
    if isinstance(value, str):
        yield f"s{len(value)}:{value}"
    elif isinstance(value, bool) or value is None:
        yield {True: "t", False: "f", None: "n"}[value]
    elif isinstance(value, float) and not (value.is_integer() and abs(value) < EXACT):
        yield f"x{value.hex()};"
    elif isinstance(value, int | float):
        yield f"i{int(value)};"  # 21.0 and 21 are one value
    elif isinstance(value, list):
        yield f"l{len(value)}:"
        for item in value:
            yield from _spelled(item)
    else:
        yield f"d{len(value)}:"
        for name in sorted(value):
            yield from _spelled(name)
            yield from _spelled(value[name])
