"""A configuration to begin with, made from the settings classes, for ``bridged
sample-config``.

## longest wait for an answer (a duration with a unit, such as 500ms, 30s, 5m, 1h30m)
#timeout = 20s                    a setting at its default, or an example where that is empty
url = https://api.example.com     a setting that must be written
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from textwrap import wrap
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from bridge.api import Duration, NetworkAddress, Secret, SinkKind, Size, SpoolKind, Url
from bridge.api.kinds import AnyKind
from bridge.config.diagnostics import Place
from bridge.config.fields import Declared, declared, keys
from bridge.config.ini import Section, Value
from bridge.config.references import References
from bridge.config.schema import (
    AdminSettings,
    BridgeSettings,
    SinkSettings,
    SpoolSettings,
    recovery_defaults,
    source_settings,
)
from bridge.config.structure import fill
from bridge.config.values import Reader, text_of, without_none, words
from bridge.http.settings import ListenerSettings

WIDTH = 110  # of a line of explanation

INTRODUCTION = """\
## Lines that begin with ## explain, lines that begin with # are settings at their default or examples.
## A comment is a line of its own: '#' and quotes inside a value are part of it. Lists have commas, or indented lines.
## Values that stand elsewhere: ${credential:NAME} ${env:NAME} ${env:NAME:-DEFAULT} ${file:/PATH}; $$ for a dollar sign.
## Files NAME.d/*.ini beside NAME.ini are read after it, and win.
"""


def sample_config(*kinds: AnyKind) -> str:
    """Write a whole file: the core's sections and one section for each kind.

    :raises Mistake: if the settings class of a kind cannot be used.
    """
    spool = next((kind for kind in kinds if isinstance(kind, SpoolKind)), None)
    core = [
        _section("bridge", {}, BridgeSettings),
        sample_section(spool) if spool is not None else _section("spool", {}, SpoolSettings),
        _section("admin", {}, AdminSettings),
        _section("listener:public", {}, ListenerSettings),
    ]
    return "\n".join(
        [
            INTRODUCTION,
            *core,
            *(sample_section(kind) for kind in kinds if not isinstance(kind, SpoolKind)),
        ]
    )


def sample_section(kind: AnyKind) -> str:
    """Write the section of one kind, with its tables.

    :raises Mistake: if its settings class cannot be used.
    """
    if isinstance(kind, SpoolKind):
        return _section("spool", {"plugin": kind.name}, SpoolSettings, kind.settings)
    if isinstance(kind, SinkKind):
        known = {"plugin": kind.name, "batch": str(kind.batch), "in_flight": str(kind.in_flight)}
        return _section(f"sink:{kind.name}", known, SinkSettings, kind.settings)
    core = source_settings(called=kind.paths is not None, recovers=kind.recovery is not None)
    known = {
        "plugin": kind.name,
        **({} if kind.recovery is None else recovery_defaults(kind.recovery)),
    }
    return _section(f"source:{kind.name}", known, core, kind.settings)


def _section(name: str, known: dict[str, str], *classes: type[Any]) -> str:
    """Write a section from its settings classes.

    ``known`` texts replace what the class says.
    """
    settings = keys(*classes).values()
    written = {key: text for each in classes for key, text in _written(each).items()}
    written |= {key: text for key, text in known.items() if key == "plugin"}
    lines = [f"[{name}]"]
    for setting in settings:
        if setting.is_table:
            continue
        lines += _help(setting, words(setting.type))
        if setting.key in written:
            lines.append(f"{setting.key} = {written[setting.key]}")
        else:
            text = known.get(setting.key) or text_of(setting.default) or setting.example or ""
            lines.append(f"#{setting.key} = {text}".rstrip())
    for setting in settings:
        if setting.is_table:
            lines += [
                "",
                *_help(setting, "keys and values"),
                f"#[{name}:{setting.key}]",
                f"#{_table_example(setting)}",
            ]
    return "\n".join(lines) + "\n"


def _written(settings: type[Any]) -> dict[str, str]:
    """Give the settings that must be written, with a text for each."""
    fields = {setting.key: setting for setting in declared(settings)}
    texts = {
        key: setting.example or _any_text(setting)
        for key, setting in fields.items()
        if setting.required
    }
    reader = Reader(References({}, None, checking=True))
    while True:
        values = {key: Value(key, key, text, _NOWHERE) for key, text in texts.items()}
        problems = fill(settings, Section("", _NOWHERE, values), reader).problems
        needed = {
            problem.key for problem in problems if problem.severity == "error"
        } & fields.keys() - texts.keys()
        if not needed:
            return texts
        texts |= {
            key: fields[key].example or _any_text(fields[key]) for key in fields if key in needed
        }


_NOWHERE = Place("")


def _help(setting: Declared, expected: str) -> list[str]:
    return [f"## {line}" for line in wrap(f"{setting.help} ({expected})", WIDTH)]


def _any_text(setting: Declared) -> str:
    """Give a text that fits the type of a required setting without an example."""
    wanted, _ = without_none(setting.type)
    while get_origin(wanted) in (tuple, Union, UnionType):
        wanted = get_args(wanted)[0]
    if wanted is Secret:
        return f"${{credential:{setting.key}}}"
    choices = get_args(wanted) if get_origin(wanted) is Literal else ()
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        choices = tuple(wanted)
    return text_of(choices[0]) if choices else _ANY_TEXT.get(wanted, "text")


_ANY_TEXT: Mapping[Any, str] = {
    int: "1",
    float: "1",
    bool: "yes",
    Duration: "30s",
    Size: "1MiB",
    Url: "https://example.com",
    Path: "/path",
    NetworkAddress: "127.0.0.1:8443",
    IPv4Network: "10.0.0.0/8",
    IPv6Network: "2001:db8::/32",
}


def _table_example(setting: Declared) -> str:
    if setting.example is None:
        return f"key = {_any_text(setting)}"
    return (
        setting.example if "=" in setting.example else f"{setting.example} = {_any_text(setting)}"
    )
