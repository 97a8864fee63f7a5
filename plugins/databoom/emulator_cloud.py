"""What the emulated Databoom holds: devices, signals and their values, and the rules by which a push changes them.

A push is taken whole or refused whole. The rules that the vendor does not publish can be chosen, see :class:`Rules`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Literal

from attrs import define, field, frozen

from bridge.api import JSON, Value
from bridge_plugins.databoom.emulator_dates import parse_date

MOST_CHART_VALUES = 10_080  # vendor documentation

_DIGITS = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


class Refuse(Exception):
    """A request is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@define
class Rules:
    """How this Databoom behaves where the real one is not documented, or where a test wants it otherwise."""

    unknown_device: Literal["create", 404, 400] = "create"
    """What a push for a device that does not exist brings about; the real one does not create it."""
    validation_trap: bool = True
    """Whether values of a signal that is not validated are acknowledged and thrown away."""
    server_zone: tzinfo = timezone(timedelta(hours=1))
    """Zone in which dates without one are read."""
    duplicates: Literal["overwrite", "second row"] = "overwrite"
    """What a second value of a signal at one time does."""
    texts: bool = False
    """Whether values that are texts, not digits, are taken."""
    most_bytes: int = 100 << 10
    """Largest body; a larger one is answered 413."""
    most_signals: int | None = None
    """Most signals in a push in array form; more are answered 400."""
    keep_points: bool = True
    """Whether values are kept for reading back; off for long runs."""


@define
class Signal:
    """A time series of a device."""

    id: str
    """24 hexadecimal digits."""
    device: str
    """Device token."""
    token: str
    status: Literal["INIT", "ACTIVE"]
    meta: dict[str, JSON]
    """As given when it was created."""
    points: list[tuple[datetime, Value]] = field(factory=list)
    """In the order of arrival."""
    places: dict[datetime, int] = field(factory=dict)
    """Where in ``points`` a time first occurs."""
    last_value: Value | None = None
    last_time: datetime | None = None


@frozen
class Sent:
    """One value of a push."""

    signal: str
    value: Value
    time: datetime
    meta: JSON = None


