"""Emulator: makers of events in the documented shapes, and an endless random mix of
them.

    data_point("dev/metrics/level", 1.5, time=now, random=random)        one event
    random_occurrences(random, now)                                      many, the same for the same seed

Names and types of fields follow vendor documentation and recorded traffic; the topics
of AlarmStatus and the words of ``alert_status`` are assumed.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import datetime
from random import Random
from typing import Any
from urllib.parse import quote_plus
from uuid import UUID

from ..account import iso
from .topics import CUSTOMER, Occurrence

STREAM_TYPES = (
    "INTEGER",
    "LONG",
    "FLOAT",
    "DOUBLE",
    "STRING",
    "BINARY",
    "JSON",
    "GEOJSON",
    "UNKNOWN",
)
RESET, TRIGGERED, ACKNOWLEDGED = 0, 1, 2
"""States of an alarm."""


def device_id(number: int) -> str:
    """Give the id of a device with the number as the end of its MAC address."""
    return f"00000000-00000000-00409DFF-FF{number:06X}"


def milliseconds(time: datetime) -> int:
    """Give a time as data points write it."""
    return round(time.timestamp() * 1000)


def data_point(
    stream: str,
    data: Any,
    *,
    time: datetime,
    random: Random,
    stream_type: str | None = "DOUBLE",
    units: str = "",
    **fields: Any,
) -> Occurrence:
    """Measure something.

    ``fields`` replace or add; what is None is left out, as old servers leave out the
    type.
    """
    entity = {
        "cstId": int(CUSTOMER),
        "id": str(UUID(int=random.getrandbits(128), version=1)),
        "streamId": stream,
        "streamType": stream_type,
        "streamUnits": units,
        "data": data,
        "timestamp": milliseconds(time),
        "serverTimestamp": milliseconds(time),
        "quality": 0,
        "description": "",
        **fields,
    }
    present = {name: value for name, value in entity.items() if value is not None}
    return Occurrence(f"DataPoint/{stream}", "DataPoint", present, "INSERTION")


def random_data(stream_type: str, random: Random) -> Any:
    """Give a value that fits a stream type.

    Numbers are JSON numbers; LONG goes beyond 2^53.
    """
    match stream_type:
        case "INTEGER":
            return random.randint(-(2**31), 2**31 - 1)
        case "LONG":
            return random.choice((-1, 1)) * (2**53 + 1 + random.getrandbits(61))
        case "FLOAT":
            return round(random.uniform(-100, 100), 4)
        case "DOUBLE":
            return random.uniform(-1e6, 1e6)
        case "BINARY":
            return b64encode(random.randbytes(12)).decode()
        case "JSON":
            return json.dumps({"level": random.randint(0, 9), "ok": True})
        case "GEOJSON":
            return json.dumps(
                {"type": "Point", "coordinates": [round(random.uniform(-90, 90), 4), 51.51]}
            )
        case _:
            return random.choice(("idle", "grün", "läuft & pumpt", "<open>", ""))


def device_core(
    number: int, *, connected: bool, time: datetime, operation: str = "UPDATE"
) -> Occurrence:
    """Let a device connect, disconnect, appear (INSERTION) or go (DELETE)."""
    since = "2024-01-01T08:00:00.000Z"
    entity = {
        "id": {"devId": 7200 + number, "devVersion": 0},
        "cstId": int(CUSTOMER),
        "grpId": int(CUSTOMER),
        "devConnectwareId": device_id(number),
        "devMac": f"00:40:9D:{number >> 16 & 255:02X}:{number >> 8 & 255:02X}:{number & 255:02X}",
        "dpConnectionStatus": int(connected),
        "dpDeviceType": "unknown",
        "dpFirmwareLevel": 0,
        "dpRestrictedStatus": 0,
        "dpCapabilities": 0,
        "devTerminated": operation == "DELETE",
        "dpLastConnectTime" if connected else "dpLastDisconnectTime": iso(time),
        "devEffectiveStartDate": since,
        "devRecordStartDate": since,
    }
    return Occurrence(f"DeviceCore/{7200 + number}/0", "DeviceCore", entity, operation)


def file_data(
    path: str,
    name: str,
    content: bytes,
    *,
    time: datetime,
    operation: str = "INSERTION",
    media: str = "text/plain",
) -> Occurrence:
    """Store a file. ``path`` begins and ends with a slash."""
    entity = {**_file(path, name, len(content), time, media), "fdData": b64encode(content).decode()}
    return Occurrence(_file_topic("FileData", path, name), "FileData", entity, operation)


def file_data_core(
    path: str, name: str, size: int, *, time: datetime, operation: str = "INSERTION"
) -> Occurrence:
    """Tell of a file without its content."""
    entity = _file(path, name, size, time, "text/plain")
    return Occurrence(_file_topic("FileDataCore", path, name), "FileDataCore", entity, operation)


def _file(path: str, name: str, size: int, time: datetime, media: str) -> dict[str, Any]:
    return {
        "id": {"fdPath": path, "fdName": name},
        "cstId": int(CUSTOMER),
        "fdType": "file",
        "fdContentType": media,
        "fdSize": size,
        "fdArchive": False,
        "fdCreatedDate": iso(time),
        "fdLastModifiedDate": iso(time),
    }


def _file_topic(kind: str, path: str, name: str) -> str:
    return "/".join([kind, *(quote_plus(part) for part in f"{path.strip('/')}/{name}".split("/"))])


def alarm_status(
    alarm: int, status: int, *, number: int, signal: str, time: datetime
) -> Occurrence:
    """Let an alarm on a signal of a device be triggered, acknowledged or reset."""
    source = f"{device_id(number)}/{signal}"
    entity = {
        "id": {"almId": alarm, "almsSourceEntityId": source},
        "cstId": int(CUSTOMER),
        "almsStatus": status,
        "almsUpdateTime": iso(time),
        "almsPayload": "<Payload/>",
        "devConnectwareId": device_id(number),
    }
    return Occurrence(f"AlarmStatus/{alarm}/{quote_plus(source)}", "AlarmStatus", entity)


def alert_status(
    alert: int, status: str, *, number: int, signal: str, time: datetime
) -> Occurrence:
    """Let an alert of the newer kind be ``fired`` or ``reset``."""
    source = f"{device_id(number)}/{signal}"
    entity = {
        "id": alert,
        "device_name": device_id(number),
        "group": "Staging",
        "source": source,
        "status": status,
        "last_update": iso(time),
    }
    return Occurrence(f"alert_status/{alert}/{quote_plus(source)}", "alert_status", entity)


def device(
    number: int, *, connected: bool, time: datetime, operation: str = "UPDATE"
) -> Occurrence:
    """Let a device change, as the topic ``devices`` tells it."""
    entity = {
        "id": device_id(number),
        "name": f"pump-{number}",
        "type": "Example",
        "group": "Staging",
        "connection_status": "connected" if connected else "disconnected",
        "last_update": iso(time),
        "firmware_version": "1.2.3",
        "vendor_id": 4261412864,
        "geoposition": {"coordinates": [7.45, 51.51]},
        "in_maintenance_window": "no",
        "alerts": 0,
    }
    return Occurrence(f"devices/{device_id(number)}", "device", entity, operation)


def random_occurrences(
    random: Random, now: Callable[[], datetime], *, devices: int = 4
) -> Iterator[Occurrence]:
    """Give events of every kind for ever; the same ones for the same seed and clock."""
    while True:
        number, time = random.randint(1, devices), now()
        kind = random.choices(range(7), (70, 10, 5, 5, 4, 3, 3))[0]
        signal = random.choice(("metrics/level", "dia/channel/x/DIO/0"))
        if kind == 0:
            stream_type = random.choice(STREAM_TYPES)
            data = random_data(stream_type, random)
            stream = f"{device_id(number)}/{signal}/{stream_type.lower()}"
            yield data_point(stream, data, time=time, random=random, stream_type=stream_type)
        elif kind == 1:
            yield device_core(number, connected=random.random() < 0.5, time=time)
        elif kind == 2:
            content = random.randbytes(random.randint(0, 200))
            yield file_data("/db/7603_Example/Western Region/", "trace.log", content, time=time)
        elif kind == 3:
            yield file_data_core(
                "/db/7603_Example/", "trace.log", random.randint(0, 500_000), time=time
            )
        elif kind == 4:
            yield alarm_status(4711, random.randint(0, 2), number=number, signal=signal, time=time)
        elif kind == 5:
            yield alert_status(
                41826, random.choice(("fired", "reset")), number=number, signal=signal, time=time
            )
        else:
            yield device(number, connected=random.random() < 0.5, time=time)
