"""Events in the documented shapes, for the demo.

Names and types of fields follow vendor documentation and recorded traffic; the topic of
AlarmStatus is assumed.
"""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Any
from urllib.parse import quote_plus
from uuid import UUID

from ..account import iso
from .topics import CUSTOMER, Occurrence

RESET, TRIGGERED, ACKNOWLEDGED = 0, 1, 2
"""States of an alarm."""


def device_id(number: int) -> str:
    """The id of a device with the number as the end of its MAC address."""
    return f"00000000-00000000-00409DFF-FF{number:06X}"


def milliseconds(time: datetime) -> int:
    """A time as data points write it."""
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

    :param fields: replace or add; what is None is left out, as old servers leave out
        the type.
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
