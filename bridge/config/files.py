"""Reading a file that a person named: never a pipe, never more than a bound, always
with a reason in plain words.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


class Unreadable(Exception):
    """A file that cannot be read. The text completes "cannot be read: ..."."""


def read_file(path: Path, largest: int) -> tuple[bytes, os.stat_result]:
    """Read a file.

    :param largest: bytes it may have.
    :raises Unreadable: if it cannot be opened, is no ordinary file, or is larger.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(
                "it is not an ordinary file"
            )  # opening a pipe would wait for its other end
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as exc:
        raise Unreadable(exc.strerror or type(exc).__name__) from exc
    except ValueError as exc:
        raise Unreadable("its name has a NUL character") from exc
    if len(content) > largest:
        raise Unreadable(f"it is larger than {largest >> 20} MiB")
    return content, status
