"""Tokens: which device and signal of Databoom a reading belongs to.

    row of the devices file for this signal ─▶ both tokens, as written
    table ``devices``, or row of the devices file ─▶ device token, as written
    table ``signals`` ─▶ signal token, as written
    else template ─▶ text ─▶ token, with what a token cannot hold replaced

A token holds letters, digits, ``_`` and ``-`` and at most 64 of them (assumed; the
vendor publishes neither). Any other character becomes ``_``, a longer text is cut and
ends with a checksum of the whole. So two texts can give one token. The second of them
is refused: values of two things must not mix in one signal. Texts that are equal are no
collision, that is what the templates ask for; nor are two entries of a table that name
one token. What a token stands for is remembered across restarts, until a template or a
map is changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Literal, Protocol, TypeAlias

from attrs import frozen

from bridge.api import JSON, Event, Reading

DEVICE_FIELDS = frozenset({"device", "source", "kind"})
SIGNAL_FIELDS = DEVICE_FIELDS | {"signal"}
LABEL = "label."

MAX_TOKEN = 64
EXPECTED = f"expected a token of 1 to {MAX_TOKEN} letters, digits, _ and -"
"""Begins the sentences about a text that should be a token."""

NamedBy: TypeAlias = Literal["table", "file", "template"]
"""What named a device."""

_NO_TOKEN_CHARACTER = re.compile(r"[^A-Za-z0-9_-]")


class UndeliverableError(Exception):
    """A reading cannot be delivered as it is; the text says why and what to do."""


class UnmappedError(Exception):
    """A reading of a device that is in no map, and shall be left out."""


@frozen
class Template:
    """A text with fields such as ``{device}``."""

    literals: tuple[str, ...]
    """What stands before, between and after the fields: one more than there are fields.
    """
    fields: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, allowed: Collection[str]) -> Template:
        """Read a template. :raises ValueError: completing "expected ..."."""
        parts = re.split(r"\{([^{}]*)\}", text)
        literals, fields = tuple(parts[::2]), tuple(parts[1::2])
        if not text:
            raise ValueError("a text that is not empty")
        if any("{" in literal or "}" in literal for literal in literals):
            raise ValueError("a } for each {")
        for name in fields:
            if name not in allowed and not (name.startswith(LABEL) and name != LABEL):
                known = " ".join(f"{{{field}}}" for field in (*sorted(allowed), "label.KEY"))
                raise ValueError(f"fields out of {known}")
        return cls(literals, fields)

    def render(self, source: str, event: Event, reading: Reading | None = None) -> str:
        """Fill in the fields.

        :raises UndeliverableError: the device has no such label.
        """
        text = [self.literals[0]]
        for field, literal in zip(self.fields, self.literals[1:], strict=True):
            text += [_value(field, source, event, reading), literal]
        return "".join(text)


def _value(field: str, source: str, event: Event, reading: Reading | None) -> str:
    match field:
        case "device":
            return event.device
        case "source":
            return source
        case "kind":
            return event.kind
        case "signal":
            assert reading is not None
            return reading.signal
    key = field.removeprefix(LABEL)
    try:
        return event.labels[key]
    except KeyError:
        raise UndeliverableError(
            f"device {event.device!r} has no label {key!r}, which the template asks for; "
            "give it that label, or a line in the table of devices or signals"
        ) from None


def is_token(text: str) -> bool:
    """Return whether a text can be a token as it is."""
    return 0 < len(text) <= MAX_TOKEN and not _NO_TOKEN_CHARACTER.search(text)


def token_of(text: str) -> str:
    """Return a token for a text; the same text always gives the same token."""
    token = _NO_TOKEN_CHARACTER.sub("_", text)
    if len(token) <= MAX_TOKEN:
        return token
    checksum = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{token[: MAX_TOKEN - 9]}-{checksum}"


@frozen
class Target:
    """What a row of a devices file names.

    Its repr is part of the edition of a ledger: a change of it would make the sink
    forget what the tokens stand for.
    """

    device: str
    """Device token."""
    signal: str
    """Signal token; empty where the row is for the whole device."""


Targets: TypeAlias = Mapping[tuple[str, str], Target]
"""(vendor's device, vendor's signal or empty) to what it is in Databoom."""


@frozen
class Token:
    """A token, and what it stands for."""

    token: str
    text: str


@frozen
class ReadingTokens:
    """What a reading is in Databoom."""

    device: str
    """Device token."""
    device_text: str
    """What that token stands for."""
    signal: str
    signal_text: str
    how: NamedBy


class Claims(Protocol):
    """Remembers what each token stands for."""

    def get(self, key: tuple[str, ...]) -> JSON:
        """Return the text of (device token,) or (device token, signal token); None if
        nobody has claimed it.
        """
        ...

    def add(self, key: tuple[str, ...], value: JSON) -> None:
        """Remember the text."""
        ...


@frozen
class Tokens:
    """Gives readings their tokens, and keeps two texts from sharing one."""

    device: Template
    signal: Template
    devices: Mapping[str, str]
    signals: Mapping[str, str]
    targets: Targets
    """Of the devices file; go before the tables where they name a signal."""
    unmapped: Literal["send", "dead", "skip"]
    """What becomes of a device that is in no map."""
    reserved: str
    """Signal token of the heartbeat; empty if there is none."""
    claims: Claims

    @property
    def by_label(self) -> bool:
        """Whether a template asks for a label, so that two events of a device may have
        different tokens.
        """
        return any(name.startswith(LABEL) for name in (*self.device.fields, *self.signal.fields))

    def claim(self, source: str, event: Event, reading: Reading) -> tuple[str, str]:
        """Return device token and signal token, and remember what they stand for.

        :raises UndeliverableError: it has none.
        :raises UnmappedError: it shall be left out.
        """
        found = self.find(source, event, reading)
        self.claims.add((found.device,), found.device_text)
        self.claims.add((found.device, found.signal), found.signal_text)
        return found.device, found.signal

    def find(self, source: str, event: Event, reading: Reading) -> ReadingTokens:
        """Return what :meth:`claim` would. Remembers nothing."""
        device, how = self._find_device(source, event, reading)
        if row := self.targets.get((event.device, reading.signal)):
            signal = _as_written(row.signal)
        elif token := self.signals.get(reading.signal):
            signal = _as_written(token)
        else:
            signal = _by_template(self.signal.render(source, event, reading))
        if signal.token == self.reserved:
            raise UndeliverableError(
                f"{reading.signal!r} would become {signal.token!r}, the signal of the heartbeat; "
                "set heartbeat to another one, or add a line to the table of signals"
            )
        self._check((device.token,), device.text, "devices")
        self._check((device.token, signal.token), signal.text, "signals")
        return ReadingTokens(device.token, device.text, signal.token, signal.text, how)

    def _find_device(self, source: str, event: Event, reading: Reading) -> tuple[Token, NamedBy]:
        if row := self.targets.get((event.device, reading.signal)):
            return _as_written(row.device), "file"
        if token := self.devices.get(event.device):
            return _as_written(token), "table"
        if row := self.targets.get((event.device, "")):
            return _as_written(row.device), "file"
        if self.unmapped == "skip":
            raise UnmappedError
        if self.unmapped == "dead":
            raise UndeliverableError(
                f"device {event.device!r} is in no map and unmapped = dead; add it to devices or "
                "devices_file, restart, and replay"
            )
        return _by_template(self.device.render(source, event)), "template"

    def _check(self, claim: tuple[str, ...], text: str, table: str) -> None:
        token = claim[-1]
        if not token:
            raise UndeliverableError(
                f"the template gives an empty token; add a line to the table of {table}"
            )
        owner = self.claims.get(claim)
        if owner is not None and owner != text:
            raise UndeliverableError(
                f"{text!r} would become the token {token!r}, which stands for {owner!r} already; "
                f"add a line to the table of {table} for one of them"
            )


def _as_written(token: str) -> Token:
    return Token(token, token)


def _by_template(text: str) -> Token:
    return Token(token_of(text), text)
