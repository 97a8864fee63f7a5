"""``bridged dead``: dead letters are listed, shown, exported, replayed and dropped.

All but ``show`` work on a selection, a page at a time.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial

import orjson
from attrs import define, field

from bridge.admin.letters import MAX_PAGE, filter_as_json
from bridge.api import JSON, printable
from bridge.api.spool import LetterFilter
from bridge.cli.arguments import (
    WHEN,
    Commands,
    add_apply,
    add_command,
    add_group,
    add_json,
    add_limit,
    past_time,
    positive,
)
from bridge.cli.loading import FAILED, USAGE
from bridge.cli.spool.asking import Ask, run_with
from bridge.cli.spool.tables import clock, counted, print_json, print_table
from bridge.daemon.requests import SPOOL


def add(commands: Commands) -> None:
    """Add the commands."""
    dead = add_group(commands, "dead", "dead letters: events that a sink refused for good")
    listing = add_command(dead, "list", partial(run_with, _list), "list dead letters, oldest first")
    _selection(listing)
    _paged(listing)
    add_json(listing)
    show = add_command(dead, "show", partial(run_with, _show), "show a dead letter and its event")
    show.add_argument("id", type=positive, help="number of the letter, from bridged dead list")
    add_json(show)
    export = add_command(
        dead, "export", partial(run_with, _export), "print letters with their events, as JSON lines"
    )
    _selection(export)
    export.add_argument("--after", type=int, default=0, metavar="ID", help="behind this letter")
    replay = add_command(
        dead, "replay", partial(run_with, _replay), "send dead letters again, to the sink of each"
    )
    _selection(replay)
    _paged(replay)
    replay.add_argument(
        "--dry-run",
        action="store_true",
        help="show what the settings of today would send, letter by letter",
    )
    drop = add_command(
        dead, "drop", partial(run_with, _drop), "forget dead letters; they are counted as expired"
    )
    _selection(drop)
    for each in (replay, drop):
        each.add_argument("--all", action="store_true", help="every dead letter there is")
        add_apply(each)
        add_json(each)


def _selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sink", help="NAME of the sink that refused it")
    parser.add_argument("--source", help="NAME of the source that it came from")
    parser.add_argument("--device", help="the vendor's id of its device")
    parser.add_argument("--reason", help="a part of the reason, in any case of letters")
    parser.add_argument(
        "--since", type=past_time, metavar="TIME", help=f"given up then or later, {WHEN}"
    )
    parser.add_argument("--until", type=past_time, metavar="TIME", help="given up before then")
    parser.add_argument(
        "--id",
        dest="ids",
        type=positive,
        action="append",
        metavar="ID",
        help="number of the letter; may be given several times",
    )


def _paged(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--after", type=int, default=0, metavar="ID", help="behind this letter")
    add_limit(parser)


def _wanted(options: argparse.Namespace) -> JSON:
    return filter_as_json(
        LetterFilter(
            sink=options.sink,
            source=options.source,
            device=options.device,
            reason=options.reason,
            since=options.since,
            until=options.until,
            ids=options.ids,
        )
    )


@asynccontextmanager
async def _pages(
    ask: Ask, options: argparse.Namespace, after: int = 0
) -> AsyncIterator[AsyncIterator[list[JSON]]]:
    """Pages of the selection, to its end."""

    async def pages() -> AsyncGenerator[list[JSON], None]:
        following = after
        while page := await _page(ask, options, following, MAX_PAGE):
            yield page
            following = page[-1]["id"]

    async with aclosing(pages()) as iterator:
        yield iterator


async def _page(ask: Ask, options: argparse.Namespace, after: int, limit: int) -> list[JSON]:
    asked = {"filter": _wanted(options), "after": after, "limit": limit}
    page: list[JSON] = await ask(SPOOL, "letters", asked)
    return page


async def _first_of(ask: Ask, options: argparse.Namespace) -> tuple[list[JSON], int | None]:
    """As many letters as are wanted, and behind which one there are more."""
    found: list[JSON] = []
    async with _pages(ask, options, options.after) as pages:
        async for page in pages:
            found += page
            if len(found) > options.limit:
                found = found[: options.limit]
                return found, found[-1]["id"]
    return found, None


async def _list(ask: Ask, options: argparse.Namespace) -> int:
    letters, more = await _first_of(ask, options)
    if options.json:
        print_json({"letters": letters, "next": more})
        return 0
    if not letters:
        print("no dead letters")
        return 0
    print_table(
        ("id", "given up (UTC)", "sink", "source", "device", "status", "attempts", "reason"),
        [
            (
                letter["id"],
                clock(letter["time"]),
                letter["sink"] + (" (purged)" if letter["purged"] else ""),
                letter["source"],
                letter["device"],
                letter["status"],
                letter["attempts"],
                letter["reason"],
            )
            for letter in letters
        ],
    )
    _tell_more(more)
    return 0


def _tell_more(more: int | None) -> None:
    if more is not None:
        print(f"there are more; the next ones: the same with --after {more}")


async def _show(ask: Ask, options: argparse.Namespace) -> int:
    whole = await ask(SPOOL, "letter", {"id": options.id})
    if options.json:
        print_json(whole)
        return 0
    letter = whole["letter"]
    status = "" if letter["status"] is None else f" (HTTP status {letter['status']})"
    purged = "; the sink was purged since" if letter["purged"] else ""
    print(f"dead letter {letter['id']} of sink {letter['sink']}{purged}")
    print(printable(f"source {letter['source']}, device {letter['device'] or 'unknown'}"))
    print(f"received {clock(letter['received'])} UTC, sequence {letter['sequence']}")
    print(
        f"given up {clock(letter['time'])} UTC after {counted(letter['attempts'], 'attempt')}"
        f"{status}: {printable(letter['reason'])}"
    )
    if whole["event"] is None:
        print(f"its body cannot be read; in base64: {whole['body']}")
    else:
        print_json(whole["event"])
    if "preview" in whole:
        print(f"would be sent today: {printable(whole['preview'])}")
    return 0


async def _export(ask: Ask, options: argparse.Namespace) -> int:
    after = options.after
    while after is not None:
        asked = {
            "filter": _wanted(options),
            "after": after,
            "limit": MAX_PAGE,
            "preview": False,
        }
        page = await ask(SPOOL, "export", asked)
        for whole in page["letters"]:
            print(orjson.dumps(whole).decode())
        after = page["next"]
    return 0


@define
class Selection:
    """What a selection holds, counted before anything is done with it."""

    sinks: Counter[str] = field(factory=Counter)
    purged: int = 0
    last: int = 0
    """The highest number: what is refused anew gets a higher one, and is left alone."""

    @property
    def count(self) -> int:
        return self.sinks.total()

    def as_json(self, done: str, number: int | None) -> JSON:
        return {"letters": self.count, "by_sink": dict(self.sinks), done: number}

    def tell(self) -> None:
        for sink, number in sorted(self.sinks.items()):
            print(f"{sink}: {counted(number, 'dead letter')}")
        if self.purged:
            print(f"{self.purged:,} of them are of a life of their sink before it was purged")


async def _select(ask: Ask, options: argparse.Namespace) -> Selection:
    selection = Selection()
    async with _pages(ask, options) as pages:
        async for page in pages:
            selection.sinks.update(letter["sink"] for letter in page)
            selection.purged += sum(letter["purged"] for letter in page)
            selection.last = page[-1]["id"]
    return selection


def _unselected(options: argparse.Namespace, what: str) -> bool:
    if options.all or any(value is not None for value in _wanted(options).values()):
        return False
    text = f"say which dead letters to {what}, such as --sink NAME or --id ID; or --all"
    print(text, file=sys.stderr)
    return True


async def _replay(ask: Ask, options: argparse.Namespace) -> int:
    if _unselected(options, "replay"):
        return USAGE
    if options.dry_run:
        return await _preview(ask, options)
    selection = await _select(ask, options)
    if not options.apply:
        _tell_plan(
            selection,
            options.json,
            "replayed",
            "would be sent again to their sinks, in order, before later events of their devices",
        )
        return 0
    replayed = await _each_page(ask, options, selection, "replay", "replayed")
    if options.json:
        print_json(selection.as_json("replayed", replayed))
    else:
        print(f"replayed {replayed:,} of {counted(selection.count, 'dead letter')}")
    if replayed < selection.count:
        print(
            f"{selection.count - replayed:,} stay: the spool does not know their sink any more, "
            "or their body cannot be read",
            file=sys.stderr,
        )
        return FAILED
    return 0


async def _drop(ask: Ask, options: argparse.Namespace) -> int:
    if _unselected(options, "drop"):
        return USAGE
    selection = await _select(ask, options)
    if not options.apply:
        _tell_plan(selection, options.json, "dropped", "would be forgotten for good")
        return 0
    dropped = await _each_page(ask, options, selection, "drop", "dropped")
    if options.json:
        print_json(selection.as_json("dropped", dropped))
    else:
        print(f"dropped {dropped:,} of {counted(selection.count, 'dead letter')}")
    return 0


def _tell_plan(selection: Selection, as_json: bool, done: str, text: str) -> None:
    if as_json:
        print_json(selection.as_json(done, None))
        return
    selection.tell()
    if selection.count:
        print(f"{counted(selection.count, 'dead letter')} {text}; --apply does it")
    else:
        print("no dead letters")


async def _each_page(
    ask: Ask, options: argparse.Namespace, selection: Selection, request: str, done: str
) -> int:
    """Do it with what was counted, a page at a time; returns with how many."""
    number = 0
    async with _pages(ask, options) as pages:
        async for page in pages:
            ids = [letter["id"] for letter in page if letter["id"] <= selection.last]
            if not ids:
                break
            number += (await ask(SPOOL, request, {"ids": ids}))[done]
    return number


async def _preview(ask: Ask, options: argparse.Namespace) -> int:
    letters, more = await _first_of(ask, options)
    shown = []
    for letter in letters:
        whole = await ask(SPOOL, "letter", {"id": letter["id"]})
        shown.append(whole)
        if not options.json:
            _print_preview(whole)
    if options.json:
        print_json({"letters": shown, "next": more})
    elif not letters:
        print("no dead letters")
    else:
        _tell_more(more)
    return 0


def _print_preview(whole: JSON) -> None:
    letter = whole["letter"]
    device = printable(letter["device"] or "unknown")
    print(f"{letter['id']}: {letter['sink']}, device {device}")
    print(f"  refused: {printable(letter['reason'])}")
    if "preview" in whole:
        text = f"would be sent: {whole['preview']}"
    elif whole["event"] is None:
        text = "its body cannot be read; it would stay"
    else:
        event = orjson.dumps(whole["event"]).decode()
        text = f"the plugin cannot say what it would send of the event: {event}"
    print(f"  {printable(text)}")
