"""How a lease is cut into attempts.

A *group* is delivered by one attempt. At first it is the whole lease, or one group for
each device where a sink takes one device a request. A group that is refused is halved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from attrs import define, evolve

from bridge.api import Stored


@define(eq=False)
class Group:
    """Events that go in one attempt."""

    indexes: Sequence[int]
    """Positions in the lease as it was lent, ascending."""
    attempts: int = 0
    """Made for its first event."""
    crashes: int = 0
    earlier: int = 0
    """How many of the attempts were made before this lease, for its first event alone.
    """

    def halves(self) -> tuple[Group, Group]:
        """Return the first and the second half of the events."""
        middle = len(self.indexes) // 2
        return self._with(self.indexes[:middle]), self._with(self.indexes[middle:])

    def halves_by_device(self, device_of: Callable[[int], str]) -> tuple[Group, Group]:
        """Return the events of half of the devices, and those of the others."""
        devices = list(dict.fromkeys(map(device_of, self.indexes)))
        first = set(devices[: len(devices) // 2])
        return (
            self._with([index for index in self.indexes if device_of(index) in first]),
            self._with([index for index in self.indexes if device_of(index) not in first]),
        )

    def without(self, gone: Collection[int]) -> Group:
        """Return it without some of its events."""
        return self._with([index for index in self.indexes if index not in gone])

    def _with(self, indexes: Sequence[int]) -> Group:
        if indexes and indexes[0] == self.indexes[0]:
            return evolve(self, indexes=indexes)
        return evolve(self, indexes=indexes, attempts=self.attempts - self.earlier, earlier=0)


def groups_of(events: Sequence[Stored], indexes: Sequence[int], *, one_device: bool) -> list[Group]:
    """Return the groups in which these of the events are attempted first."""
    if not one_device:
        return [Group(indexes)]
    devices: dict[str, list[int]] = {}
    for index in indexes:
        devices.setdefault(events[index].event.device, []).append(index)
    return [Group(group) for group in devices.values()]
