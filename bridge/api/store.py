"""Tools on the files of a spool: what an engine that keeps files hands over for
``bridged store``.

Each says what it found, and what it did or would do, in sentences; none of them needs a
running bridge, and those that write refuse beside one. All of them block: they run in a
thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

from attrs import field, frozen

from bridge.api.events import JSON
from bridge.api.spool import Spool

Beat = Callable[[], None]
"""Called between two steps of a long work; may raise to end it."""


@frozen
class StoreReport:
    """What a tool found, did, or would do."""

    lines: tuple[str, ...]
    """In sentences, for a person."""
    facts: Mapping[str, JSON] = field(factory=dict)
    """The same for programs."""
    problems: tuple[str, ...] = ()
    """What is wrong, in sentences; empty: nothing is."""
    to_do: bool = False
    """Whether a plan would change anything."""


class CheckStore(Protocol):
    """Look at everything in a state folder, without writing."""

    def __call__(self, directory: Path, *, beat: Beat) -> StoreReport:
        """:raises SpoolError: when there is no spool, or it cannot be read at all."""
        ...


class ChangeStore(Protocol):
    """Change the files of a state folder; without ``apply`` only say what would be
    done.
    """

    def __call__(
        self, directory: Path, *, apply: bool, now: Callable[[], datetime], beat: Beat
    ) -> StoreReport:
        """:raises SpoolError: when a bridge has the spool, or it cannot be done."""
        ...


class CopyStore(Protocol):
    """Copy a spool that no bridge has open into another folder."""

    def __call__(
        self, directory: Path, target: Path, *, now: Callable[[], datetime], beat: Beat
    ) -> StoreReport:
        """:raises SpoolError: when it cannot be read, or the target not be written."""
        ...


class CopyOpenStore(Protocol):
    """Copy an open spool, beside all that it does, into another folder."""

    def __call__(
        self, spool: Spool, target: Path, *, now: Callable[[], datetime]
    ) -> Awaitable[StoreReport]:
        """:raises SpoolError: as ``CopyStore``."""
        ...


class ExportStore(Protocol):
    """Write out all events, whatever is damaged, as lines of JSON."""

    def __call__(self, directory: Path, *, beat: Beat) -> Iterator[bytes]:
        """:raises SpoolError: when there is no spool, or it cannot be read at all."""
        ...


@frozen
class StoreTools:
    """The tools of one kind of spool."""

    check: CheckStore
    repair: ChangeStore
    """Makes sound files of what can be read; the damaged ones get another name."""
    compact: ChangeStore
    """Gives room inside the files back to the disk."""
    accept: ChangeStore
    """Goes on with the files that are there, although others were there before."""
    backup: CopyStore
    backup_open: CopyOpenStore
    export: ExportStore
