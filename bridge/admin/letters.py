"""What commands ask about dead letters.

A page at a time: neither the bridge nor a command holds all letters in memory.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import orjson
from attrs import frozen

from bridge.admin.answers import sink_unknown
from bridge.api import JSON, CommandError, CommandHandler, Stored, encode
from bridge.api.spool import KeptLetter, LetterEvent, LetterFilter, Spool

MAX_PAGE = 500  # letters in one answer, or one request
MAX_BYTES = 8 << 20  # of events in one answer

Preview = Callable[[Stored], str]


@frozen
class LetterRequests:
    """Answers about the dead letters of one spool."""

    spool: Spool
    previews: Mapping[str, Preview]
    """Name of a sink to what it would send of an event today."""

    @property
    def handlers(self) -> dict[str, CommandHandler]:
        return {
            "letters": self.letters,
            "letter": self.letter,
            "export": self.export,
            "replay": self.replay,
            "drop": self.drop,
        }

    async def letters(self, arguments: JSON) -> JSON:
        """A page of letters, without their events."""
        return [letter_as_json(letter) for letter in await self._page(arguments)]

    async def letter(self, arguments: JSON) -> JSON:
        """One letter with its event."""
        number = arguments["id"]
        found = await self.spool.letter(number)
        if found is None:
            raise CommandError(f"there is no dead letter {number}; see bridged dead list")
        return self._whole(found, preview=True)

    async def export(self, arguments: JSON) -> JSON:
        """A page of letters with their events: fewer than asked for where those are
        large. ``next`` is what the next page is ``after``; None behind the last one.
        """
        page = await self._page(arguments)
        whole: list[JSON] = []
        size = 0
        for letter in page:
            if size >= MAX_BYTES:
                break
            found = await self.spool.letter(letter.id)
            if found is not None:  # else it was replayed or dropped meanwhile
                whole.append(self._whole(found, preview=arguments["preview"]))
                size += len(found.body)
            after = letter.id
        return {"letters": whole, "next": after if page else None}

    async def replay(self, arguments: JSON) -> JSON:
        """Park the events of these letters, due now."""
        return {"replayed": await self.spool.replay(_numbers(arguments))}

    async def drop(self, arguments: JSON) -> JSON:
        """Forget these letters."""
        return {"dropped": await self.spool.drop(_numbers(arguments))}

    async def _page(self, arguments: JSON) -> list[KeptLetter]:
        wanted = filter_from_json(arguments["filter"])
        limit = min(arguments["limit"], MAX_PAGE)
        page = await self.spool.letters(wanted, after=arguments["after"], limit=limit)
        if not page and wanted.sink is not None and not arguments["after"]:
            known = [account.sink for account in await self.spool.accounts(())]
            if wanted.sink not in known:
                unknown = sink_unknown(wanted.sink, known)
                raise CommandError(f"there is no dead letter of {wanted.sink!r}; {unknown}")
        return page

    def _whole(self, found: LetterEvent, *, preview: bool) -> JSON:
        answer: dict[str, JSON] = {"letter": letter_as_json(found.letter)}
        if found.stored is None:
            return answer | {"event": None, "body": b64encode(found.body).decode("ascii")}
        answer["event"] = orjson.loads(encode(found.stored.event))
        say = self.previews.get(found.letter.sink) if preview else None
        if say is not None:
            try:
                answer["preview"] = say(found.stored)
            except Exception as exc:  # a mistake of the plugin, told as such
                answer["preview"] = f"the plugin cannot say: {type(exc).__name__}: {exc}"
        return answer


def _numbers(arguments: JSON) -> Sequence[int]:
    numbers: list[int] = arguments["ids"]
    if len(numbers) > MAX_PAGE:
        raise CommandError(f"expected at most {MAX_PAGE} dead letters at a time")
    return numbers


def letter_as_json(letter: KeptLetter) -> dict[str, JSON]:
    """Times are ISO 8601, UTC."""
    return {
        "id": letter.id,
        "sink": letter.sink,
        "source": letter.source,
        "device": letter.device,
        "sequence": letter.sequence,
        "received": letter.received.isoformat(),
        "reason": letter.reason,
        "status": letter.status,
        "attempts": letter.attempts,
        "time": letter.time.isoformat(),
        "purged": letter.purged,
    }


def filter_as_json(wanted: LetterFilter) -> JSON:
    """As :func:`filter_from_json` reads it."""
    return {
        "sink": wanted.sink,
        "source": wanted.source,
        "device": wanted.device,
        "reason": wanted.reason,
        "since": None if wanted.since is None else wanted.since.isoformat(),
        "until": None if wanted.until is None else wanted.until.isoformat(),
        "ids": None if wanted.ids is None else list(wanted.ids),
    }


def filter_from_json(asked: JSON) -> LetterFilter:
    times = {
        name: None if asked[name] is None else datetime.fromisoformat(asked[name])
        for name in ("since", "until")
    }
    return LetterFilter(**{**asked, **times})
