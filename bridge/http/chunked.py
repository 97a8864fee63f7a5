"""A chunked body: from the bytes after the head to the body. Sans-IO.

    5;extension CR LF  hello CR LF  0 CR LF  trailer lines CR LF
    ^ size line        ^ data       ^ last   ^ up to an empty line

Stricter than the standard asks: no space after the size, at most eight digits.
Extensions and trailers are checked, bounded and thrown away. The body is refused as
soon as a size is announced that would make it too large.
"""

from __future__ import annotations

import re

from bridge.http.head import HEADER_LINES, BadRequestError, check_characters
from bridge.http.limits import MAX_EXTENSION, MAX_TRAILER

_EXTENSION = rb"(?:;[\t\x20-\x7e\x80-\xff]{0,%d}+)?" % (MAX_EXTENSION - 1)
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8}+)" + _EXTENSION + rb"\r\n")
_BEGUN_SIZE_LINE = re.compile(rb"(?:[0-9A-Fa-f]{1,8}+" + _EXTENSION + rb"\r?)?")
_TRAILER = re.compile(HEADER_LINES + rb"\r\n")


class ChunkedBody:
    """The body of one request, growing."""

    __slots__ = ("_left", "_limit", "_trailer", "body")

    def __init__(self, limit: int) -> None:
        self.body = bytearray()
        self._limit = limit
        self._left = 0
        """Bytes to come of the present chunk with its CR LF; 0 between chunks."""
        self._trailer = False

    def take(self, buffer: bytearray) -> bool:
        """Move what belongs to the body from the front of ``buffer``; True when it is
        complete.

        :raises BadRequestError: 400 for broken framing, 413 for a body above the limit.
        """
        # Bytes are removed once at the end: chunk by chunk would be quadratic.
        position = 0
        while not self._trailer:
            taken = (
                self._take_data(buffer, position)
                if self._left
                else self._take_size(buffer, position)
            )
            position += taken
            if not taken:
                break
        del buffer[:position]
        return self._trailer and self._take_trailer(buffer)

    def _take_size(self, buffer: bytearray, start: int) -> int:
        line = _SIZE_LINE.match(buffer, start)
        if line is None:
            if _BEGUN_SIZE_LINE.fullmatch(buffer, start) is None:
                raise BadRequestError(
                    400, "a chunk that does not begin with its size in hexadecimal digits and CR LF"
                )
            return 0
        size = int(line[1], 16)
        if len(self.body) + size > self._limit:
            raise BadRequestError(413, f"a chunked body larger than {self._limit} bytes")
        if size:
            self._left = size + 2
        else:
            self._trailer = True
        return line.end() - start

    def _take_data(self, buffer: bytearray, start: int) -> int:
        if self._left > 2:
            piece = buffer[start : start + self._left - 2]
            self.body += piece
            self._left -= len(piece)
            return len(piece)
        piece = buffer[start : start + 2]
        if not b"\r\n".startswith(piece):
            raise BadRequestError(400, "a chunk that is not followed by CR LF")
        if len(piece) < 2:
            return 0
        self._left = 0
        return 2

    def _take_trailer(self, buffer: bytearray) -> bool:
        if buffer.startswith(b"\r\n"):
            del buffer[:2]
            return True
        end = buffer.find(b"\r\n\r\n", 0, MAX_TRAILER)
        if end < 0:
            check_characters(buffer, 0, min(len(buffer), MAX_TRAILER))
            if len(buffer) >= MAX_TRAILER:
                raise BadRequestError(400, f"more than {MAX_TRAILER} bytes after the last chunk")
            return False
        if not _TRAILER.fullmatch(buffer, 0, end + 4):
            raise BadRequestError(400, "a trailer that is not made of header lines")
        del buffer[: end + 4]
        return True
