"""What an event or an alarm says in numbers, as the configuration says and not
otherwise.

    [source:towers]
    alarm_device = $.deviceId        # default: the device is unknown
    alarm_time = $.timestamp         # default: the time of receipt

    [source:towers:alarm_signals]    # signal = where in the alarm
    alarm-status = $.status
    alarm-severity = $.severity

    [source:towers:alarm_numbers]    # text = number; SIGNAL.text = number for one
    open = 1
    closed = 0
    alarm-severity.critical = 2

Likewise with ``event_``. The bodies of events and alarms are not published, so there is
no default, and a text that is not in the table is no number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from attrs import frozen

from bridge.api import SettingError, Table

from .jsonpath import JsonPath, compile_path
from .values import number_in

MessageKind: TypeAlias = Literal["event", "alarm"]


@frozen
class MessageMapping:
    """How messages of one kind are read."""

    kind: MessageKind
    signals: Mapping[str, JsonPath]
    numbers: Mapping[str, int | float]
    """By text, or by signal, a dot and the text."""
    device: JsonPath | None
    time: JsonPath | None

    def number_of(self, signal: str, text: str) -> int | float | None:
        """Return the number that a text means for a signal; None if nobody said."""
        return self.numbers.get(f"{signal}.{text}", self.numbers.get(text))


def compile_mapping(
    kind: MessageKind, signals: Table, numbers: Table, device: str | None, time: str | None
) -> MessageMapping:
    """Return how one kind of message is read, from its settings.

    :raises SettingError: for a path that is none, a number that is none, or a device
        that is in another list than the signal.
    """
    mapping = MessageMapping(
        kind,
        {name: _path(f"{kind}_signals", f"{name} = ", text) for name, text in signals.items()},
        {text: _number(f"{kind}_numbers", text, number) for text, number in numbers.items()},
        None if device is None else _path(f"{kind}_device", "", device),
        None if time is None else _path(f"{kind}_time", "", time),
    )
    if numbers and not signals:
        raise SettingError(
            f"{kind}_numbers",
            f"has no use without {kind}_signals, which says what is to be a number",
        )
    for name, path in mapping.signals.items():
        for setting, other in ((f"{kind}_device", mapping.device), (f"{kind}_time", mapping.time)):
            if other is not None and other.lists != path.lists[: len(other.lists)]:
                raise SettingError(
                    setting,
                    f"expected a path through the lists [*] of signal {name} ({path.text}) "
                    f"or outside of them, got {other.text!r}: it would not be known which "
                    "belongs to which",
                )
    return mapping


def _path(setting: str, before: str, text: str) -> JsonPath:
    try:
        return compile_path(text)
    except ValueError as exc:
        raise SettingError(setting, f"expected {exc}, got {before + text!r}") from None


def _number(setting: str, text: str, number: str) -> int | float:
    found = number_in(number)
    if found is None:
        raise SettingError(setting, f"expected a number, got {f'{text} = {number}'!r}")
    return found
