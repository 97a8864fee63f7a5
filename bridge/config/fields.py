"""What a settings class declares: its fields as keys of the INI file.

The one place that knows how a field of :func:`bridge.api.setting` or
:func:`bridge.api.table` is read back. Validation, the sample and the overview of what
is in effect are made from the same list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import attrs
from attrs import frozen

from bridge.api.fields import EXAMPLE, HELP, TABLE


class Mistake(Exception):
    """A settings class that cannot be used.

    The fault is the plugin's; the text names the exception, not a value.
    """

    def __init__(self, settings: type, cause: Exception) -> None:
        super().__init__(
            f"the settings class {settings.__qualname__} has a mistake ({type(cause).__name__}); "
            "report it to the author of the plugin"
        )


@frozen
class Declared:
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


def declared(settings: type) -> tuple[Declared, ...]:
    """List the settings of a class, in order.

    :raises Mistake: if it is no attrs class, or its annotations cannot be resolved.
    """
    try:
        hints = get_type_hints(settings)
        return tuple(
            _declared(field, hints.get(field.name, str))
            for field in attrs.fields(settings)
            if field.init
        )
    except Exception as exc:
        raise Mistake(settings, exc) from exc


def keys(*settings: type) -> dict[str, Declared]:
    """Give the settings of several classes by key.

    What two classes declare is the first one's.
    """
    by_key: dict[str, Declared] = {}
    for each in settings:
        for setting in declared(each):
            by_key.setdefault(setting.key, setting)
    return by_key


def _declared(field: attrs.Attribute[Any], hint: Any) -> Declared:
    is_table = bool(field.metadata.get(TABLE))
    default: Any = field.default
    factory: Any = attrs.Factory  # a class, but typed as a function
    if isinstance(default, factory):
        default = None if default.takes_self else default.factory()
    return Declared(
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
