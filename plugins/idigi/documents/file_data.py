"""Files: what a pushed ``FileData`` or ``FileDataCore`` says, and whether its content
arrived whole.

The content is base64 in ``fdData``, which may be missing, null or empty, as it is for
files above some 120 KB from older servers; ``FileDataCore`` never has it (vendor
documentation, the latter assumed). It stays in the event's data as it came. The labels
say what it is: ``file.name file.path file.type file.size file.sha256``, and in
``file.content`` what is wrong with it, if anything is.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from attrs import frozen

from bridge.api import JSON

from .entities import moment, text_of

KINDS = frozenset({"FileData", "FileDataCore"})
CONTENT = "fdData"


@frozen
class File:
    """A file of the vendor's store."""

    labels: Mapping[str, str]
    kept: bool
    """Whether the content may stay in the event."""


def file_of(kind: str, entity: Mapping[str, Any], limit: int) -> File:
    """Describe a file.

    :param limit: most bytes of content that stay in an event.
    """
    compound = entity.get("id")
    names = compound if isinstance(compound, Mapping) else {}
    size = entity.get("fdSize")
    announced = size if isinstance(size, int) and not isinstance(size, bool) else None
    encoded = text_of(entity.get(CONTENT))
    labels = {
        "file.name": text_of(names.get("fdName")),
        "file.path": text_of(names.get("fdPath")).strip(),  # one recorded path begins with a blank
        "file.type": text_of(entity.get("fdContentType")),
        "file.size": "" if announced is None else str(announced),
    }
    if not encoded:
        if kind == "FileData" and announced:
            labels["file.content"] = f"missing: fdSize says {announced} bytes"
        return File(labels, kept=True)
    try:
        content = decode_content(encoded)
    except ValueError as exc:
        kept = len(encoded) <= limit
        labels["file.content"] = (
            f"cannot be read as base64: {exc}"
            if kept
            else (
                f"left out: {len(encoded)} characters that are not base64, the limit is "
                f"{limit} (file_limit)"
            )
        )
        return File(labels, kept)
    labels["file.size"] = str(len(content))
    labels["file.sha256"] = sha256(content).hexdigest()
    if len(content) > limit:
        labels["file.content"] = (
            f"left out: {len(content)} bytes, the limit is {limit} (file_limit)"
        )
    elif announced not in (None, len(content)):
        labels["file.content"] = f"{len(content)} bytes arrived, fdSize says {announced}"
    return File(labels, kept=len(content) <= limit)


def decode_content(encoded: str) -> bytes:
    """Read the content of a file. Line breaks are no part of it; anything else that is
    not base64 is an error.

    :raises ValueError: saying what is wrong.
    """
    try:
        text = encoded.replace("\r", "").replace("\n", "").encode("ascii")
    except UnicodeEncodeError:
        raise ValueError("it has characters that are not ASCII") from None
    if len(text) % 4:  # the strict mode below lets one "=" too many pass
        raise ValueError("its length is not that of base64")
    return binascii.a2b_base64(text, strict_mode=True)


def changed(entity: Mapping[str, JSON]) -> datetime | None:
    """When a file was changed; None if it does not say so."""
    return moment(entity.get("fdLastModifiedDate"))
