"""The syntax of an INI file: text to sections of raw values, each with its file and
line.

    [section]                 at the beginning of a line
    key = value               '=' is the only separator; the value ends with the line;
                              '#' and quotes are part of it
        more of the value     an indented line goes on with the value above, for lists
    # comment                 a line of its own, also with ';'

A blank line or a comment ends a value. Nothing is interpolated. Every mistake is
reported and reading goes on, so that one run shows all of them. An indented ``key =``
or ``[section]`` is a mistake: it was meant to stand for itself, and would otherwise
disappear into the value above. Lines end with a line feed only: what else
``str.splitlines`` takes for an end of line may stand in a value, and must not move the
line numbers below it.

``-`` in a key means ``_``, except in a table, ``[sink:NAME:FIELD]``, whose keys are
other people's names. A diagnostic never quotes more of a line than the key: the rest
may be part of a secret.
"""

from __future__ import annotations

import re

from attrs import define, field, frozen

from bridge.config.diagnostics import Diagnostic, Location

BLANKS = " \t\r"  # files edited on Windows end their lines with a carriage return as well


@frozen
class Value:
    """One value as it stands in a file."""

    key: str
    """With ``-`` as ``_``, unless it is the key of a table."""
    written: str
    """The key as written."""
    text: str = field(repr=False)
    """Lines are joined with a line feed. Not shown, because it may be a secret."""
    location: Location
    shadowed: tuple[Location, ...] = ()
    """Where earlier files set the same key."""


@frozen
class Section:
    """A section with its values by key."""

    name: str
    location: Location
    """Of its first header."""
    values: dict[str, Value] = field(factory=dict)
    tables: dict[str, Section] = field(factory=dict)
    """The sections ``[KIND:NAME:FIELD]`` by FIELD, of a source or sink."""

    @property
    def label(self) -> str:
        """NAME of ``[KIND:NAME]``; empty for ``[spool]``."""
        return self.name.partition(":")[2]

    def location_of(self, key: str) -> Location:
        """Return where a value stands; the section, if the key is not written."""
        value = self.values.get(key)
        return self.location if value is None else value.location


def parse(text: str, file: str) -> tuple[list[Section], list[Diagnostic]]:
    """Read the text of one file.

    Never raises: what is not understood becomes a diagnostic.
    """
    reading = _Reading(file)
    for number, line in enumerate(text.split("\n"), 1):
        content = line.strip(BLANKS)
        if not content or content[0] in "#;":
            reading.end_value()
        elif line[0] in BLANKS:
            reading.indented(content, number)
        else:
            reading.line(content, number)
    reading.end_value()
    return list(reading.sections.values()), reading.diagnostics


def is_table(section: str) -> bool:
    """Whether a section holds free keys."""
    return section.count(":") > 1


# A continuation that is a key: a name and '=', but not the padding of a Base64 text,
# which may be a secret.
_KEY_IN_CONTINUATION = re.compile(r"([A-Za-z0-9_.:-]+)[ \t]*=(?!=?$)|(\S[^=]*?)[ \t]+=")
_NO_KEY = re.compile(r"[^A-Za-z0-9_-]")


@define
class _Reading:
    """How far the reading of a file has come."""

    file: str
    sections: dict[str, Section] = field(factory=dict)
    diagnostics: list[Diagnostic] = field(factory=list)
    section: Section | None = None
    value: Value | None = None
    """The value that an indented line would go on with."""
    lines: list[str] = field(factory=list)
    outside: bool = False
    """Whether it was reported that settings stand before the first section."""

    def report(self, number: int, key: str | None, text: str) -> None:
        section = self.section.name if self.section is not None else None
        location = Location(self.file, number)
        self.diagnostics.append(Diagnostic(location, section or None, key, text))

    def end_value(self) -> None:
        if self.value is not None and self.section is not None:
            text = "\n".join(self.lines).strip(BLANKS + "\n")
            value = self.value
            self.section.values[value.key] = Value(value.key, value.written, text, value.location)
        self.value = None

    def line(self, content: str, number: int) -> None:
        self.end_value()
        if content[0] == "[":
            self.header(content, number)
        else:
            self.setting(content, number)

    def indented(self, content: str, number: int) -> None:
        above = "" if self.value is None else f", so it was read as part of '{self.value.written}'"
        key = _KEY_IN_CONTINUATION.match(content)
        if re.fullmatch(r"\[[^\[\]]*\]", content):
            self.report(number, None, f"{content} is indented{above}; remove the spaces before it")
            self.line(content, number)
        elif key is not None:
            self.report(
                number, key[1] or key[2], f"is indented{above}; remove the spaces before it"
            )
            self.line(content, number)
        elif self.value is None:
            text = "an indented line goes on with the value above, but a blank line or a comment"
            self.report(number, None, f"{text} ended it")
        else:
            self.lines.append(content)

    def header(self, content: str, number: int) -> None:
        match = re.match(r"\[([^\[\]]+)\]", content)
        if match is None:
            # What stands below it belongs nowhere, and is not reported.
            self.section = Section("", Location(self.file, number))
            self.report(number, None, "expected [SECTION], the name of a section in brackets")
            return
        name = match[1]
        first = self.sections.get(name)
        self.section = first if first is not None else Section(name, Location(self.file, number))
        self.sections[name] = self.section
        if match.end() != len(content):
            self.report(
                number, None, "expected nothing after [SECTION]; a comment is a line of its own"
            )
        if first is not None:
            self.report(
                number,
                None,
                f"section given twice, first in line {first.location.line}; join the two",
            )

    def setting(self, content: str, number: int) -> None:
        written, separator, text = content.partition("=")
        written = written.rstrip(BLANKS)
        if self.section is None:
            if not self.outside:
                self.report(number, None, "stands before the first [SECTION]")
            self.outside = True
            return
        if not separator or not written:
            self.report(
                number, None, "expected KEY = VALUE, [SECTION], or a comment that begins with #"
            )
            return
        key = written
        if not is_table(self.section.name):
            if stranger := _NO_KEY.search(written):
                # Show no more: a forgotten '=' makes a secret part of the key.
                known = written[: stranger.start()] or None
                expected = "expected KEY = VALUE, where KEY has letters, digits, '-' and '_' only"
                self.report(number, known, expected)
                return
            key = written.replace("-", "_")
        if first := self.section.values.get(key):
            self.report(
                number, written, f"given twice, first in line {first.location.line}; remove one"
            )
        self.value = Value(key, written, "", Location(self.file, number))
        self.lines = [text.strip(BLANKS)]
