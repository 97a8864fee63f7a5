"""The devices file: a CSV in which people say which Databoom device a vendor's device
is.

    device,token,name,signal,signal_token
    emuc17m6d7lq0bgk44smcqg,0f6hbfnqz6,Hall,,
    emuc17m6d7lq0bgk44smcqg,7rk2mhq0wd,Hall outside,temperature,outdoor

A row without ``signal`` names the token of a device. A row with one names device token
and signal token of that signal of that device, and goes before the other. Only
``device`` and ``token`` must be there; ``name`` is for people. UTF-8, with or without a
byte order mark; comma or semicolon, as the first line has it. Spaces around a cell do
not count.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from .tokens import EXPECTED, Target, Targets, is_token

COLUMNS = ("device", "token", "name", "signal", "signal_token")
MAX_SIZE = 64 << 20  # bytes; some hundred thousand devices
MAX_MISTAKES = 5  # told at once


@frozen
class _Row:
    """A row of the file."""

    line: int
    cells: Mapping[str, str]


def read_devices_file(path: Path, table: Mapping[str, str]) -> Targets:
    """Read a devices file.

    :param table: the devices that the INI file maps, which must not be in the file as
        well.
    :raises ValueError: completing "expected ...", with the file and the line of each
        mistake.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
    except OSError as exc:
        raise ValueError(f"a file that can be read, got {path}: {exc.strerror}") from exc
    if len(content) > MAX_SIZE:
        raise ValueError(f"at most {MAX_SIZE >> 20} MiB, got more in {path}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise ValueError(f"UTF-8, got another encoding: {path}:{line}") from None
    return parse_devices(text, str(path), table)


def parse_devices(text: str, file: str, table: Mapping[str, str]) -> Targets:
    """Read the text of a devices file; see :func:`read_devices_file`."""
    targets: dict[tuple[str, str], Target] = {}
    lines: dict[tuple[str, str], int] = {}
    mistakes: list[str] = []
    try:
        for row in _rows(text):
            key = row.cells["device"], row.cells.get("signal", "")
            mistake = _find_mistake(row, lines.get(key), key[0] in table)
            if mistake is None:
                targets[key] = Target(row.cells["token"], row.cells.get("signal_token", ""))
                lines[key] = row.line
            else:
                mistakes.append(f"{file}:{row.line}: {mistake}")
    except _UnreadableError as exc:
        mistakes.append(f"{file}:{exc.line}: {exc}")
    if mistakes:
        rest = len(mistakes) - MAX_MISTAKES
        more = f"; and {rest} other mistakes" if rest > 0 else ""
        raise ValueError(
            f"a devices file without mistakes: {'; '.join(mistakes[:MAX_MISTAKES])}{more}"
        )
    return targets


class _UnreadableError(Exception):
    """A line after which nothing can be read."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def _rows(text: str) -> Iterator[_Row]:
    first = text.partition("\n")[0]
    reader = csv.reader(
        text.splitlines(keepends=True), delimiter=";" if ";" in first else ",", strict=True
    )
    header: list[str] | None = None
    previous = 0
    try:
        for cells in reader:
            # A quoted cell may go over several lines.
            line, previous = previous + 1, reader.line_num
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue
            if header is None:
                header = _header(stripped, line)
            elif len(stripped) != len(header):
                raise _UnreadableError(
                    line, f"expected {len(header)} cells as in the first line, got {len(stripped)}"
                )
            else:
                yield _Row(line, dict(zip(header, stripped, strict=True)))
    except csv.Error as exc:
        raise _UnreadableError(reader.line_num, f"no CSV: {exc}") from None
    if header is None:
        raise _UnreadableError(1, f"expected a first line with the columns {', '.join(COLUMNS)}")


def _header(cells: list[str], line: int) -> list[str]:
    known = len(set(cells)) == len(cells) and set(cells) <= set(COLUMNS)
    if (
        not known
        or not {"device", "token"} <= set(cells)
        or ("signal" in cells) != ("signal_token" in cells)
    ):
        raise _UnreadableError(
            line,
            "expected a first line with the columns device and token, and if wanted name, or "
            f"signal with signal_token; got {', '.join(cells)}",
        )
    return cells


def _find_mistake(row: _Row, first: int | None, in_table: bool) -> str | None:
    """Return what is wrong with a row, if anything.

    :param first: the line that names the same device or signal already.
    """
    cells = row.cells
    signal, signal_token = cells.get("signal", ""), cells.get("signal_token", "")
    if not cells["device"]:
        return "device is empty"
    if not is_token(cells["token"]):
        return f"{EXPECTED} in token, got {cells['token']!r}"
    if bool(signal) != bool(signal_token):
        return "signal and signal_token go together, but one of them is empty"
    if signal and not is_token(signal_token):
        return f"{EXPECTED} in signal_token, got {signal_token!r}"
    if first is not None:
        what = f"device {cells['device']!r}"
        if signal:
            what = f"signal {signal!r} of {what}"
        return f"{what} is in line {first} already; remove one"
    if in_table and not signal:
        return (
            f"device {cells['device']!r} is in the table of devices of the INI file too; remove one"
        )
    return None
