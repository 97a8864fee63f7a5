"""A backup that a command asks the running bridge for: it goes on by itself, and the
command looks how far it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from attrs import define

from bridge.api import JSON, CommandError, CommandHandler
from bridge.api.spool import SpoolError
from bridge.api.store import StoreReport

Copy = Callable[[Path], Awaitable[StoreReport]]


@define(eq=False)
class BackupRequests:
    """Answers about backups of one spool."""

    copy: Copy | None
    """Copies the open spool into a folder; None: this kind of spool cannot."""
    nursery: trio.Nursery
    """In which a backup goes on."""
    _running: bool = False
    _report: StoreReport | None = None
    _error: str = ""

    @property
    def handlers(self) -> dict[str, CommandHandler]:
        return {"backup": self.begin, "backup-progress": self.progress}

    async def begin(self, arguments: JSON) -> JSON:
        """Begin to copy the spool into a folder."""
        if self.copy is None:
            raise CommandError("this kind of spool cannot be copied while the bridge runs")
        if self._running:
            raise CommandError("another backup is under way; wait for its end")
        self._running, self._report, self._error = True, None, ""
        self.nursery.start_soon(self._make, self.copy, Path(arguments["target"]))

    async def progress(self, _arguments: JSON) -> JSON:
        """Whether the last backup has ended, and with what."""
        if self._running:
            return None
        if self._report is None:
            raise CommandError(self._error or "no backup was asked for since the start")
        return {"lines": list(self._report.lines), "facts": dict(self._report.facts)}

    async def _make(self, copy: Copy, target: Path) -> None:
        try:
            self._report = await copy(target)
        except SpoolError as exc:
            self._error = str(exc)
        except Exception as exc:
            self._error = f"the backup failed: {type(exc).__name__}: {exc}"
        finally:
            self._running = False
