"""Events and alarms: kept whole, and read only where the configuration says how. Pure,
given the time.

one body ─▶ one event with all of it, and with the readings of the first device
            one event more for each further device that the mapping found in it

Vendor documentation publishes no fields of events and alarms. A reading that cannot be
made (a text that nobody gave a number, a device or a time that is not where it should
be) is none; the event carries the reasons in the label ``dropped``, and what a person
should do about it is said in a sentence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

from attrs import Factory, define, frozen

from bridge.api import JSON, Event, Reading

from ..settings import Settings
from ..texts import UNKNOWN_DEVICE, canonical, shortened
from .jsonpath import JsonPath, Matches, find
from .mapping import MessageMapping
from .values import Dropped, moment_of

NO_MATCH = "no-match"


@frozen
class Understood:
    """What became of one body."""

    events: tuple[Event, ...]
    problems: tuple[str, ...] = ()
    """What a person should look at, in sentences that are the same each time."""


@define
class _Found:
    """Readings by device, and why others could not be made."""

    readings: dict[str, list[Reading]] = Factory(dict)
    reasons: set[str] = Factory(set)
    problems: dict[str, None] = Factory(dict)
    """Sentences, each once; a list would be searched through for each of a million
    matches.
    """

    def drop(self, dropped: Dropped, where: str) -> None:
        self.reasons.add(dropped.reason)
        if dropped.why:
            self.problems[f"{where}: {dropped.why}"] = None


def opaque_events(
    mapping: MessageMapping, document: JSON, settings: Settings, now: datetime
) -> Understood:
    """Give the events of one body. :raises ValueError: if it is a bare value.

    The keys are made of the body alone. A body that is sent twice is one event, whether
    it was a retry or, if bodies should carry no time of their own, a second alarm like
    the first: the schema that could tell is not published.
    """
    if not isinstance(document, dict | list):
        raise ValueError("expected an object or an array")  # noqa: TRY004  # as parse_json says it of other texts
    devices, times = _matches(mapping.device, document), _matches(mapping.time, document)
    found = _readings(mapping, document, devices, times, settings, now)
    if mapping.signals and not found.readings:
        found.reasons = found.reasons or {NO_MATCH}
    # The reasons are in the key too, so that the same body, sent again when more is
    # understood, is not a duplicate.
    digest = hashlib.sha256(canonical(document)).hexdigest()
    key = ":".join([mapping.kind, digest, *sorted(found.reasons)])
    labels = {"dropped": ",".join(sorted(found.reasons))} if found.reasons else {}
    groups = list(found.readings.items()) or [(_first_device(devices), [])]
    events = []
    for number, (device, readings) in enumerate(groups):
        time = readings[0].time if readings else _first_time(times, settings, now)
        whole = Event(key, device, mapping.kind, time, tuple(readings), labels, document)
        part = Event(
            f"{key}:{number}", device, mapping.kind, time, tuple(readings), {"part_of": key}
        )
        events.append(part if number else whole)
    return Understood(tuple(events), tuple(found.problems))


def _readings(
    mapping: MessageMapping,
    document: JSON,
    devices: Matches,
    times: Matches,
    settings: Settings,
    now: datetime,
) -> _Found:
    found = _Found()
    for signal, path in mapping.signals.items():
        for at, value in find(path, document).items():
            try:
                device = _device(mapping, devices, at)
                time = _time(mapping, times, at, settings, now)
                number = _number(mapping, signal, value, settings)
            except Dropped as dropped:
                found.drop(dropped, f"{mapping.kind}, signal {signal}")
            else:
                found.readings.setdefault(device, []).append(Reading(signal, number, time))
    return found


def _matches(path: JsonPath | None, document: JSON) -> Matches:
    return {} if path is None else find(path, document)


def _partner(path: JsonPath, matches: Matches, at: tuple[int, ...]) -> JSON:
    """Give the match that belongs to the same elements of the same lists; None if there
    is none.
    """
    return matches.get(at[: len(path.lists)])


def _device(mapping: MessageMapping, devices: Matches, at: tuple[int, ...]) -> str:
    if mapping.device is None:
        return UNKNOWN_DEVICE
    device = _partner(mapping.device, devices, at)
    if not isinstance(device, str) or not device:
        raise Dropped(
            "device", f"there is no text at {mapping.device.text} ({mapping.kind}_device)"
        )
    return device


def _time(
    mapping: MessageMapping, times: Matches, at: tuple[int, ...], settings: Settings, now: datetime
) -> datetime:
    if mapping.time is None:
        return now
    try:
        time = moment_of(_partner(mapping.time, times, at), settings.timestamp_unit)
    except ValueError:
        raise Dropped(
            "time", f"there is no time at {mapping.time.text} ({mapping.kind}_time)"
        ) from None
    if (time - now).total_seconds() > settings.future_limit:
        raise Dropped("future")  # as of a value: no setting helps against a wrong clock over there
    return time


def _number(mapping: MessageMapping, signal: str, value: JSON, settings: Settings) -> int | float:
    """Give the number of a value. Only what is a number, or was given one, has one."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, dict | list):
        what = "object" if isinstance(value, dict) else "array"
        raise Dropped(
            what,
            f"there is an {what} at {mapping.signals[signal].text}; expected a number or a text",
        )
    text = value if isinstance(value, str) else {True: "true", False: "false", None: "null"}[value]
    number = mapping.number_of(signal, text)
    if number is None and isinstance(value, bool) and settings.booleans == "number":
        number = int(value)
    if number is None:
        raise Dropped(
            "text", f"{shortened(text)!r} has no number; add it to {mapping.kind}_numbers"
        )
    return number


def _first_device(devices: Matches) -> str:
    return next(
        (device for device in devices.values() if isinstance(device, str) and device),
        UNKNOWN_DEVICE,
    )


def _first_time(
    times: Mapping[tuple[int, ...], JSON], settings: Settings, now: datetime
) -> datetime:
    for value in times.values():
        try:
            return moment_of(value, settings.timestamp_unit)
        except ValueError:
            continue
    return now
