"""Texts to typed values and back: what each type of setting looks like in the INI file.

    text ─ split, if a list ─▶ texts ─ references replaced ─▶ texts ─ cattrs ─▶ value

cattrs has a hook for each type of setting. A list is split before its references are
replaced: a comma inside a credential does not make two of it. A text that does not fit
is an :class:`UnfitTextError`, which says what was expected and what was there, but
never a secret.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from attrs import field, frozen
from cattrs import Converter

from bridge.api import Duration, NetworkAddress, Secret, Size, Url
from bridge.config.diagnostics import excerpt, listed
from bridge.config.references import Reference, References


class UnfitTextError(Exception):
    """A text that is no value of the wanted type.

    The text of the error is complete and holds no secret.
    """


class UncheckedError(Exception):
    """There is no value: it needs a credential that cannot be looked up here."""

    def __init__(self, references: tuple[Reference, ...]) -> None:
        super().__init__(f"not checked: {listed(unchecked(references))}")
        self.references = references


@frozen
class Reader:
    """What turns the texts of one configuration into values."""

    references: References
    converter: Converter = field(factory=lambda: _converter(), repr=False)

    def read(self, text: str, wanted: Any) -> tuple[Any, tuple[Reference, ...]]:
        """Read a text as a value of the type ``wanted``; with it, what it refers to.

        :raises UnfitTextError: if it is none.
        :raises BadReferenceError: if a reference in it cannot be replaced.
        :raises UncheckedError: if a credential that cannot be looked up stands where
            only some texts fit.
        """
        plain, optional = without_none(wanted)
        if optional and not text:
            return None, ()
        if get_origin(plain) is tuple:
            items = [self._read_one(item, get_args(plain)[0]) for item in split_list(text)]
            references = tuple(reference for _, used in items for reference in used)
            return tuple(value for value, _ in items), references
        if "\n" in text:
            lines = text.count("\n") + 1
            raise UnfitTextError(f"expected {words(plain)} in one line, got {lines} lines")
        return self._read_one(text, plain)

    def _read_one(self, text: str, wanted: Any) -> tuple[Any, tuple[Reference, ...]]:
        expand = self.references.expand_path if wanted is Path else self.references.expand
        expanded, references = expand(text)
        try:
            return self._structure(expanded, wanted), references
        except ValueError as exc:
            if unchecked(references):
                raise UncheckedError(references) from None
            raise UnfitTextError(f"expected {exc}, got {shown(text, wanted, references)}") from None

    def _structure(self, text: str, wanted: Any) -> Any:
        if _has_choices(wanted):
            # cattrs looks at base classes first, and would take an enum of texts for a
            # text.
            return _choose(text, wanted)
        if _is_union(wanted):
            for member in get_args(wanted):
                with suppress(ValueError):
                    return self._structure(text, member)
            raise ValueError(words(wanted))
        return self.converter.structure(text, wanted)


def unchecked(references: tuple[Reference, ...]) -> list[str]:
    """List the credentials that cannot be looked up here; a word stands in for them."""
    return [reference.name for reference in references if reference.text is None]


PEM = "-----BEGIN"
"""Begins certificates and keys: what holds it is no path, and is not shown."""


def shown(text: str, wanted: Any, references: tuple[Reference, ...]) -> str:
    """Return a raw text for an error: quoted and shortened, or a remark in place of
    what may be a secret.
    """
    if is_secret(wanted):
        return "a secret (not shown)"
    if references:
        return f"the content of {listed(map(str, references))} (not shown)"
    if has_password(text):
        return "one with a password in it (not shown)"
    if PEM in text:
        return "what may be a private key (not shown)"
    return f"'{excerpt(text)}'"


def has_password(text: str) -> bool:
    """Whether a text looks like ``https://user:password@example.com``."""
    return any(":" in word.rpartition("@")[0] for word in text.split())


