"""What came by: every signal of every vendor device, with its newest value, for
``bridged databoom map``.

Which signals there are is remembered across restarts, with what the templates may ask
for; values are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from attrs import define

from bridge.api import JSON, Event, Reading, Stored, Value

from .ledger import Ledger
from .tokens import Names, Unfit, Unmapped

MAX_VALUE = 60  # characters of a text that are shown
MAX_LABELS = 16  # of a device, that are remembered
NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # no template asks for the time

Key = tuple[str, str, str]
"""Source, vendor's device, vendor's signal."""


@define(eq=False)
class Last:
    """The newest reading of a signal."""

    value: Value
    time: datetime
    kind: str
    labels: Mapping[str, str]


class Seen:
    """Remembers what came by."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._last: dict[Key, Last] = {}

    def notice(self, events: Iterable[Stored]) -> None:
        """Take note of the readings of events."""
        for stored in events:
            event = stored.event
            for reading in event.readings:
                self._note((stored.source, event.device, reading.signal), event, reading)

    def _note(self, key: Key, event: Event, reading: Reading) -> None:
        last = self._last.get(key)
        if last is not None and key in self._ledger:
            last.value, last.time, last.kind, last.labels = (
                reading.value,
                reading.time,
                event.kind,
                event.labels,
            )
            return
        self._last[key] = Last(reading.value, reading.time, event.kind, event.labels)
        self._ledger.add(key, [event.kind, dict(list(event.labels.items())[:MAX_LABELS])])
        while len(self._last) > len(self._ledger):
            del self._last[next(iter(self._last))]  # the ledger has forgotten its oldest

    def rows(self, names: Names, after: Key | None, most: int) -> list[JSON]:
        """Describe signals in the order of their keys: what was seen, and how it is
        mapped.

        :param after: the last key that the asker has; None to begin.
        """
        keys = sorted(key for key in self._ledger if after is None or key > after)
        return [self._row(key, names) for key in keys[:most]]

    def _row(self, key: tuple[str, ...], names: Names) -> JSON:
        source, device, signal = key
        last = self._last.get((source, device, signal))
        kind, labels = (last.kind, last.labels) if last else self._ledger.get(key)
        row: dict[str, JSON] = {
            "source": source,
            "device": device,
            "signal": signal,
            "value": None,
            "time": None,
        }
        time = NEVER
        if last is not None:
            value = last.value
            row["value"] = value[:MAX_VALUE] if isinstance(value, str) else value
            row["time"] = last.time.isoformat(timespec="seconds")
            time = last.time
        try:
            named = names.look(
                source, Event("", device, kind, time, labels=labels), Reading(signal, 0, time)
            )
        except Unfit as exc:
            return row | {"how": "none", "why": str(exc)}
        except Unmapped:
            return row | {"how": "none", "why": "it is in no map, and unmapped = skip"}
        return row | {"how": named.how, "device_token": named.device, "signal_token": named.signal}
