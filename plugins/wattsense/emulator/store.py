"""What the emulator has measured: one store, for the webhook and for the REST API.

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
        """Return the devices, as the API describes them."""
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
        """Return the values of a device between two times, both included.

        :param since: milliseconds since the epoch, as ``until``.
        """
        return [
            item
            for item in self.items[device]
            if since <= item["timestamp"] <= until and point in (None, item["property"])
        ]

    def current(self, device: str) -> list[Item]:
        """Return the newest value of each property."""
        newest: dict[str, Item] = {}
        for item in sorted(self.items[device], key=lambda item: int(item["timestamp"])):
            newest[item["property"]] = item
        return list(newest.values())


def sparse(items: Iterable[Item]) -> list[Item]:
    """Return items reduced to what a history must say."""
    return [{name: item[name] for name in SPARSE if name in item} for item in items]
