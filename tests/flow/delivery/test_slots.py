"""Who may make an attempt."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from bridge.flow.delivery.slots import LANE_TURNS, QUIET, Slots


class Takers:
    """Lanes and parked devices that want a slot again and again, for a second each
    time.
    """

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.turns: list[str] = []
        self.busy = self.busiest = 0

    async def lane(self, pause: float = 0.0) -> None:
        while True:
            async with self.slots.lane():
                await self._turn("lane")
            await trio.sleep(pause)

    async def parked(self) -> None:
        while True:
            async with self.slots.parked():
                await self._turn("parked")

    async def _turn(self, who: str) -> None:
        self.turns.append(who)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        await trio.sleep(1)
        self.busy -= 1


async def test_parked_devices_have_every_tenth_turn_of_one_slot(autojump_clock):
    takers = Takers(Slots(1))
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(takers.lane)
        nursery.start_soon(takers.parked)
        await trio.sleep(1000)
        nursery.cancel_scope.cancel()
    assert takers.busiest == 1
    first = takers.turns.index("parked")
    rest = takers.turns[first : first + 300]
    assert [n for n, who in enumerate(rest) if who == "parked"] == list(range(0, 300, 10))


async def test_a_short_gap_between_lanes_is_no_turn_for_parked_devices(autojump_clock):
    takers = Takers(Slots(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(takers.lane, QUIET / 2)
        nursery.start_soon(takers.parked)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert takers.turns.count("parked") * LANE_TURNS <= takers.turns.count("lane") + LANE_TURNS


async def test_parked_devices_go_at_once_when_the_lanes_want_nothing(autojump_clock):
    takers = Takers(Slots(1))
    async with trio.open_nursery() as nursery:
        async with takers.slots.lane():
            pass
        nursery.start_soon(takers.parked)
        await trio.sleep(QUIET + 100.5)
        nursery.cancel_scope.cancel()
    assert len(takers.turns) >= 100


async def test_parked_devices_take_a_slot_of_many_as_it_comes(autojump_clock):
    takers = Takers(Slots(3))
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(takers.lane)
        nursery.start_soon(takers.parked)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert takers.busiest == 3
    assert 20 <= takers.turns.count("parked") <= 60


async def test_a_lane_waits_while_no_slot_is_free(autojump_clock):
    slots = Slots(1)
    free = trio.Event()

    async def wait() -> None:
        await slots.wait_free()
        free.set()

    async with trio.open_nursery() as nursery:
        async with slots.parked():
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            assert not free.is_set()
        await free.wait()
