"""A configuration to begin with, made from the settings classes, for ``bridged
sample-config``.

## longest wait for an answer (a duration with a unit, such as 500ms, 30s, 5m, 1h30m)
#timeout = 20s                   a setting at its default, or an example if it has none
url = https://api.example.com    a setting that must be written
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
from bridge.config.diagnostics import Location
from bridge.config.fields import SettingField, fields_by_key, setting_fields
from bridge.config.ini import Section, Value
from bridge.config.references import References
from bridge.config.sections import Core
from bridge.config.structure import Structurer
from bridge.config.values import Reader, text_of, without_none, words

WIDTH = 110  # of a line of explanation

INTRODUCTION = """\
## Lines that begin with ## explain, lines that begin with # are settings at their default or examples.
## A comment is a line of its own: '#' and quotes inside a value are part of it. Lists have commas, or indented lines.
## Values that stand elsewhere: ${credential:NAME} ${env:NAME} ${env:NAME:-DEFAULT} ${file:/PATH}; $$ for a dollar sign.
## Files NAME.d/*.ini beside NAME.ini are read after it, and win.
"""  # noqa: E501  # a page that is printed, as wide as a terminal of today


def sample_config(core: Core[Any], *kinds: AnyKind) -> str:
    """Write a whole file: the core's sections and one section for each kind.

    :raises SettingsClassError: if the settings class of a kind cannot be used.
    """
    spools = [kind for kind in kinds if isinstance(kind, SpoolKind)]
    others = [kind for kind in kinds if not isinstance(kind, SpoolKind)]
    sections = [
        _section("bridge", {}, core.bridge),
        sample_section(core, spools[0]) if spools else _section("spool", {}, core.spool),
        _section("admin", {}, core.admin),
        _section("listener:public", {}, core.listener),
        *(sample_section(core, kind) for kind in others),
    ]
    return "\n".join([INTRODUCTION, *sections])


def sample_section(core: Core[Any], kind: AnyKind) -> str:
    """Write the section of one kind, with its tables.

    :raises SettingsClassError: if its settings class cannot be used.
    """
    known = {"plugin": kind.name, **core.defaults(kind)}
    if isinstance(kind, SpoolKind):
        return _section("spool", known, core.spool, kind.settings)
    if isinstance(kind, SinkKind):
        return _section(f"sink:{kind.name}", known, core.sink, kind.settings)
    return _section(f"source:{kind.name}", known, core.source(kind), kind.settings)


def _section(name: str, known: dict[str, str], *classes: type[Any]) -> str:
    """Write a section from its settings classes.

    ``known`` texts replace what the class says.
    """
    settings = fields_by_key(*classes).values()
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
    """Return the settings that must be written, with a text for each.

    A class may need a setting because of the default of another, and says so only when
    it is made.
    """
    fields = {setting.key: setting for setting in setting_fields(settings)}
    needed: set[str | None] = {key for key, setting in fields.items() if setting.required}
    texts: dict[str, str] = {}
    while True:
        more = {key: setting for key, setting in fields.items() if key in needed}
        texts |= {key: setting.example or _any_text(setting) for key, setting in more.items()}
        needed = (_refused(settings, texts) & fields.keys()) - texts.keys()
        if not needed:
            return texts


def _refused(settings: type[Any], texts: Mapping[str, str]) -> set[str | None]:
    """Return the keys that a class complains of."""
    structurer = Structurer(Reader(References({}, None, checking=True)))
    values = {key: Value(key, key, text, _NOWHERE) for key, text in texts.items()}
    structurer.structure(Section("", _NOWHERE, values), settings)
    return {each.key for each in structurer.diagnostics if each.severity == "error"}


_NOWHERE = Location("")


def _help(setting: SettingField, expected: str) -> list[str]:
    return [f"## {line}" for line in wrap(f"{setting.help} ({expected})", WIDTH)]


def _any_text(setting: SettingField) -> str:
    """Return a text that fits the type of a required setting without an example."""
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


def _table_example(setting: SettingField) -> str:
    if setting.example is None:
        return f"key = {_any_text(setting)}"
    return (
        setting.example if "=" in setting.example else f"{setting.example} = {_any_text(setting)}"
    )
