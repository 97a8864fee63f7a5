"""Keys: what two deliveries of one message have in common, whoever wrote their JSON.

A key is the hash of the contents, spelled here in a way that no writer of JSON can
change: two connectors, or webhook and history, may order members and write numbers
differently. Same contents, same key, for ever: what is spelled here is kept in spools.
"""

from __future__ import annotations

import hashlib

from bridge.api import JSON

EXACT = 1 << 53  # above it a float does not say which integer was meant


def digest(*fields: JSON) -> str:
    """Return the hash of some fields; the order of members does not matter in them."""
    pieces: list[str] = []
    _spell(list(fields), pieces)
    return hashlib.sha256("".join(pieces).encode()).hexdigest()


def _spell(value: JSON, pieces: list[str]) -> None:
    """Append the spelling of a value. No two values look the same in it: lengths go
    before texts, lists and objects.
    """
    kind = type(value)  # of JSON, so exactly one of these; asked for each of a million
    if kind is str:
        pieces.append(f"s{len(value)}:{value}")
    elif kind is int:
        pieces.append(f"i{value};")
    elif kind is float:
        whole = value.is_integer() and abs(value) < EXACT  # 21.0 and 21 are one value
        pieces.append(f"i{int(value)};" if whole else f"x{value.hex()};")
    elif kind is list:
        pieces.append(f"l{len(value)}:")
        for item in value:
            _spell(item, pieces)
    elif kind is dict:
        pieces.append(f"d{len(value)}:")
        for name in sorted(value):
            _spell(name, pieces)
            _spell(value[name], pieces)
    else:
        pieces.append({True: "t", False: "f", None: "n"}[value])
