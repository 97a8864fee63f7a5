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

from datetime import datetime

from attrs import Factory, define, frozen

from bridge.api import JSON, Event, Reading, shortened
from bridge.api.former import former_digests

from .events import UNKNOWN_DEVICE
from .jsonpath import JsonPath, Matches, find
from .keys import digest
from .mapping import MessageMapping
from .values import DroppedError, ValuePolicy

NO_MATCH = "no-match"


@frozen
class Understood:
    """What became of one body."""

    events: tuple[Event, ...]
    problems: tuple[str, ...] = ()
    """What a person should look at, in sentences that are the same each time."""


def mapped_events(
    mapping: MessageMapping, document: JSON, policy: ValuePolicy, now: datetime
) -> Understood:
    """Return the events of one body. :raises ValueError: if it is a bare value.

    The keys are made of the contents alone. A body that is sent twice is one event,
    whether it was a retry or, if bodies should carry no time of their own, a second
    alarm like the first: the schema that could tell is not published. Where a time is
    in them, if at all, the configuration says, which may change while the key stays: so
    none is the key's.
    """
    if not isinstance(document, dict | list):
        raise ValueError("expected an object or an array")  # noqa: TRY004  # as parse_json
    reader = _Reader(
        mapping, policy, now, _matches(mapping.device, document), _matches(mapping.time, document)
    )
    reader.read(document)
    reasons = sorted(reader.reasons)
    if mapping.signals and not reader.readings and not reasons:
        reasons = [NO_MATCH]
    # The reasons are in the key too, so that the same body, sent again when more is
    # understood, is not a duplicate.
    key = ":".join([mapping.kind, digest(document), *reasons])
    # They go once keys of version 1.0 are forgotten: a window after the upgrade.
    former = tuple(":".join([mapping.kind, each, *reasons]) for each in former_digests(document))
    labels = {"dropped": ",".join(reasons)} if reasons else {}
    groups = [(device, tuple(found)) for device, found in reader.readings.items()]
    device, readings = groups[0] if groups else (reader.first_device(), ())
    time = readings[0].time if readings else reader.first_time()
    whole = Event(key, device, mapping.kind, time, readings, labels, document, former_keys=former)
    parts = [
        Event(
            f"{key}:{number}",
            device,
            mapping.kind,
            readings[0].time,
            readings,
            {"part_of": key},
            former_keys=tuple(f"{each}:{number}" for each in former),
        )
        for number, (device, readings) in enumerate(groups[1:], 1)
    ]
    return Understood((whole, *parts), tuple(reader.problems))


@define
class _Reader:
    """Makes readings of one body, by device, and notes why others could not be made."""

    mapping: MessageMapping
    policy: ValuePolicy
    now: datetime
    devices: Matches
    times: Matches
    readings: dict[str, list[Reading]] = Factory(dict)
    reasons: set[str] = Factory(set)
    problems: dict[str, None] = Factory(dict)
    """Sentences, each once; a list would be searched through for each of a million
    matches.
    """

    def read(self, document: JSON) -> None:
        for signal, path in self.mapping.signals.items():
            for at, value in find(path, document).items():
                try:
                    device, time = self._device(at), self._time(at)
                    reading = Reading(signal, self._number(signal, value), time)
                except DroppedError as dropped:
                    self.reasons.add(dropped.reason)
                    if dropped.why:
                        self.problems[f"{self.mapping.kind}, signal {signal}: {dropped.why}"] = None
                else:
                    self.readings.setdefault(device, []).append(reading)

    def _device(self, at: tuple[int, ...]) -> str:
        path = self.mapping.device
        if path is None:
            return UNKNOWN_DEVICE
        device = _partner(path, self.devices, at)
        if not isinstance(device, str) or not device:
            why = f"there is no text at {path.text} ({self.mapping.kind}_device)"
            raise DroppedError("device", why)
        return device

    def _time(self, at: tuple[int, ...]) -> datetime:
        path = self.mapping.time
        if path is None:
            return self.now
        try:
            time = self.policy.moment_of(_partner(path, self.times, at))
        except ValueError:
            why = f"there is no time at {path.text} ({self.mapping.kind}_time)"
            raise DroppedError("time", why) from None
        self.policy.check_time(time, self.now)
        return time

    def _number(self, signal: str, value: JSON) -> int | float:
        """Return the number of a value, if it is one or was given one."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        if isinstance(value, dict | list):
            what = "object" if isinstance(value, dict) else "array"
            place = self.mapping.signals[signal].text
            why = f"there is an {what} at {place}; expected a number or a text"
            raise DroppedError(what, why)
        text = (
            value if isinstance(value, str) else {True: "true", False: "false", None: "null"}[value]
        )
        number = self.mapping.number_of(signal, text)
        if number is None and isinstance(value, bool) and self.policy.booleans == "number":
            number = int(value)
        if number is None:
            why = f"{shortened(text)!r} has no number; add it to {self.mapping.kind}_numbers"
            raise DroppedError("text", why)
        return number

    def first_device(self) -> str:
        return next(
            (device for device in self.devices.values() if isinstance(device, str) and device),
            UNKNOWN_DEVICE,
        )

    def first_time(self) -> datetime:
        for value in self.times.values():
            try:
                return self.policy.moment_of(value)
            except ValueError:
                continue
        return self.now


def _matches(path: JsonPath | None, document: JSON) -> Matches:
    return {} if path is None else find(path, document)


def _partner(path: JsonPath, matches: Matches, at: tuple[int, ...]) -> JSON:
    """Return the match that belongs to the same elements of the same lists; None if
    there is none.
    """
    return matches.get(at[: len(path.lists)])
