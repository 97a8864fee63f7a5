"""Foreign text, made fit for a log, a page or a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "********"
"""What stands in place of a secret."""

MAX_QUOTED = 200  # characters; more of a foreign text helps nobody in a log line

_JWT = re.compile(
    r"eyJ[\w-]+\.[\w-]+(\.[\w-]*)?"
)  # three parts of base64, the first begins with {"


def printable(text: str) -> str:
    """Return a text in which control characters, line ends among them, are escapes."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def shortened(text: str, most: int = MAX_QUOTED) -> str:
    """Return the beginning of a text as one line without control characters.

    :param most: characters that are kept; ``...`` follows where it was cut.
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= most else f"{line[:most]}..."


def redacted(text: str, secrets: Iterable[str], most: int = MAX_QUOTED) -> str:
    """Return what may be quoted of a text: shortened, without secrets and tokens (JWT).

    :param secrets: texts to hide; they are hidden before the text is cut.
    """
    for secret in sorted(secrets, key=len, reverse=True):  # one secret may hold another
        if secret:
            text = text.replace(secret, HIDDEN)
    return shortened(_JWT.sub(HIDDEN, text), most)
