"""Whether the files that are open are still those in the folder.

Whoever removes, moves or exchanges them while the bridge runs leaves it writing into
files that nobody will find again. SQLite does not notice.
"""

from __future__ import annotations

from pathlib import Path

from attrs import define

from bridge.spool.files import Files, set_aside

Place = tuple[int, int]
"""Device and inode."""


def place_of(path: Path) -> Place | None:
    """Return where a path leads, None if nowhere."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@define(eq=False)
class Presence:
    """Where the open files are."""

    files: Files
    _database: Place | None = None
    _log: Place | None = None

    def remember(self) -> None:
        """The files were just opened."""
        self._database = place_of(self.files.database)
        self._log = None

    def trouble(self) -> str | None:
        """Say what became of the database; None if it is where it was."""
        found = place_of(self.files.database)
        if found == self._database:
            return None
        what = "is gone" if found is None else "was exchanged"
        return (
            f"{self.files.database} {what} while the bridge runs; nothing is acknowledged until "
            "the file is back in its place. The bridge still has it open: bridged store backup "
            "saves what is in it"
        )

    def log_lost(self) -> bool:
        """Whether the log is no longer the one that was there."""
        found = place_of(self.files.log)
        if self._log is None:
            self._log = found
        return found != self._log

    def part_from_log(self) -> None:
        """Before the last connection closes: the log of a database that is no longer in
        its place must not lie beside the one that came for it. Closing does not remove
        it: SQLite leaves alone what was moved.
        """
        if self.trouble() is not None and self._log is not None and not self.log_lost():
            set_aside(self.files.log)
