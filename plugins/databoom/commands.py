"""``bridged databoom map``: what was seen, and how it is mapped, as lines to complete
and paste.

As INI, the sections ``[sink:NAME:devices]`` and ``[sink:NAME:signals]``; with ``--csv``
a devices file. A line that stands for itself says what is in effect now; a line with
``#`` before it needs a person.
"""

from __future__ import annotations

import csv
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TextIO

from attrs import frozen

from bridge.api import JSON, Command, CommandContext, CommandError, printable

MAX_SIGNALS = 3  # of a device, in a remark
MAX_REMARK = 300  # characters
HOW = {
    "table": "in the table",
    "file": "in the devices file",
    "template": "by template",
    "none": "no token",
}


@frozen
class SignalRow:
    """A signal of a device, as the running bridge has seen it."""

    source: str
    device: str
    signal: str
    value: JSON
    time: str | None
    """None if it was seen before the last start only."""
    how: str
    """``table``, ``file``, ``template`` or ``none``."""
    device_token: str
    signal_token: str
    why: str
    """Why it has no token."""

    @classmethod
    def parse(cls, row: Mapping[str, JSON]) -> SignalRow:
        """Read a row of the answer."""
        names = "source", "device", "signal", "how", "device_token", "signal_token", "why"
        texts = {name: str(row.get(name) or "") for name in names}
        return cls(**texts, value=row.get("value"), time=row.get("time"))


def map_command() -> Command:
    """Return ``bridged databoom map``."""
    return Command(
        kind="databoom",
        name="map",
        run=show_map,
        help="show what was seen and how it is mapped, as lines to complete and paste",
        arguments=_arguments,
        asks=True,
    )


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--csv", action="store_true", help="as a devices file, instead of INI lines"
    )
    parser.add_argument(
        "--signals", action="store_true", help="with --csv: a row for each signal as well"
    )


async def show_map(context: CommandContext, arguments: Namespace) -> int:
    """Print the map."""
    rows = await ask_rows(context)
    if arguments.csv:
        write_csv(rows, sys.stdout, signals=arguments.signals)
    else:
        print("\n".join(ini_lines(context.name, rows)))
    return 0


async def ask_rows(context: CommandContext) -> list[SignalRow]:
    """Ask the running bridge for every row, part by part."""
    rows: list[SignalRow] = []
    after: list[str] | None = None
    while True:
        answer = await context.ask("map", {"after": after})
        part = [SignalRow.parse(row) for row in answer["rows"]]
        if not part:
            return rows
        last = [part[-1].source, part[-1].device, part[-1].signal]
        if after is not None and last <= after:
            raise CommandError(
                "the bridge repeats itself; is it of another version than this command?"
            )
        rows += part
        after = last


def ini_lines(name: str, rows: Sequence[SignalRow]) -> Iterator[str]:
    """Write rows as two sections of the INI file, for the sink of this name."""
    yield f"[sink:{name}:devices]"
    if not rows:
        yield "# nothing was seen yet"
    for device, seen in _by(rows, "device"):
        yield f"# {_remark(seen)}"
        yield _ini_line(device, {row.device_token for row in seen if row.how != "file"}, seen)
    yield ""
    yield f"[sink:{name}:signals]"
    for signal, seen in _by(rows, "signal"):
        yield _ini_line(
            signal, {row.signal_token for row in seen if row.how != "none"} or {""}, seen
        )


def _by(rows: Sequence[SignalRow], name: str) -> list[tuple[str, list[SignalRow]]]:
    """Group rows by their device or signal, in order."""
    groups: dict[str, list[SignalRow]] = {}
    for row in rows:
        groups.setdefault(getattr(row, name), []).append(row)
    return sorted(groups.items())


def _ini_line(key: str, tokens: Collection[str], seen: Sequence[SignalRow]) -> str:
    """Return ``key = token``, or a comment that says why it needs a person."""
    if not _is_ini_key(key):
        return f"# {_quoted(key)}: cannot be a key of an INI file; use a devices file, see --csv"
    if not tokens:
        return f"# {key}: is in the devices file"
    token = next(iter(tokens))
    if len(tokens) == 1 and token:
        return f"{key} = {token}"
    if reason := next((row.why for row in seen if row.why), ""):
        return f"#{key} =\n# no token: {_quoted(reason)}"
    return f"#{key} =\n# several tokens now; for one each use a devices file, see --csv --signals"


def _is_ini_key(text: str) -> bool:
    return (
        text.isprintable()
        and text == text.strip()
        and bool(text)
        and text[0] not in "#;["
        and "=" not in text
    )


def _remark(seen: Sequence[SignalRow]) -> str:
    """Return where a device was seen, what it sent, and what names it."""
    sources = ", ".join(dict.fromkeys(row.source for row in seen))
    signals = "; ".join(_shown(row) for row in seen[:MAX_SIGNALS])
    more = f"; and {len(seen) - MAX_SIGNALS} other signals" if len(seen) > MAX_SIGNALS else ""
    ways = ", ".join(sorted({HOW.get(row.how, row.how) for row in seen}))
    return _quoted(f"{sources}: {signals}{more} ({ways})")


def _shown(row: SignalRow) -> str:
    return (
        f"{row.signal} = {row.value} at {row.time}"
        if row.time
        else f"{row.signal}, not since the last start"
    )


def _quoted(text: str) -> str:
    line = printable(text)
    return line if len(line) <= MAX_REMARK else f"{line[:MAX_REMARK]}..."


def write_csv(rows: Sequence[SignalRow], out: TextIO, *, signals: bool) -> None:
    """Write rows as a devices file. An empty token is to be filled in: as it is, the
    bridge refuses the line.

    A device of the INI table has no row, because it must not be in both.
    """
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["device", "token", "name", *(["signal", "signal_token"] if signals else [])])
    for device, seen in _by(rows, "device"):
        sources = ", ".join(dict.fromkeys(row.source for row in seen))
        rest = ["", ""] if signals else []
        if all(row.how != "table" for row in seen):
            tokens = {row.device_token for row in seen}
            writer.writerow([device, tokens.pop() if len(tokens) == 1 else "", sources, *rest])
        if signals:
            for signal, of_signal in _by(seen, "signal"):
                newest = of_signal[-1]  # two sources with one device id share its rows
                writer.writerow(
                    [device, newest.device_token, newest.source, signal, newest.signal_token]
                )
