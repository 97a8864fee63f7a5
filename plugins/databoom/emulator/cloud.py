"""What the emulator holds: devices, signals and their values, and the rules by which a
push changes them.

A push is taken whole or refused whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Literal

from bridge.api import JSON, Value

from .dates import javascript, parse_date
from .model import Pushed, RefusedError, Rules, Sent, Signal

SILENCE = timedelta(hours=1)  # after which a device is flagged (vendor documentation)
_DIGITS = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


class Cloud:
    """Everything that an account holds."""

    def __init__(
        self, rules: Rules, arrived: Callable[[str, str, Value, datetime], None] | None = None
    ) -> None:
        self.rules = rules
        self.devices: dict[str, str] = {}
        """Device token to id."""
        self.signals: dict[tuple[str, str], Signal] = {}
        """By device token and signal token."""
        self.templates: dict[str, tuple[str, ...]] = {}
        """Template token to its signals."""
        self._last_push: dict[str, datetime] = {}
        self._arrived = arrived
        self._ids = 0

    def add_device(self, token: str) -> None:
        """Create a device, as a person does it in Databoom."""
        self.devices.setdefault(token, self._new_id())

    def add_template(self, token: str, *signals: str) -> None:
        """Create a template, or change its signals, as a person does it in Databoom."""
        self.templates[token] = signals

    def validate(self, device: str, signal: str) -> None:
        """Validate a signal, as a person does it in Databoom."""
        self.signals[device, signal].status = "ACTIVE"

    def points(self, device: str, signal: str) -> list[tuple[datetime, Value]]:
        """Return the recorded values of a signal in the order of arrival; none if there
        is no such signal.
        """
        known = self.signals.get((device, signal))
        return list(known.points) if known else []

    def push(self, document: JSON, now: datetime) -> Pushed:
        """Understand a push in array form or history form. Changes nothing.

        :raises RefusedError: when it is not acceptable.
        """
        if not isinstance(document, dict) or not isinstance(device := document.get("device"), str):
            raise RefusedError(400, "device is missing")
        if device not in self.devices and self.rules.unknown_device != "create":
            raise RefusedError(self.rules.unknown_device, "Device not found")
        if isinstance(signals := document.get("signals"), dict):
            return Pushed(device, tuple(self._history(signals)))
        return Pushed(device, self._moment(document, now))

    def push_template(self, document: JSON, unique: str, now: datetime) -> list[Pushed]:
        """Understand a push in template form.

        Changes nothing. :raises RefusedError: when it is not acceptable.
        """
        if not isinstance(document, dict) or document.get("type") != "data":
            raise RefusedError(400, "type is not data")
        entries = document.get("message")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise RefusedError(400, "message is missing")
        pushed: dict[str, Pushed] = {}
        for entry in entries:
            template = entry.get("template")
            if not isinstance(template, str) or template not in self.templates:
                raise RefusedError(self.rules.unknown_template, "Template not found")
            if template in pushed:
                raise RefusedError(400, "entries for one device")
            signals = self.templates[template]
            pushed[template] = Pushed(f"{template}-{unique}", self._moment(entry, now), signals)
        return list(pushed.values())

    def store(self, push: Pushed, now: datetime) -> None:
        """Store the values of a push, and make the device and signals that it names."""
        self.add_device(push.device)
        self._last_push[push.device] = now
        for token in push.template:
            self._signal(push.device, token, {}, "ACTIVE")
        for one in push.sent:
            described = isinstance(one.meta, dict)
            signal = self._signal(
                push.device, one.signal, one.meta or {}, "ACTIVE" if described else "INIT"
            )
            if signal.log_on and (signal.status == "ACTIVE" or not self.rules.validation_trap):
                self._record(signal, one, now)

    def _signal(
        self, device: str, token: str, meta: dict[str, JSON], status: Literal["INIT", "ACTIVE"]
    ) -> Signal:
        """Return a signal, made if it is not there: description and status matter only
        then.
        """
        signal = self.signals.get((device, token))
        if signal is None:
            signal = self.signals[device, token] = Signal(
                self._new_id(), device, token, status, meta
            )
        return signal

    def create_signal(self, asked: dict[str, JSON]) -> Signal:
        """Create a signal as ``POST /v1/signals/`` does.

        :raises RefusedError: when it is not acceptable.
        """
        token, status = asked.get("signal_token"), asked.get("status", "INIT")
        device = self.device_of(asked.get("device"))
        if not isinstance(token, str) or not token or not isinstance(asked.get("type"), str):
            raise RefusedError(400, "signal_token or type is missing")
        if (device, token) in self.signals:
            raise RefusedError(400, "signal_token is in use")
        if status not in ("INIT", "ACTIVE"):
            raise RefusedError(400, "status is not known")
        return self._signal(device, token, {"description": asked.get("description", "")}, status)

    def update_signal(self, id_: str, asked: dict[str, JSON]) -> Signal:
        """Change a signal as ``PUT /v1/signals/ID`` does; of the settings only
        ``log_on``.
        """
        signal = self.signal_of(id_)
        if not isinstance(log_on := asked.get("log_on"), bool):
            raise RefusedError(400, "log_on is missing")
        signal.log_on = log_on
        return signal

    def signal_of(self, id_: JSON) -> Signal:
        """Return the signal with an id. :raises RefusedError: 404 if there is none."""
        for signal in self.signals.values():
            if signal.id == id_:
                return signal
        raise RefusedError(404, "Signal not found")

    def device_of(self, id_: JSON) -> str:
        """Return the token of a device. :raises RefusedError: 404 if there is none."""
        for token, known in self.devices.items():
            if known == id_:
                return token
        raise RefusedError(404, "Device not found")

    def listed(self, page: int, per_page: int, now: datetime) -> JSON:
        """Return a page of the list of signals."""
        every = list(self.signals.values())
        shown = every[(page - 1) * per_page : page * per_page]
        last = -(-len(every) // per_page)
        answer: dict[str, JSON] = {"data": [self.described(signal, now) for signal in shown]}
        match self.rules.pages:
            case "number":
                answer["pages"] = last
            case "object":
                answer["pages"] = {
                    "first": 1,
                    "prev": max(page - 1, 1),
                    "next": min(page + 1, last),
                    "last": last,
                }
        return answer | {"total_items": len(every)}

    def every_signal(self, now: datetime) -> JSON:
        """Return all signals, as ``/all`` does."""
        return [self.described(signal, now) for signal in self.signals.values()]

    def every_device(self, now: datetime) -> JSON:
        """Return all devices, as ``/all`` does."""
        return [self.described_device(token, now) for token in self.devices]

    def _moment(self, entry: dict[str, JSON], now: datetime) -> tuple[Sent, ...]:
        signals = entry.get("signals")
        if not isinstance(signals, list):
            raise RefusedError(400, "signals is missing")
        date = self._date(entry["date"]) if "date" in entry else now
        if self.rules.most_signals is not None and len(signals) > self.rules.most_signals:
            raise RefusedError(self.rules.too_many, "too many signals")
        return tuple(self._sent(one, _name(one), date) for one in signals)

    def _history(self, signals: dict[str, JSON]) -> Iterator[Sent]:
        for name, entry in signals.items():
            if not isinstance(entry, dict) or not isinstance(history := entry.get("history"), list):
                raise RefusedError(400, f"history of {name} is missing")
            for point in history:
                if not isinstance(point, dict) or "date" not in point:
                    raise RefusedError(
                        400, f"history of {name} holds something else than dated values"
                    )
                yield self._sent(point, name, self._date(point["date"]))

    def _sent(self, entry: dict[str, JSON], name: str, time: datetime) -> Sent:
        value: JSON = entry.get("value")
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            value = float(value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number or (isinstance(value, str) and self.rules.texts):
            return Sent(name, value, time, entry.get("meta"))
        raise RefusedError(400, f"value of {name} is not a number")

    def _date(self, value: JSON) -> datetime:
        date = parse_date(value, self.rules.server_zone)
        if date is None:
            raise RefusedError(400, "Invalid date")
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

    def described(self, signal: Signal, now: datetime) -> JSON:
        """Describe a signal as the lists do."""
        return {
            "_id": signal.id,
            "device_token": signal.device,
            "signal_token": signal.token,
            "device": self.described_device(signal.device, now),
            "description": signal.meta.get("description", ""),
            "status": signal.status,
            "log_on": signal.log_on,
            "last_recived_value": None if signal.last_value is None else str(signal.last_value),
            "last_conn": None if signal.last_time is None else javascript(signal.last_time),
        }

    def described_device(self, token: str, now: datetime) -> JSON:
        """Describe a device as the lists do: flagged if it is silent for an hour."""
        last = self._last_push.get(token)
        heard = "Active" if last is not None and now - last < SILENCE else "Communication error"
        status = "Initialization" if last is None else heard
        return {
            "_id": self.devices[token],
            "description": "",
            "device_token": token,
            "com_status": status,
            "tags": [],
        }

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._ids:024x}"


def _name(entry: JSON) -> str:
    if not isinstance(entry, dict) or not isinstance(name := entry.get("name"), str) or not name:
        raise RefusedError(400, "name of a signal is missing")
    return name
