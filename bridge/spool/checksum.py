"""Checksums of bodies: a flipped bit must not be delivered as a reading.

SQLite has none of its own, and a body with a wrong digit is still good JSON.
"""

from __future__ import annotations

from zlib import crc32

# Stored where a body was lost: no checksum of anything that was ever stored.
LOST = -1


def checksum_of(body: bytes) -> int:
    """Return what is stored beside a body: its CRC-32."""
    return crc32(body)


def damage(body: object, checksum: int | None) -> str | None:
    """Say in what a body is not what was stored; None if it is, or if nobody knows:
    rows of version 1 have no checksum.
    """
    if checksum == LOST:
        return "its bytes are lost: a part of the file was damaged"
    if not isinstance(body, bytes):
        return "the file was damaged: its body is no longer bytes"
    if checksum is not None and crc32(body) != checksum:
        return "the file was damaged: its checksum is another"
    return None
