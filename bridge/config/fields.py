"""What a settings class declares: its fields as keys of the INI file.

The one place that knows how a field of :func:`bridge.api.setting` or
:func:`bridge.api.table` is read back. Validation, the sample and the overview of what
is in effect are made from the same list.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, get_args, get_type_hints

import attrs
from attrs import frozen

from bridge.api.fields import EXAMPLE, HELP, TABLE
from bridge.config.diagnostics import Diagnostic, listed, nearest
from bridge.config.ini import Section


class SettingsClassError(Exception):
    """A settings class that cannot be used.

    The fault is the plugin's; the text names the exception, not a value.
    """

    def __init__(self, settings: type, cause: Exception) -> None:
        super().__init__(
            f"the settings class {settings.__qualname__} has a mistake "
            f"({type(cause).__name__}); report it to the author of the plugin"
        )


@frozen
class SettingField:
    """One setting."""

    name: str
    """Of the attribute."""
    alias: str
    """Of the argument."""
    key: str
    """In the INI file."""
    type: Any
    """Of the value; for a table, of each of its values."""
    default: Any
    """A value, or ``attrs.NOTHING`` for a required setting."""
    help: str
    example: str | None
    is_table: bool
    check: Callable[[Any], None]
    """Runs the validator. :raises ValueError: completing "expected ..."."""

    @property
    def required(self) -> bool:
        """Whether it must be written."""
        return self.default is attrs.NOTHING and not self.is_table


def setting_fields(settings: type) -> tuple[SettingField, ...]:
    """List the settings of a class, in order.

    :raises SettingsClassError: if it is no attrs class, or its annotations cannot be
        resolved.
    """
    try:
        hints = get_type_hints(settings)
        return tuple(
            _setting_field(field, hints.get(field.name, str))
            for field in attrs.fields(settings)
            if field.init
        )
    except Exception as exc:
        raise SettingsClassError(settings, exc) from exc


def fields_by_key(*settings: type) -> dict[str, SettingField]:
    """The settings of several classes; what two of them declare is the first one's."""
    by_key: dict[str, SettingField] = {}
    for each in settings:
        for setting in setting_fields(each):
            by_key.setdefault(setting.key, setting)
    return by_key


def unknown_keys(section: Section, fields: Collection[SettingField]) -> Iterator[Diagnostic]:
    """Report the keys that nobody knows."""
    names = [setting.key for setting in fields if not setting.is_table]
    tables = {setting.key for setting in fields if setting.is_table}
    for value in section.values.values():
        if value.key in tables:
            text = f"expected a section of its own, [{section.name}:{value.key}]"
        elif value.key in names:
            continue
        elif meant := nearest(value.key, names):
            text = f"unknown setting, did you mean '{meant}'?"
        else:
            text = f"unknown setting; known: {listed(names)}"
        yield Diagnostic(value.location, section.name, value.written, text)


def unknown_tables(
    section: Section, fields: Collection[SettingField], plugin: str
) -> Iterator[Diagnostic]:
    """Report the tables that a plugin does not know."""
    names = [setting.key for setting in fields if setting.is_table]
    for name, table in section.tables.items():
        if name in names:
            continue
        if meant := nearest(name, names):
            text = f"unknown table, did you mean [{section.name}:{meant}]?"
        elif names:
            text = f"unknown table; known: {listed(f'[{section.name}:{each}]' for each in names)}"
        else:
            text = f"unknown table; the plugin '{plugin}' has none"
        yield Diagnostic(table.location, table.name, None, text)


def _setting_field(field: attrs.Attribute[Any], hint: Any) -> SettingField:
    is_table = bool(field.metadata.get(TABLE))
    default: Any = field.default
    factory: Any = attrs.Factory  # a class, but typed as a function
    if isinstance(default, factory):
        default = None if default.takes_self else default.factory()
    return SettingField(
        name=field.name,
        alias=field.alias or field.name,
        key=field.name.removesuffix("_"),
        type=get_args(hint)[1] if is_table else hint,
        default=default,
        help=field.metadata.get(HELP) or "",
        example=field.metadata.get(EXAMPLE),
        is_table=is_table,
        check=_check(field),
    )


def _check(field: attrs.Attribute[Any]) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if field.validator is not None:
            field.validator(None, field, value)

    return check
