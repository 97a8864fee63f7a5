"""What came by: every signal of every vendor device, with its newest value, for
``bridged databoom map``.

Which signals there are is remembered across restarts, with what the templates may ask
for; values are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from attrs import define

from bridge.api import JSON, BoundedDict, Event, Reading, Stored, Value

from .ledger import Ledger
from .tokens import Tokens, UndeliverableError, UnmappedError

MAX_ROWS = 500  # of the map, in one answer
MAX_VALUE = 60  # characters of a text that are shown
MAX_LABELS = 16  # of a device, that are remembered
NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # no template asks for the time

SeenKey: TypeAlias = tuple[str, str, str]
"""Source, vendor's device, vendor's signal."""


@define(eq=False)
class _Newest:
    """The newest reading of a signal."""

    value: Value
    time: datetime
    kind: str
    labels: Mapping[str, str]


class SignalsSeen:
    """Remembers what came by.

    :param tokens: tells how it is mapped now.
    """

    def __init__(self, ledger: Ledger, tokens: Tokens) -> None:
        self._ledger = ledger
        self._tokens = tokens
        self._newest: BoundedDict[SeenKey, _Newest] = BoundedDict(ledger.size)

    def add(self, events: Iterable[Stored]) -> None:
        """Remember the readings of events."""
        for stored in events:
            event = stored.event
            for reading in event.readings:
                key = stored.source, event.device, reading.signal
                self._newest[key] = _Newest(reading.value, reading.time, event.kind, event.labels)
                if key not in self._ledger:
                    labels = dict(list(event.labels.items())[:MAX_LABELS])
                    self._ledger.add(key, [event.kind, labels])

    async def answer_map(self, arguments: JSON) -> JSON:
        """Answer the request ``map``.

        :param arguments: ``{"after": [source, device, signal]}``, the last row that the
            asker has, or ``{"after": None}`` to begin.
        :returns: ``{"rows": [...]}``; no rows: there are no more.
        """
        after = arguments.get("after") if isinstance(arguments, Mapping) else None
        key = None
        if isinstance(after, list) and len(after) == 3:
            key = str(after[0]), str(after[1]), str(after[2])
        keys = sorted(each for each in self._ledger if key is None or each > key)
        return {"rows": [self._row(each) for each in keys[:MAX_ROWS]]}

    def _row(self, key: tuple[str, ...]) -> JSON:
        source, device, signal = key
        newest = self._newest.get((source, device, signal))
        row: dict[str, JSON] = {
            "source": source,
            "device": device,
            "signal": signal,
            "value": None,
            "time": None,
        }
        time = NEVER
        if newest is None:
            kind, labels = self._ledger.get(key)
        else:
            kind, labels, time = newest.kind, newest.labels, newest.time
            value = newest.value
            row["value"] = value[:MAX_VALUE] if isinstance(value, str) else value
            row["time"] = time.isoformat(timespec="seconds")
        event = Event("", device, kind, time, labels=labels)
        try:
            found = self._tokens.find(source, event, Reading(signal, 0, time))
        except UndeliverableError as exc:
            return row | {"how": "none", "why": str(exc)}
        except UnmappedError:
            return row | {"how": "none", "why": "it is in no map, and unmapped = skip"}
        return row | {"how": found.how, "device_token": found.device, "signal_token": found.signal}
