"""What a sink remembers across restarts: signals that were introduced, what tokens
stand for, what was seen.

    add ─▶ entries, in memory ─▶ the newest page, every few seconds ─▶ state

A ledger only grows, so only its newest page is ever written: some hundred entries,
whatever the ledger holds. Pages take turns in a fixed number of places; a new one takes
the place of the oldest. Each page says for which *edition* of the settings it was
written: what was remembered under others is not believed.

A kill loses the entries of the last seconds. Then a signal is described once more,
which is harmless, and the first of two texts that want one token has to be found anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final, TypeAlias

import trio

from bridge.api import JSON, BoundedDict, KeyValue, RepeatedEvent, SpoolUnavailable

PAGE: Final = 500  # entries; a page is written whole each time that one is added
PAUSE = 3.0  # seconds between two writes, so that a flood of new signals shares them
LAST_WRITE = 2.0  # seconds; what a sink that is being closed may take to write once more

LedgerKey: TypeAlias = tuple[str, ...]


def edition(*parts: JSON) -> str:
    """Return a short text that changes when one of these parts does, and does not tell
    what they are.
    """
    return sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Ledger:
    """An ordered map that forgets its oldest entries, and nothing else."""

    def __init__(self, state: KeyValue, name: str, *, edition: str, pages: int) -> None:
        self.size = pages * PAGE
        """Most entries that it holds."""
        self._state = state
        self._name = name
        self._edition = edition
        self._pages = pages
        self._entries: BoundedDict[LedgerKey, JSON] = BoundedDict(self.size)
        # Planning in a thread may append to it while ``save`` takes from its front.
        self._unsaved: list[list[JSON]] = []
        self._page: list[list[JSON]] = []  # the newest page, as it is stored
        self._number = 0
        self._written = True  # whether the newest page is stored as it is
        self._load()

    def _load(self) -> None:
        stored = [self._state.get(self._place(number)) for number in range(self._pages)]
        pages = [page for page in stored if page is not None and page["edition"] == self._edition]
        for page in sorted(pages, key=lambda page: page["number"]):
            self._entries.update((tuple(key), value) for *key, value in page["entries"])
            self._number, self._page = page["number"], page["entries"]

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LedgerKey]:
        return iter(self._entries)

    def get(self, key: LedgerKey) -> JSON:
        """Return the value, or None."""
        return self._entries.get(key)

    def add(self, key: LedgerKey, value: JSON) -> None:
        """Remember an entry, unless its key is there already."""
        if key not in self._entries:
            self._entries[key] = value
            self._unsaved.append([*key, value])

    def forget(self, key: LedgerKey) -> None:
        """Forget an entry until the next restart, or until it is added again."""
        self._entries.pop(key, None)

    @property
    def grown(self) -> bool:
        """Whether something is not stored yet."""
        return bool(self._unsaved) or not self._written

    async def save(self) -> None:
        """Store what was added.

        :raises SpoolUnavailable: when it cannot be stored now; save again later.
        """
        while self.grown:
            if len(self._page) >= PAGE and self._written:
                self._number += 1
                self._page = []
            added = self._unsaved[: PAGE - len(self._page)]
            del self._unsaved[: len(added)]
            self._page = [*self._page, *added]
            self._written = False
            page = {"edition": self._edition, "number": self._number, "entries": self._page}
            await self._state.put(self._place(self._number), page)
            self._written = True

    def _place(self, number: int) -> str:
        return f"{self._name}/{number % self._pages}"


class LedgerWriter:
    """Stores ledgers in the background, so that no delivery waits for it."""

    def __init__(self, *ledgers: Ledger) -> None:
        self._ledgers = ledgers
        self._grown = RepeatedEvent()

    def wake(self) -> None:
        """Look whether a ledger has grown. Cheap: called after each delivery."""
        if self._is_behind():
            self._grown.set()

    async def run(self) -> None:
        """Store until cancelled."""
        try:
            while True:
                while not self._is_behind():
                    await self._grown.wait()
                await self._save()
                await trio.sleep(PAUSE)
        finally:
            with trio.move_on_after(LAST_WRITE, shield=True):
                await self._save()

    def _is_behind(self) -> bool:
        return any(ledger.grown for ledger in self._ledgers)

    async def _save(self) -> None:
        for ledger in self._ledgers:
            try:
                await ledger.save()
            except SpoolUnavailable:
                return  # the spool reports why; the next round tries again
