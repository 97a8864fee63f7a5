"""Sink: events as lines of JSON in a file, for another program to read.

    {"sequence":7,"source":"sensors","received":"2026-05-04T10:00:01+00:00","event":{"key":"a1",...}}

The whole plugin is this one file. Copy it into a folder named by ``[bridge] plugins``
to begin one of your own.

An event that can never come again the same has the key null. What is sent again, such
as a dead letter that is replayed, is one more line of the same sequence.

A batch is delivered when its lines are on disk. What a crash or a full disk left of a
line is cut off before the next line is written; the batch that it belonged to was not
delivered then, and comes again.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import trio
from attrs import frozen

from bridge.api import (
    Batch,
    Pause,
    Retry,
    SinkContext,
    SinkKind,
    Size,
    Stored,
    at_least,
    between,
    encode,
    hookimpl,
    setting,
)

BRIDGE_API = (1, 2)  # the version of bridge.api that this file was written for
HELP = "events as JSON lines"


@frozen
class Settings:
    """The settings of ``[sink:NAME]`` with ``plugin = jsonlines``."""

    path: Path = setting(
        help="file to write; older ones are PATH.1, PATH.2, ...",
        example="/var/lib/bridge/out.jsonl",
    )
    max_size: Size = setting(
        Size(10 << 20), help="size at which a new file is begun", validator=at_least(1)
    )
    keep: int = setting(5, help="how many older files are kept", validator=between(1, 1000))


@hookimpl
def bridge_sink_kinds() -> Sequence[SinkKind[Any]]:
    """Give the kind of sink that this file is about."""
    return [
        SinkKind("jsonlines", Settings, open_jsonlines, in_flight=1, help=HELP, preview=preview)
    ]


@asynccontextmanager
async def open_jsonlines(settings: Settings, context: SinkContext) -> AsyncIterator[JsonLines]:
    """Open the sink.

    The file is opened for each batch, so it may be moved away at any time.
    """
    yield JsonLines(settings, trio.CapacityLimiter(1))


@frozen
class JsonLines:
    """An open sink."""

    settings: Settings
    one_at_a_time: trio.CapacityLimiter

    async def deliver(self, batch: Batch) -> None:
        """Append one line for each event; they are on disk when this returns."""
        lines = b"".join(map(line, batch.events))
        try:
            await trio.to_thread.run_sync(append, self.settings, lines, limiter=self.one_at_a_time)
        except (PermissionError, FileNotFoundError) as exc:
            raise Pause(
                f"cannot write {self.settings.path}: {exc.strerror}; check its folder and owner"
            ) from exc
        except OSError as exc:
            raise Retry(f"cannot write {self.settings.path}: {exc.strerror}") from exc


def line(stored: Stored) -> bytes:
    """Write one event with what the bridge knows of it."""
    about = {"sequence": stored.sequence, "source": stored.source, "received": stored.received}
    return orjson.dumps(about | {"event": orjson.Fragment(encode(stored.event))}) + b"\n"


def preview(settings: Settings, stored: Stored) -> str:
    """Show what would be written of an event."""
    return line(stored).decode().rstrip()


def append(settings: Settings, lines: bytes) -> None:
    """Append whole lines, in a new file if this one would grow too large.

    Blocks until they are on disk.
    """
    size = cut_after_last_line(settings.path)
    if size > 0 and size + len(lines) > settings.max_size:
        set_aside(settings.path, settings.keep)
    with settings.path.open("ab") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(settings.path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name of a new file must last as well as its content
    finally:
        os.close(folder)


def cut_after_last_line(path: Path) -> int:
    """Take away what follows the last whole line, and give the size that is left.

    Makes the file if there is none.
    """
    with path.open("ab+") as file:
        end = file.tell()
        kept = 0
        while end > 0 and kept == 0:
            start = max(0, end - 65536)
            file.seek(start)
            kept = start + found if (found := file.read(end - start).rfind(b"\n") + 1) else 0
            end = start
        return file.truncate(kept)


def set_aside(path: Path, keep: int) -> None:
    """Rename PATH to PATH.1, PATH.1 to PATH.2 and so on; PATH.keep is overwritten."""
    files = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, keep + 1))]
    for newer, older in reversed(list(pairwise(files))):
        if newer.exists():
            newer.replace(older)