def text_of(value: Any) -> str:
    """Return a value as it stands in the INI file, a secret as asterisks."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(text_of(item) for item in value)
    if isinstance(value, Enum):
        return _name_of(value)
    if isinstance(value, Duration) and Duration.parse(str(value)) != value:
        # Finer than milliseconds, in which str() writes it.
        return f"{value:.6f}".rstrip("0").rstrip(".") + "s"
    return str(value).replace("$", "$$")


def split_list(text: str) -> list[str]:
    """Split at line ends and at commas, but not inside ``[...]`` or ``${...}``. Empty
    items are left out.

    :raises UnfitTextError: if a bracket has no partner.
    """
    items = []
    for line in text.split("\n"):
        level = start = 0
        for match in re.finditer(r"\$\{[^}]*\}|[\[\],]", line):
            level += {"[": 1, "]": -1}.get(match[0], 0)
            if level < 0:
                break
            if match[0] == "," and level == 0:
                items.append(line[start : match.start()])
                start = match.end()
        if level:
            raise UnfitTextError("expected a list in which each '[' has its ']'")
        items.append(line[start:])
    return [item.strip() for item in items if item.strip()]


def words(wanted: Any) -> str:
    """Return in words what a type expects, to complete "expected ..."."""
    plain, _ = without_none(wanted)
    origin, arguments = get_origin(plain), get_args(plain)
    if origin is tuple:
        return f"a list, with commas or in lines, each {words(arguments[0])}"
    if origin is Literal:
        return listed(map(str, arguments), "or")
    if _is_union(plain):
        return " or ".join(dict.fromkeys(words(member) for member in arguments))
    if isinstance(plain, type) and issubclass(plain, Enum):
        return listed(map(_name_of, plain), "or")
    return _WORDS.get(plain, f"a value of type {getattr(plain, '__name__', plain)}")


def without_none(wanted: Any) -> tuple[Any, bool]:
    """Return the type without None, and whether None was in it."""
    if not _is_union(wanted):
        return wanted, False
    members = [member for member in get_args(wanted) if member is not NoneType]
    without: Any = Union[tuple(members)]  # noqa: UP007  # made from values
    return without, len(members) < len(get_args(wanted))


def is_secret(wanted: Any) -> bool:
    """Whether a type holds secrets."""
    return wanted is Secret or any(is_secret(argument) for argument in get_args(wanted))


_WORDS: Mapping[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "yes or no",
    Duration: "a duration with a unit, such as 500ms, 30s, 5m, 1h30m",
    Size: "a size with a unit, such as 512B, 16KiB, 10MiB, 2GiB",
    Url: "a URL that begins with https:// or http://",
    Secret: "a secret",
    Path: "a path",
    NetworkAddress: "an address such as 127.0.0.1:8443, [::]:8443 or systemd:webhook",
    IPv4Network: "a network such as 10.0.0.0/8",
    IPv6Network: "a network such as 2001:db8::/32",
}


def _converter() -> Converter:
    converter = Converter(detailed_validation=False)
    parsers: dict[type, Callable[[str], Any]] = {
        str: str,
        int: _int,
        float: _float,
        bool: _bool,
        Duration: Duration.parse,
        Size: Size.parse,
        Url: Url.parse,
        Secret: Secret,
        Path: _path,
        NetworkAddress: NetworkAddress.parse,
        IPv4Network: _network(IPv4Network),
        IPv6Network: _network(IPv6Network),
    }
    for wanted, parse in parsers.items():
        converter.register_structure_hook(wanted, _hook(parse))
    return converter


def _hook(parse: Callable[[str], Any]) -> Callable[[str, Any], Any]:
    return lambda text, _wanted: parse(text)


def _is_union(wanted: Any) -> bool:
    return get_origin(wanted) in (Union, UnionType)


def _has_choices(wanted: Any) -> bool:
    is_enum = isinstance(wanted, type) and issubclass(wanted, Enum)
    return is_enum or get_origin(wanted) is Literal


def _int(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        raise ValueError(_WORDS[int])
    return int(text)


def _float(text: str) -> float:
    number = r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?"
    if not re.fullmatch(number, text, re.ASCII | re.IGNORECASE) or not math.isfinite(float(text)):
        raise ValueError(_WORDS[float])
    return float(text)


def _bool(text: str) -> bool:
    if text.lower() in ("yes", "true", "on"):
        return True
    if text.lower() in ("no", "false", "off"):
        return False
    raise ValueError(_WORDS[bool])


def _path(text: str) -> Path:
    if not text or "\0" in text or PEM in text:
        raise ValueError(_WORDS[Path])
    return Path(text)


def _network(
    kind: type[IPv4Network] | type[IPv6Network],
) -> Callable[[str], IPv4Network | IPv6Network]:
    def parse(text: str) -> IPv4Network | IPv6Network:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(_WORDS[kind]) from None  # ours says what is expected

    return parse


def _choose(text: str, wanted: Any) -> Any:
    choices = get_args(wanted) if get_origin(wanted) is Literal else tuple(wanted)
    for choice in choices:
        if text == (_name_of(choice) if isinstance(choice, Enum) else str(choice)):
            return choice
    raise ValueError(words(wanted))


def _name_of(member: Enum) -> str:
    """Return the value of an enum's member if that is a text, else its name in lower
    case.
    """
    return str(member.value) if isinstance(member.value, str) else member.name.lower()
