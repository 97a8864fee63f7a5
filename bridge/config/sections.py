"""Which sections there may be: the names of the sections of a configuration, sorted by
what they are.

[bridge] [spool] [admin]                       one of each
[listener:NAME] [source:NAME] [sink:NAME]      as many as wanted
[source:NAME:FIELD] [sink:NAME:FIELD]          tables of a source or sink
"""

from __future__ import annotations

import re

from attrs import define, field

from bridge.config.diagnostics import Problem, nearest
from bridge.config.ini import Section
from bridge.config.source_files import Document

SINGLE = ("bridge", "spool", "admin")
NAMED = ("listener", "source", "sink")
WITH_TABLES = ("source", "sink")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@define
class Layout:
    """The sections of a document."""

    listeners: dict[str, Section] = field(factory=dict)
    """By NAME."""
    sources: dict[str, Section] = field(factory=dict)
    sinks: dict[str, Section] = field(factory=dict)
    tables: dict[str, dict[str, Section]] = field(factory=dict)
    """By the section they belong to, such as ``sink:office``, and by FIELD."""
    problems: list[Problem] = field(factory=list)


def arrange(document: Document) -> Layout:
    """Sort the sections of a document, and report those that there may not be."""
    layout = Layout()
    named = {"listener": layout.listeners, "source": layout.sources, "sink": layout.sinks}
    for section in document.sections.values():
        role, *names = section.name.split(":")
        if not names and role in SINGLE:
            continue
        if role not in NAMED or not names:
            layout.problems.append(
                Problem.at(section.place, section.name, None, _unknown(role, names))
            )
        elif not _NAME.fullmatch(names[0]):
            text = f"expected [{role}:NAME], where NAME has 1 to 64 letters, digits, '-' and '_'"
            layout.problems.append(Problem.at(section.place, section.name, None, text))
        elif len(names) == 1:
            named[role][names[0]] = section
        elif len(names) == 2 and role in WITH_TABLES:
            layout.tables.setdefault(f"{role}:{names[0]}", {})[names[1]] = section
        else:
            text = f"unknown section; expected [{role}:NAME]" + (
                f" or [{role}:NAME:TABLE]" * (role in WITH_TABLES)
            )
            layout.problems.append(Problem.at(section.place, section.name, None, text))
    owners = [f"{role}:{name}" for role in WITH_TABLES for name in named[role]]
    for owner in layout.tables.keys() - set(owners):
        for section in layout.tables[owner].values():
            meant = nearest(owner, owners)
            hint = f", did you mean [{meant}:{section.name.rpartition(':')[2]}]?" if meant else ""
            layout.problems.append(
                Problem.at(
                    section.place, section.name, None, f"there is no section [{owner}]{hint}"
                )
            )
    return layout


def _unknown(role: str, names: list[str]) -> str:
    if role in NAMED:
        return f"expected a name, such as [{role}:office]"
    if role in SINGLE:
        return f"expected [{role}], without a name"
    meant = nearest(role, (*SINGLE, *NAMED))
    if meant in NAMED:
        return f"unknown section, did you mean [{':'.join((meant, *(names or ['NAME'])))}]?"
    if meant is not None:
        return f"unknown section, did you mean [{meant}]?"
    known = [f"[{name}]" for name in SINGLE] + [f"[{name}:NAME]" for name in NAMED]
    return f"unknown section; known: {', '.join(known)}"
