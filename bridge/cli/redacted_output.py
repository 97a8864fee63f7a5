"""What commands print, without what must not be shown."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO


class RedactingStream(io.TextIOBase):
    """Passes lines on to another stream, each without what must not be shown."""

    def __init__(self, stream: TextIO, redact: Callable[[str], str]) -> None:
        self._stream = stream
        self._redact = redact
        self._begun = ""

    def write(self, text: str) -> int:
        """Pass on what is complete: a traceback, for one, is written word by word."""
        lines, newline, self._begun = (self._begun + text).rpartition("\n")
        if newline:
            self._stream.write("".join(self._redact(line) + "\n" for line in lines.split("\n")))
        return len(text)

    def flush(self) -> None:
        """Pass on the line that was begun, too."""
        if not self._stream.closed:
            self._stream.write(self._redact(self._begun))
            self._stream.flush()
        self._begun = ""

    def fileno(self) -> int:
        """Return the number of the stream below; what is written there is not looked
        at.
        """
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True


@contextmanager
def redacted_output(redact: Callable[[str], str]) -> Iterator[None]:
    """Redact what is printed while the block is entered."""
    with (
        redirect_stdout(RedactingStream(sys.stdout, redact)) as out,
        redirect_stderr(RedactingStream(sys.stderr, redact)) as err,
    ):
        try:
            yield
        finally:
            out.flush()
            err.flush()
