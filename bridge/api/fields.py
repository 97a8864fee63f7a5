"""Types of settings. The fields of a plugin's settings class are its INI settings.

    @frozen
    class Settings:
        url: Url = setting(help="base URL of the API")  # required: no default
        timeout: Duration = setting(Duration(20), help="longest wait for an answer")
        token: Secret = setting(help="token", example="${credential:databoom.token}")
        forms: tuple[str, ...] = setting((), help="...")  # a list: commas or lines
        mode: Literal["array", "history"] = setting("array", help="...")
        devices: Mapping[str, str] = table(help="...")  # section [sink:NAME:devices]

Understood types: str, int, float, bool, Duration, Size, Url, Secret, Path,
NetworkAddress, IPv4Network | IPv6Network, Literal, Enum, ``tuple[X, ...]``,
``X | None``, and by :func:`table` ``Mapping[str, str]`` or ``Mapping[str, Secret]``. A
field's name is the key in the INI file; a trailing underscore is left out (``from_`` is
``from``).
Parsing a text raises ValueError with a message that completes "expected ...".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Self
from urllib.parse import urlsplit

import attrs
from attrs import frozen

HELP = "bridge.help"
EXAMPLE = "bridge.example"
TABLE = "bridge.table"

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def setting(
    default: Any = attrs.NOTHING,
    *,
    help: str,  # noqa: A002  # the word that argparse uses
    example: str | None = None,
    validator: Callable[[Any, Any, Any], None] | None = None,
) -> Any:
    """Declare one setting. Without a default it is required.

    :param default: a value of the field's type, not its text.
    :param help: what it is for, in one line, for ``bridged sample-config``.
    :param example: text shown in the sample where there is no default.
    :param validator: an attrs validator that raises ValueError completing "expected
        ...".
    """
    return attrs.field(
        default=default, validator=validator, metadata={HELP: help, EXAMPLE: example}
    )


def table(*, help: str, example: str | None = None) -> Any:  # noqa: A002
    """Declare free keys and values in a section of their own, named
    ``[KIND:NAME:FIELD]``.
    """
    return attrs.field(factory=dict, metadata={HELP: help, EXAMPLE: example, TABLE: True})


LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Hosts of addresses that only this machine reaches."""


def at_least(least: float) -> Callable[[Any, Any, Any], None]:
    """Make a validator that refuses numbers below ``least``."""

    def check(_instance: Any, _attribute: Any, value: Any) -> None:
        if value < least:
            raise ValueError(f"{least} or more")

    return check


def between(least: float, most: float) -> Callable[[Any, Any, Any], None]:
    """Make a validator that refuses numbers outside ``least`` to ``most``, both
    allowed.
    """

    def check(_instance: Any, _attribute: Any, value: Any) -> None:
        if not least <= value <= most:
            raise ValueError(f"a number from {least} to {most}")

    return check


class Duration(float):
    """A span of time in seconds, written with units: ``500ms``, ``30s``, ``5m``,
    ``1h30m``, ``31d``.
    """

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a duration. :raises ValueError: if a unit is missing or unknown."""
        parts = re.findall(r"(\d{1,9}(?:\.\d{1,6})?)(ms|[smhd])", text, re.ASCII)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError("a duration with a unit, such as 500ms, 30s, 5m, 1h30m")
        return cls(sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts))

    def __str__(self) -> str:
        rest = round(self * 1000)
        parts = []
        for unit, size in (
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1000),
            ("ms", 1),
        ):
            number, rest = divmod(rest, size)
            if number:
                parts.append(f"{number}{unit}")
        return "".join(parts) or "0s"


class Size(int):
    """A number of bytes, written with a unit: ``512B``, ``16KiB``, ``10MiB``,
    ``10GiB``.
    """

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a size. :raises ValueError: if the unit is missing or unknown."""
        match = re.fullmatch(r"(\d{1,15}) ?(B|KiB|MiB|GiB|TiB)", text, re.ASCII)
        if match is None:
            raise ValueError("a size with a unit, such as 512B, 16KiB, 10MiB, 2GiB")
        return cls(int(match[1]) * _SIZE_UNITS[match[2]])

    def __str__(self) -> str:
        for unit, size in reversed(_SIZE_UNITS.items()):
            if self and self % size == 0:
                return f"{int(self) // size}{unit}"
        return "0B"


class Url(str):
    """An absolute ``http`` or ``https`` URL without credentials in it."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL.

        :raises ValueError: if it is not absolute, not HTTP, or carries credentials.
        """
        try:
            parts = urlsplit(text)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("a URL that begins with https:// or http://")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a URL without user name and password in it")
        return cls(text)


class Secret:
    """A text that no log, error or page can show: only :meth:`reveal` gives it away."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not text:
            raise ValueError("a secret that is not empty")
        self._text = text

    def reveal(self) -> str:
        """Return the text, at the place where it is used and nowhere else."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(********)"

    def __str__(self) -> str:
        return "********"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


@frozen
class NetworkAddress:
    """Where to listen: ``HOST:PORT``, ``[IPV6]:PORT``, or ``systemd:NAME`` for an
    activated socket.
    """

    host: str
    port: int
    systemd: str | None = None
    """Name of the activated socket (``FileDescriptorName=``), else None."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        :raises ValueError: if the host or the port is missing or wrong.
        """
        if match := re.fullmatch(r"systemd:([A-Za-z0-9_.-]+)", text):
            return cls("", 0, match[1])
        match = re.fullmatch(
            r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+)):(\d{1,5})", text, re.ASCII
        )
        if match is None or int(match[3]) > 65535:
            raise ValueError("an address such as 127.0.0.1:8443, [::]:8443 or systemd:webhook")
        return cls(match[1] or match[2], int(match[3]))

    def __str__(self) -> str:
        if self.systemd is not None:
            return f"systemd:{self.systemd}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Table = Mapping[str, str]
"""Type of a :func:`table` field."""
