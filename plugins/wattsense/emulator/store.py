"""What the stand-in for the Wattsense cloud has measured: one store, for the webhook
and for the REST API.

Whatever is published is here, whether the webhook brought it or not: what it lost, the
history returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import Factory, define

from .messages import Item

SPARSE = ("property", "timestamp", "payload", "scaledPayload")
"""Members that an item of the history may be reduced to (public client code)."""


@define(eq=False)
class Store:
    """Values by device, in the order of publishing."""

    items: dict[str, list[Item]] = Factory(dict)

    def add(self, item: Item) -> None:
        """Keep a value, if it is one of a device."""
        self.items.setdefault(item["deviceId"], []).append(item)

    def devices(self) -> list[Mapping[str, Any]]:
        """Describe the devices."""
        return [
            {
                "deviceId": device,
                "name": device,
                "description": None,
                "organizationId": "org-1",
                "tags": {},
            }
            for device in self.items
        ]

    def history(self, device: str, since: int, until: int, point: str | None) -> list[Item]:
        """Give the values of a device between two times, both included, in milliseconds
        since the epoch.
        """
        return [
            item
            for item in self.items[device]
            if since <= item["timestamp"] <= until and point in (None, item["property"])
        ]

    def current(self, device: str) -> list[Item]:
        """Give the newest value of each property."""
        newest: dict[str, Item] = {}
        for item in sorted(self.items[device], key=lambda item: int(item["timestamp"])):
            newest[item["property"]] = item
        return list(newest.values())

    def point(self, device: str, name: str) -> Mapping[str, Any] | None:
        """Give one property by id or slug, with its history; None if there is none."""
        for item in self.current(device):
            if name in (item["property"], item.get("slug")):
                values = self.history(device, 0, 1 << 62, item["property"])
                return {**item, "history": {"readValues": sparse(values), "writeValues": []}}
        return None

    def configuration(self, device: str) -> list[Mapping[str, Any]]:
        """Describe the properties of a device."""
        return [
            {
                "propertyId": item["property"],
                "name": item.get("name"),
                "slug": item.get("slug"),
                "unit": item.get("unit"),
                "accessType": "REMOTE_READ_ONLY",
                "scaling": {"a": 1, "b": 0},
                "disabled": False,
                "tags": item.get("tags") or {},
            }
            for item in self.current(device)
        ]


def sparse(items: Iterable[Item]) -> list[Item]:
    """Reduce items to what a history must say."""
    return [{name: item[name] for name in SPARSE if name in item} for item in items]
