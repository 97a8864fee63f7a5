"""Names: which device and signal of Databoom a reading belongs to.

table ``devices`` or ``signals`` ──▶ token, as written
template ──▶ text ──▶ token, with what a token cannot hold replaced

A token holds letters, digits, ``_`` and ``-`` and at most 64 of them (assumed; the vendor publishes neither). Any other
character becomes ``_``, a longer text is cut and ends with a checksum of the whole. So two texts can give one token.
The second of them is refused: values of two things must not mix in one signal. Texts that are equal are no collision,
that is what the templates ask for; nor are two entries of a table that name one token.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from hashlib import sha256

from attrs import frozen

from bridge.api import Event, Reading, Stored

DEVICE_FIELDS = frozenset({"device", "source", "kind"})
SIGNAL_FIELDS = DEVICE_FIELDS | {"signal"}
LABEL = "label."

LONGEST_TOKEN = 64
MOST_TOKENS = 100_000  # bounds the memory of a sink that runs for months

_NO_TOKEN_CHARACTER = re.compile(r"[^A-Za-z0-9_-]")


class Unfit(Exception):
    """A reading cannot be delivered as it is; the text says why and what to do."""


@frozen
class Template:
    """A text with fields such as ``{device}``."""

    literals: tuple[str, ...]
    """What stands before, between and after the fields: one more than there are fields."""
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
        """Fill in the fields. :raises Unfit: when the device has no such label."""
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
        raise Unfit(
            f"device {event.device!r} has no label {key!r}, which the template asks for; "
            "give it that label, or a line in the table of devices or signals"
        ) from None


def is_token(text: str) -> bool:
    """Tell whether a text can be a token as it is."""
    return 0 < len(text) <= LONGEST_TOKEN and not _NO_TOKEN_CHARACTER.search(text)


def token_of(text: str) -> str:
    """Make a token of a text; the same text always gives the same token."""
    token = _NO_TOKEN_CHARACTER.sub("_", text)
    if len(token) <= LONGEST_TOKEN:
        return token
    checksum = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{token[: LONGEST_TOKEN - 9]}-{checksum}"


class Names:
    """Gives tokens, and remembers which text each of them stands for, as long as the sink is open."""

    def __init__(self, device: str, signal: str, devices: Mapping[str, str], signals: Mapping[str, str]) -> None:
        self._device = Template.parse(device, DEVICE_FIELDS)
        self._signal = Template.parse(signal, SIGNAL_FIELDS)
        self._devices = devices
        self._signals = signals
        self._texts: dict[tuple[str, ...], str] = {}

    def device_of(self, stored: Stored) -> str:
        """Give the device token of an event. :raises Unfit: when it has none."""
        if token := self._devices.get(stored.event.device):
            return self._claim((token,), token, "devices")
        text = self._device.render(stored.source, stored.event)
        return self._claim((token_of(text),), text, "devices")

    def signal_of(self, device: str, stored: Stored, reading: Reading) -> str:
        """Give the signal token of a reading of a device. :raises Unfit: when it has none."""
        if token := self._signals.get(reading.signal):
            return self._claim((device, token), token, "signals")
        text = self._signal.render(stored.source, stored.event, reading)
        return self._claim((device, token_of(text)), text, "signals")

    def _claim(self, place: tuple[str, ...], text: str, table: str) -> str:
        token = place[-1]
        if not token:
            raise Unfit(f"the template gives an empty token; add a line to the table of {table}")
        owner = self._texts.setdefault(place, text)
        if owner != text:
            raise Unfit(
                f"{text!r} would become the token {token!r}, which stands for {owner!r} already; "
                f"add a line to the table of {table} for one of them"
            )
        if len(self._texts) > MOST_TOKENS:
            del self._texts[next(iter(self._texts))]
        return token
