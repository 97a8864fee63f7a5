"""Foreign text, made fit for a log, a page or a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a text in which control characters, line ends among them, are written as
    escapes.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def shortened(text: str, most: int) -> str:
    """Return the beginning of a text in one line, printable, with ``...`` where it was
    cut.

    :param most: characters of the text that are kept.
    """
    text = printable(" ".join(text.split()))
    return text if len(text) <= most else f"{text[:most]}..."