class Cloud:
    """Everything that an account holds."""

    def __init__(self, rules: Rules, arrived: Callable[[str, str, Value, datetime], None] | None = None) -> None:
        self.rules = rules
        self.devices: dict[str, str] = {}
        """Device token to id."""
        self.signals: dict[tuple[str, str], Signal] = {}
        """By device token and signal token."""
        self._arrived = arrived
        self._ids = 0

    def add_device(self, token: str) -> None:
        """Create a device, as a person does it in Databoom."""
        self.devices.setdefault(token, self._new_id())

    def validate(self, device: str, signal: str) -> None:
        """Validate a signal, as a person does it in Databoom."""
        self.signals[device, signal].status = "ACTIVE"

    def points(self, device: str, signal: str) -> list[tuple[datetime, Value]]:
        """Give the recorded values of a signal in the order of arrival; none if there is no such signal."""
        known = self.signals.get((device, signal))
        return list(known.points) if known else []

    def push(self, document: JSON, now: datetime) -> list[Sent]:
        """Give the values of a push, in order. :raises Refuse: when it is not acceptable; nothing is changed."""
        if not isinstance(document, dict) or not isinstance(device := document.get("device"), str):
            raise Refuse(400, "device is missing")
        if device not in self.devices and self.rules.unknown_device != "create":
            raise Refuse(self.rules.unknown_device, "Device not found")
        match document.get("signals"):
            case list() as signals:
                date = self._date(document["date"]) if "date" in document else now
                if self.rules.most_signals is not None and len(signals) > self.rules.most_signals:
                    raise Refuse(400, "too many signals")
                return [self._sent(entry, _name(entry), date) for entry in signals]
            case dict() as signals:
                return list(self._history(signals))
        raise Refuse(400, "signals is missing")

    def store(self, device: str, sent: list[Sent], now: datetime) -> None:
        """Take the values of a push."""
        self.add_device(device)
        for one in sent:
            signal = self.signals.get((device, one.signal))
            if signal is None:
                status: Literal["INIT", "ACTIVE"] = "ACTIVE" if isinstance(one.meta, dict) else "INIT"
                signal = Signal(self._new_id(), device, one.signal, status, one.meta or {})
                self.signals[device, one.signal] = signal
            if signal.status == "ACTIVE" or not self.rules.validation_trap:
                self._record(signal, one, now)

    def listed(self, page: int, per_page: int) -> JSON:
        """Give the answer of the list of signals."""
        every = list(self.signals.values())
        shown = every[(page - 1) * per_page : page * per_page]
        pages = -(-len(every) // per_page)
        return {"data": [self._described(signal) for signal in shown], "pages": pages, "total_items": len(every)}

    def chart(self, ids: list[str], start: datetime, end: datetime) -> JSON:
        """Give the answer of a chart with every value."""
        charted: dict[str, JSON] = {}
        info: dict[str, JSON] = {}
        by_id = {signal.id: signal for signal in self.signals.values()}
        for id_ in ids:
            if id_ not in by_id:
                raise Refuse(404, "Signal not found")
            rows = sorted((row for row in by_id[id_].points if start <= row[0] <= end), key=lambda row: row[0])
            charted[id_] = [_charted(time, value) for time, value in rows[:MOST_CHART_VALUES]]
            info[id_] = {"granularity": "*", "overBound": len(rows) > MOST_CHART_VALUES}
        return charted | {"info": info}

    def _history(self, signals: dict[str, JSON]) -> Iterator[Sent]:
        for name, entry in signals.items():
            if not isinstance(entry, dict) or not isinstance(history := entry.get("history"), list):
                raise Refuse(400, f"history of {name} is missing")
            for point in history:
                if not isinstance(point, dict) or "date" not in point:
                    raise Refuse(400, f"history of {name} holds something else than dated values")
                yield self._sent(point, name, self._date(point["date"]))

    def _sent(self, entry: dict[str, JSON], name: str, time: datetime) -> Sent:
        value: JSON = entry.get("value")
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            value = float(value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number or (isinstance(value, str) and self.rules.texts):
            return Sent(name, value, time, entry.get("meta"))
        raise Refuse(400, f"value of {name} is not a number")

    def _date(self, value: JSON) -> datetime:
        date = parse_date(value, self.rules.server_zone)
        if date is None:
            raise Refuse(400, "Invalid date")
        return date

    def _record(self, signal: Signal, one: Sent, now: datetime) -> None:
        signal.last_value, signal.last_time = one.value, now
        if self.rules.keep_points:
            place = signal.places.setdefault(one.time, len(signal.points))
            if place < len(signal.points) and self.rules.duplicates == "overwrite":
                signal.points[place] = (one.time, one.value)
            else:
                signal.points.append((one.time, one.value))
        if self._arrived is not None:
            self._arrived(signal.device, signal.token, one.value, one.time)

    def _described(self, signal: Signal) -> JSON:
        device = {"_id": self.devices[signal.device], "device_token": signal.device, "description": "", "tags": []}
        return {
            "_id": signal.id,
            "device_token": signal.device,
            "signal_token": signal.token,
            "device": device,
            "description": signal.meta.get("description", ""),
            "status": signal.status,
            "last_recived_value": None if signal.last_value is None else str(signal.last_value),
            "last_conn": None if signal.last_time is None else _javascript(signal.last_time),
        }

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._ids:024x}"


def _name(entry: JSON) -> str:
    if not isinstance(entry, dict) or not isinstance(name := entry.get("name"), str) or not name:
        raise Refuse(400, "name of a signal is missing")
    return name


def _charted(time: datetime, value: Value) -> JSON:
    date = _javascript(time)
    row = {"_id": {"data": date}, "date": date, "value": value}
    return row if isinstance(value, str) else row | {"mean": value, "total_sum": value, "max_t": value, "min_t": value}


def _javascript(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
