"""Texts to typed values and back: what each type of setting looks like in the INI file.

    text ── split, if a list ──▶ texts ── references replaced ──▶ texts ── cattrs, one hook for each type ──▶ value

A list is split before its references are replaced: a comma inside a credential does not
make two of it. A value that does not fit is an :class:`Unfit`, which says what was
expected and what was there, but never a secret.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
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


class Unfit(Exception):
    """A text that is no value of the wanted type.

    The text of the error is complete and holds no secret.
    """


@frozen
class Understood:
    """A value, and where parts of it came from."""

    value: Any
    references: tuple[Reference, ...]
    unchecked: tuple[str, ...]
    """Names of credentials that could not be looked up; the value stands in for the
    real one.
    """


class Unchecked(Exception):
    """There is no value, because it needs a credential that cannot be looked up here."""

    def __init__(self, credentials: tuple[str, ...]) -> None:
        super().__init__(f"not checked: {listed(credentials)}")
        self.credentials = credentials


@frozen
class Reader:
    """What turns the texts of one configuration into values."""

    references: References
    converter: Converter = field(factory=lambda: _converter(), repr=False)

    def read(self, text: str, wanted: Any) -> Understood:
        """Read a text as a value of the type ``wanted``.

        :raises Unfit: if it is none.
        :raises BadReference: if a reference in it cannot be replaced.
        :raises Unchecked: if a credential that cannot be looked up stands where only
            some texts fit.
        """
        plain, optional = without_none(wanted)
        if optional and not text:
            return Understood(None, (), ())
        if get_origin(plain) is tuple:
            items = [self._read_one(item, get_args(plain)[0]) for item in split_list(text)]
            return Understood(
                tuple(item.value for item in items),
                tuple(reference for item in items for reference in item.references),
                tuple(name for item in items for name in item.unchecked),
            )
        if "\n" in text:
            raise Unfit(f"expected {words(plain)} in one line, got {text.count(chr(10)) + 1} lines")
        return self._read_one(text, plain)

    def _read_one(self, text: str, wanted: Any) -> Understood:
        expanded = (
            self.references.expand_path(text) if wanted is Path else self.references.expand(text)
        )
        try:
            value = self._structure(expanded.text, wanted)
        except ValueError as exc:
            if expanded.unchecked:
                raise Unchecked(expanded.unchecked) from None
            raise Unfit(f"expected {exc}, got {shown(text, wanted, expanded.references)}") from None
        return Understood(value, expanded.references, expanded.unchecked)

    def _structure(self, text: str, wanted: Any) -> Any:
        # cattrs looks at the base classes first, and would take an enum of texts for a
        # text
        if get_origin(wanted) is Literal or (isinstance(wanted, type) and issubclass(wanted, Enum)):
            return _choose(text, wanted)
        if get_origin(wanted) in (Union, UnionType):
            return self._structure_union(text, get_args(wanted), words(wanted))
        return self.converter.structure(text, wanted)

    def _structure_union(self, text: str, members: tuple[Any, ...], expected: str) -> Any:
        for member in members:
            try:
                return self._structure(text, member)
            except ValueError:
                continue
        raise ValueError(expected)


def shown(text: str, wanted: Any, references: tuple[Reference, ...]) -> str:
    """Write a raw text for an error: quoted and shortened, or a remark in place of what
    may be a secret.
    """
    if is_secret(wanted):
        return "a secret (not shown)"
    if references:
        return f"the content of {listed(map(str, references))} (not shown)"
    if has_password(text):
        return "one with a password in it (not shown)"
    return f"'{excerpt(text)}'"


def has_password(text: str) -> bool:
    """Tell whether a text looks like ``https://user:password@example.com``."""
    return re.search(r":\S*@", text) is not None


def text_of(value: Any) -> str:
    """Write a value as it stands in the INI file. A secret is written as asterisks."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(text_of(item) for item in value)
    if isinstance(value, Enum):
        return _name_of(value)
    if isinstance(value, Duration) and Duration.parse(str(value)) != value:
        return (
            f"{value:.6f}".rstrip("0").rstrip(".") + "s"
        )  # finer than milliseconds, in which str() writes it
    return str(value).replace("$", "$$")


def split_list(text: str) -> list[str]:
    """Split at line ends and at commas, but not inside ``[...]`` or ``${...}``. Empty
    items are left out.

    :raises Unfit: if a bracket has no partner.
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
            raise Unfit("expected a list in which each '[' has its ']'")
        items.append(line[start:])
    return [item.strip() for item in items if item.strip()]


def words(wanted: Any) -> str:
    """Say in words what a type expects, to complete "expected ..."."""
    plain, _ = without_none(wanted)
    origin, arguments = get_origin(plain), get_args(plain)
    if origin is tuple:
        return f"a list, with commas or in lines, each {words(arguments[0])}"
    if origin is Literal:
        return listed(map(str, arguments), "or")
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(words(member) for member in arguments))
    if isinstance(plain, type) and issubclass(plain, Enum):
        return listed(map(_name_of, plain), "or")
    return _WORDS.get(plain, f"a value of type {getattr(plain, '__name__', plain)}")


def without_none(wanted: Any) -> tuple[Any, bool]:
    """Give the type without None, and whether None was in it."""
    if get_origin(wanted) not in (Union, UnionType):
        return wanted, False
    members = [member for member in get_args(wanted) if member is not NoneType]
    return Union[tuple(members)], len(members) < len(get_args(wanted))  # noqa: UP007  # made from values


def is_secret(wanted: Any) -> bool:
    """Tell whether a type holds secrets."""
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
    if not text or "\0" in text:
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
    """Give the text of an enum's member: its value if that is a text, else its name in
    lower case.
    """
    return str(member.value) if isinstance(member.value, str) else member.name.lower()
